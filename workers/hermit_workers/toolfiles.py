"""Writes the settings files of tools that take proxy or dates from files only: apt, Maven, Gradle (WIRE.md row 19)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hermit_workers.environment import Wire, java_options
from hermit_workers.hostparts import Bind
from hermit_workers.imagetree import read_inside

if TYPE_CHECKING:  # a run without Maven does not pay for XML
    from xml.etree.ElementTree import Element

_NAMESPACE = "http://maven.apache.org/SETTINGS/1.0.0"
# What Maven's own distribution ships: without it every line of output starts with thread and class.
LOGGING = """\
org.slf4j.simpleLogger.defaultLogLevel=info
org.slf4j.simpleLogger.showDateTime=false
org.slf4j.simpleLogger.showThreadName=false
org.slf4j.simpleLogger.showLogName=false
org.slf4j.simpleLogger.logFile=System.out
org.slf4j.simpleLogger.cacheOutputStream=true
org.slf4j.simpleLogger.levelInBrackets=true
"""
# Where Debian's maven has its settings; it is what an image may say of mirrors.
_MAVEN_IN_IMAGE = PurePosixPath("/usr/share/maven/conf/settings.xml")
# What Maven ships since 3.8.1, for a Maven that a step installs: repositories over plain http stay out.
_MAVEN_SHIPPED = f"""\
<settings xmlns="{_NAMESPACE}">
  <mirrors>
    <mirror>
      <id>maven-default-http-blocker</id>
      <mirrorOf>external:http:*</mirrorOf>
      <name>Pseudo repository to mirror external repositories initially using HTTP.</name>
      <url>http://0.0.0.0/</url>
      <blocked>true</blocked>
    </mirror>
  </mirrors>
</settings>
""".encode()


def write_tool_files(folder: Path, user: Mapping[str, str], wire: Wire) -> tuple[Bind, ...]:
    """Write the files that cell_environment points to into `folder`, merging what the user's own say.

    Gives what the cell must see elsewhere: the user's Maven settings without their proxies, empty caches that
    no variable moves.
    """
    home = Path(user.get("HOME") or Path.home())
    (folder / "apt.conf").write_text(apt_configuration(user.get("APT_CONFIG"), hermetic=wire.hermetic))
    (folder / "maven" / "logging").mkdir(parents=True)
    (folder / "maven" / "logging" / "simplelogger.properties").write_text(LOGGING)
    installed = _maven_home(user)
    (folder / "maven" / "settings.xml").write_bytes(
        maven_settings(_read(installed / "conf" / "settings.xml") if installed else None, wire)
    )
    binds = list(_user_maven(home, folder))
    if not wire.keep_caches:
        binds += _empty_caches(home, folder, user)
        gradle = Path(user.get("GRADLE_USER_HOME") or home / ".gradle")
        _write_gradle(gradle, folder / "cache" / "gradle", wire)
    return tuple(binds)


def apt_configuration(own: str | None, *, hermetic: bool) -> str:
    """Give what APT_CONFIG names: apt reads it before its other files and uses http_proxy by itself.

    apt cannot change to its user _apt where only one user is mapped.
    """
    include = f'#include "{own}";\n' if own else ""
    return f'{include}APT::Sandbox::User "root";\n{apt_dates(hermetic=hermetic)}'


def apt_dates(*, hermetic: bool) -> str:
    """Give apt's settings for a replay: recorded release files have expired (row 22)."""
    return 'Acquire::Check-Valid-Until "false";\nAcquire::Check-Date "false";\n' if hermetic else ""


def maven_settings(installed: bytes | None, wire: Wire) -> bytes:
    """Give the installation's settings with the proxy as its only one; an unreadable file counts as empty."""
    from xml.etree import ElementTree as ET  # noqa: PLC0415  one run in ten has a Maven

    root = _without_proxies(installed) if installed else None
    if root is None:
        root = ET.Element(f"{{{_NAMESPACE}}}settings")
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    proxies = ET.SubElement(root, f"{space}proxies")
    for scheme in ("http", "https"):
        proxy = ET.SubElement(proxies, f"{space}proxy")
        fields = {"id": f"hermit-{scheme}", "active": "true", "protocol": scheme, "host": wire.host}
        fields |= {"port": str(wire.port), "nonProxyHosts": "localhost|127.*|[::1]"}
        for name, value in fields.items():
            ET.SubElement(proxy, f"{space}{name}").text = value
    ET.register_namespace("", space[1:-1])
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def image_maven_settings(root: Path) -> bytes:
    """Give the settings of the Maven in an image's tree, or what Maven ships where it has none."""
    return read_inside(root, _MAVEN_IN_IMAGE) or _MAVEN_SHIPPED


def gradle_properties(wire: Wire) -> str:
    """Give the lines of the user's gradle.properties, which win over a proxy that the project's own file names."""
    options = (option.removeprefix("-D").partition("=") for option in java_options(wire) if ".proxy" in option)
    return "".join(f"systemProp.{name}={value}\n" for name, _, value in options)


def _without_proxies(text: bytes) -> Element | None:
    from xml.etree import ElementTree as ET  # noqa: PLC0415  one run in ten has a Maven

    try:
        root = ET.fromstring(text)  # noqa: S314  the user's own file, as Maven itself reads it
    except ET.ParseError:
        return None
    for child in list(root):
        if child.tag.rpartition("}")[2] == "proxies":
            root.remove(child)
    return root


def _user_maven(home: Path, folder: Path) -> Iterator[Bind]:
    own = home / ".m2" / "settings.xml"
    text = _read(own)
    if text is None or b"<proxies" not in text or (root := _without_proxies(text)) is None:
        return
    from xml.etree import ElementTree as ET  # noqa: PLC0415  one run in a hundred has a proxy there

    copy = folder / "maven" / "user-settings.xml"
    ET.register_namespace("", _NAMESPACE)
    copy.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
    yield Bind(copy, own.resolve())


def _maven_home(user: Mapping[str, str]) -> Path | None:
    named = user.get("MAVEN_HOME") or user.get("M2_HOME")
    if named:
        return Path(named)
    found = shutil.which("mvn", path=user.get("PATH"))
    if found is None:
        return None
    real = Path(found).resolve()
    # Debian's /usr/bin/mvn leads through /etc/alternatives to bin/mvn of the installation, as everywhere else.
    return real.parent.parent if real.parent.name == "bin" else None


def _write_gradle(own: Path, fresh: Path, wire: Wire) -> None:
    fresh.mkdir(parents=True, exist_ok=True)
    given = _read(own / "gradle.properties") or b""
    (fresh / "gradle.properties").write_bytes(given.rstrip(b"\n") + b"\n" + gradle_properties(wire).encode())
    for name in ("init.gradle", "init.gradle.kts", "init.d"):
        if (own / name).exists():
            (fresh / name).symlink_to((own / name).resolve())


def _empty_caches(home: Path, folder: Path, user: Mapping[str, str]) -> Iterable[Bind]:
    """Cover caches that lie beside what a user must keep: cargo's configuration and programs, go's checksum state."""
    cargo = Path(user.get("CARGO_HOME") or home / ".cargo")
    go = Path(user.get("GOPATH", "").partition(":")[0] or home / "go")
    caches = [cargo / "registry", cargo / "git", go / "pkg" / "sumdb"]
    caches += [home / ".local/share/pnpm/store", home / ".ivy2/cache", home / ".bundle/cache"]
    for number, cache in enumerate(cache for cache in caches if cache.is_dir()):
        empty = folder / "cache" / f"covered-{number}"
        empty.mkdir(parents=True)
        yield Bind(empty, cache.resolve(), writable=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
