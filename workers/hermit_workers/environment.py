"""Says which variables make every build tool use the proxy and trust its CA; docs/environment.md gives the reasons."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from hermit_proxy import toolvariables as names

# A cell sees Hermit's files always at the same place, so that no path of a run ends up in what a build makes.
CELL_ROOT = PurePosixPath("/run/hermit")
# The cell's own loopback: servers that a build starts for its tests. The host's is out of reach from there.
LOOPBACK = "localhost,127.0.0.1,::1"

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
# What asks for answers that change by the day and that no build needs (rows 11 and 34).
_QUIET = {
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
    result |= wire_environment(wire, user)
    if not wire.keep_caches:
        caches = wire.root / "cache"
        result |= {name: str(caches / folder) for name, folder in _CACHES.items()}
    return result


def wire_environment(wire: Wire, given: Mapping[str, str], *, no_proxy: str = LOOPBACK) -> dict[str, str]:
    """Give what `hermit run` and builds share: proxy, trust, and silence where no build needs an answer.

    Of `given` the JVM's options and git's settings are kept, with ours behind them.
    """
    result = dict.fromkeys(names.PROXY_URL, wire.proxy) | dict.fromkeys(names.NO_PROXY, no_proxy)
    result |= {names.RSYNC_PROXY: f"{wire.host}:{wire.port}"}
    result |= dict.fromkeys(names.BUNDLE, str(wire.root / "ca-bundle.crt"))
    result |= {names.BUNDLE_FOLDER: "/etc/ssl/certs"}
    result |= dict.fromkeys(names.AUTHORITY, str(wire.root / "ca.pem"))
    result |= {**names.SWITCHES, **_QUIET, names.APT_CONFIG: str(wire.root / "apt.conf")}
    result[names.JAVA_OPTIONS] = " ".join([given.get(names.JAVA_OPTIONS, ""), *java_options(wire)]).strip()
    # A proxy in ~/.gitconfig would win over the variables.
    return result | git_settings(given, {"http.proxy": wire.proxy})


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


def git_settings(given: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """Give the variables that add settings to those that an environment already gives git."""
    told = given.get(names.GIT_COUNT, "")
    count = int(told) if told.isdecimal() else 0
    result = {names.GIT_COUNT: str(count + len(added))}
    for number, (key, value) in enumerate(added.items(), count):
        result |= {f"{names.GIT_KEY}{number}": key, f"{names.GIT_VALUE}{number}": value}
    return result


def _leads_out(name: str, value: str, dead: Collection[str]) -> bool:
    if name in _DROPPED or name.lower().endswith("_proxy"):
        return True
    path = value.partition("://")[2] if "://" in value else value
    return path.startswith("/") and os.path.realpath(path) in dead
