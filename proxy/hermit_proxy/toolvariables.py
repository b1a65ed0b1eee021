"""Names the variables by which build tools learn of proxy and trust: a cell sets them, and a spec may not."""

from __future__ import annotations

# Lower case for curl and most others (curl reads http_proxy in lower case only), upper case for the rest. ftp and rsync
# have nothing to gain but a refusal that is told instead of a name that does not resolve.
PROXY_URL = (
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "ftp_proxy",
    "FTP_PROXY",
    # These win over a proxy that the user's own configuration file names.
    "CARGO_HTTP_PROXY",
    "PIP_PROXY",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
    "npm_config_https_proxy",
    "npm_config_proxy",
)
NO_PROXY = ("no_proxy", "NO_PROXY")
RSYNC_PROXY = "RSYNC_PROXY"
# These replace a tool's trust, so each gets the whole bundle. (requests, curl, pip, cargo, git, the AWS, Google and
# gRPC libraries, bundler, Nix, Perl, Haskell; SSL_CERT_FILE is OpenSSL's, Go's, Ruby's and uv's.)
BUNDLE = (
    "AWS_CA_BUNDLE",
    "BUNDLE_SSL_CA_CERT",
    "CARGO_HTTP_CAINFO",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
    "NIX_SSL_CERT_FILE",
    "PERL_LWP_SSL_CA_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SYSTEM_CERTIFICATE_PATH",
)
BUNDLE_FOLDER = "SSL_CERT_DIR"
# These add to a tool's trust, so the one certificate is enough. npm's and yarn's replace it, but all TLS of a cell ends
# at the proxy, and Node makes a context of the whole list for every connection: 36 ms for the 144 of a Debian.
AUTHORITY = ("DENO_CERT", "NODE_EXTRA_CA_CERTS", "YARN_HTTPS_CA_FILE_PATH", "npm_config_cafile")
SWITCHES = {"DENO_TLS_CA_STORE": "system", "NODE_USE_ENV_PROXY": "1", "NODE_USE_SYSTEM_CA": "1"}
APT_CONFIG = "APT_CONFIG"
JAVA_OPTIONS = "JAVA_TOOL_OPTIONS"
GIT_COUNT, GIT_KEY, GIT_VALUE = "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"
# What Hermit says of a build, and who a step is: a spec that could change these would say something untrue.
FACTS = ("BRANCH", "COMMIT", "HERMIT", "REPO_URL", "SECRET_PATH")
IDENTITY = ("HOME", "LOGNAME", "USER")

# Names that a spec may not set: without them a tool finds no proxy, or does not trust it, and the error that it prints
# leads nowhere. A command that knows better still sets them for itself.
RESERVED = frozenset(
    {
        *PROXY_URL,
        *NO_PROXY,
        RSYNC_PROXY,
        *BUNDLE,
        BUNDLE_FOLDER,
        *AUTHORITY,
        *SWITCHES,
        APT_CONFIG,
        JAVA_OPTIONS,
        GIT_COUNT,
        *FACTS,
        *IDENTITY,
    }
)
# What to use in the place of some of them, for the message that refuses them.
INSTEAD = {
    JAVA_OPTIONS: "JDK_JAVA_OPTIONS, MAVEN_OPTS or GRADLE_OPTS",
    GIT_COUNT: "`git config` in a step",
}


def is_reserved(name: str) -> bool:
    """Tell whether a spec must leave this variable to Hermit."""
    return name in RESERVED or name.startswith((GIT_KEY, GIT_VALUE))
