"""Says which variables make every build tool use the proxy and trust its CA; docs/environment.md gives the reasons."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

# A cell sees Hermit's files always at the same place, so that no path of a run ends up in what a build makes.
CELL_ROOT = PurePosixPath("/run/hermit")
# The cell's own loopback: servers that a build starts for its tests. The host's is out of reach from there.
NO_PROXY = "localhost,127.0.0.1,::1"

# These replace a tool's trust, so each gets the whole bundle. (requests, curl, pip, cargo, git, the AWS, Google and
# gRPC libraries, bundler, Nix, Perl, Haskell; SSL_CERT_FILE is OpenSSL's, Go's, Ruby's and uv's.)
_BUNDLE = (
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
    "YARN_HTTPS_CA_FILE_PATH",
    "npm_config_cafile",
)
# Lower case for curl and most others (curl reads http_proxy in lower case only), upper case for the rest. ftp and rsync
# have nothing to gain but a refusal that is told instead of a name that does not resolve.
_PROXY_URL = (
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
# Folders of which every run starts with an empty one (WIRE.md row 35): what a cache answers is in no record.
_CACHES = {
    "BUN_INSTALL_CACHE_DIR": "bun",
    "BUNDLE_USER_CACHE": "bundle",
    "COMPOSER_CACHE_DIR": "composer",
    "COURSIER_CACHE": "coursier",
    "DENO_DIR": "deno",
    "GOCACHE": "go-build",
    "GOMODCACHE": "go-mod",
    "GRADLE_USER_HOME": "gradle",
    "MAVEN_USER_HOME": "m2",
    "NUGET_HTTP_CACHE_PATH": "nuget-http",
    "NUGET_PACKAGES": "nuget",
    "PIP_CACHE_DIR": "pip",
    "POETRY_CACHE_DIR": "poetry",
    "UV_CACHE_DIR": "uv",
    "XDG_CACHE_HOME": "xdg",
    "YARN_CACHE_FOLDER": "yarn",
    "YARN_GLOBAL_FOLDER": "yarn-global",
    "npm_config_cache": "npm",
}
_SETTINGS = {
    "DENO_TLS_CA_STORE": "system",
    "NODE_USE_ENV_PROXY": "1",
    "NODE_USE_SYSTEM_CA": "1",
    # Answers that change by the day and that no build needs (rows 11 and 34).
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "YARN_ENABLE_TELEMETRY": "0",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
}
# Ways to the user's other programs, none of which is there in a cell.
_DROPPED = frozenset(
    {
        "CONTAINER_HOST",
        "DBUS_SESSION_BUS_ADDRESS",
        "DBUS_SYSTEM_BUS_ADDRESS",
        "DISPLAY",
        "DOCKER_CONTEXT",
        "DOCKER_HOST",
        "GPG_AGENT_INFO",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "PULSE_SERVER",
        "SSH_AGENT_PID",
        "SSH_AUTH_SOCK",
        "TMUX",
        "VSCODE_GIT_IPC_HANDLE",
        "VSCODE_IPC_HOOK_CLI",
        "WAYLAND_DISPLAY",
        "XAUTHORITY",
    }
)


@dataclass(frozen=True, slots=True)
class Wire:
    """Is what a cell's tools must know: where the proxy listens in the cell, and what the run brought with it.

    `hermetic` says that answers may be old (apt's own date check then is in the way, row 22).
    """

    host: str = "127.0.0.1"
    port: int = 3128
    root: PurePosixPath = CELL_ROOT
    hermetic: bool = False
    keep_caches: bool = False

    @property
    def proxy(self) -> str:
        """Give the proxy's URL; it has no user and no password: the wire says whose it is (row 20)."""
        return f"http://{self.host}:{self.port}"


def cell_environment(user: Mapping[str, str], wire: Wire, *, dead: Collection[str] = ()) -> dict[str, str]:
    """Give the environment of a command: the user's, less the ways out, plus proxy, trust and empty caches.

    `dead` are paths of sockets that the cell does not have; a variable that names one of them is dropped.
    """
    dead = set(dead)
    result = {name: value for name, value in user.items() if not _leads_out(name, value, dead)}
    bundle, authority = str(wire.root / "ca-bundle.crt"), str(wire.root / "ca.pem")
    result |= dict.fromkeys(_PROXY_URL, wire.proxy)
    result |= dict.fromkeys(("no_proxy", "NO_PROXY"), NO_PROXY) | {"RSYNC_PROXY": f"{wire.host}:{wire.port}"}
    result |= dict.fromkeys(_BUNDLE, bundle) | {"SSL_CERT_DIR": "/etc/ssl/certs"}
    # These add to a tool's trust, so the one certificate is enough.
    result |= {"NODE_EXTRA_CA_CERTS": authority, "DENO_CERT": authority} | _SETTINGS
    result["APT_CONFIG"] = str(wire.root / "apt.conf")
    result["JAVA_TOOL_OPTIONS"] = " ".join([user.get("JAVA_TOOL_OPTIONS", ""), *java_options(wire)]).strip()
    result |= _git(user, wire)
    if not wire.keep_caches:
        caches = wire.root / "cache"
        result |= {name: str(caches / folder) for name, folder in _CACHES.items()}
    return result


def cache_folders() -> tuple[str, ...]:
    """Name the folders under `cache` that must be there before the command starts."""
    return (*sorted(_CACHES.values()), "m2-repository")


def java_options(wire: Wire) -> Iterator[str]:
    """Give the JVM's options: it knows no proxy variables, and trusts only its own store (row 19).

    Maven reads its installation's settings from `maven.conf`, which no option of a user's own
    start script replaces; the wrapper and embedded Mavens obey it as well.
    """
    for scheme in ("http", "https"):
        yield f"-D{scheme}.proxyHost={wire.host}"
        yield f"-D{scheme}.proxyPort={wire.port}"
    yield f"-Djavax.net.ssl.trustStore={wire.root / 'ca.jks'}"
    yield "-Djavax.net.ssl.trustStoreType=JKS"
    yield "-Djavax.net.ssl.trustStorePassword=changeit"
    yield f"-Dmaven.conf={wire.root / 'maven'}"
    if not wire.keep_caches:
        yield f"-Dmaven.repo.local={wire.root / 'cache' / 'm2-repository'}"


def _git(user: Mapping[str, str], wire: Wire) -> dict[str, str]:
    """Add a setting to those that the environment already gives git: a proxy in ~/.gitconfig would win otherwise."""
    given = user.get("GIT_CONFIG_COUNT", "")
    count = int(given) if given.isdecimal() else 0
    setting = {f"GIT_CONFIG_KEY_{count}": "http.proxy", f"GIT_CONFIG_VALUE_{count}": wire.proxy}
    return {"GIT_CONFIG_COUNT": str(count + 1)} | setting


def _leads_out(name: str, value: str, dead: Collection[str]) -> bool:
    if name in _DROPPED or name.lower().endswith("_proxy"):
        return True
    path = value.partition("://")[2] if "://" in value else value
    return path.startswith("/") and os.path.realpath(path) in dead
