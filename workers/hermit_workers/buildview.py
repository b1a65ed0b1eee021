"""Says what every build sees, in a sandbox as in a VM: all of its variables, and the files that Hermit puts there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hermit_proxy.run.ca import CA_CERT, RunCA
from hermit_workers.cell import User
from hermit_workers.cellfiles import CellFile, CellFolder, CellLink, Entry
from hermit_workers.environment import LOOPBACK, Wire, git_settings, wire_environment
from hermit_workers.toolfiles import (
    LOGGING,
    apt_dates,
    gradle_properties,
    image_maven_settings,
    maven_settings,
)
from hermit_workers.trust import ANCHORS, CERTIFICATES, image_bundle, subject_hash

HOST_NAME = "hermit"
BUILD_UID = 1000
UMASK = 0o022
PROJECTS = PurePosixPath("/build")
HOMES: dict[User, PurePosixPath] = {"build": PurePosixPath("/home/build"), "root": PurePosixPath("/root")}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# For the log of a hermetic build: apt would call its recording expired (WIRE.md row 22).
APT_DATES_OFF = "apt's own date checks are off in a replay: what was recorded has expired since, or will"

_CONSTANT = {
    "CI": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "HERMIT": "1",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PATH": PATH,
    "TERM": "dumb",
    "TZ": "UTC",
    # Seeds that these draw anew in every process for the order of sets and hashes: one of the possible, always.
    "PERL_HASH_SEED": "0",
    "PYTHONHASHSEED": "0",
}
_HOSTS = f"""\
127.0.0.1 localhost
127.0.1.1 {HOST_NAME}
::1 localhost ip6-localhost ip6-loopback
"""
# Packages that find one keep it; else their installation draws a random one.
_MACHINE_ID = "6865726d697400000000000000000001\n"


@dataclass(frozen=True, slots=True)
class Facts:
    """Is what a build is told of what it builds.

    `epoch` is the commit's time in seconds since 1970; the rest are empty strings where nothing is known.
    """

    epoch: int
    url: str = ""
    commit: str = ""
    branch: str = ""


def build_environment(facts: Facts, wire: Wire, user: User) -> dict[str, str]:
    """Give all the variables of a step; steps of root differ in HOME, USER and LOGNAME only.

    A spec's own variables go over it, save for those that `toolvariables.is_reserved` names.
    """
    result = dict(_CONSTANT)
    result |= wire_environment(replace(wire, keep_caches=True), {}, no_proxy=f"{LOOPBACK},{HOST_NAME}")
    # A step of root works on a project that belongs to another user, which git refuses since CVE-2022-24765.
    result |= git_settings(result, {"safe.directory": "*"})
    result |= {"REPO_URL": facts.url, "COMMIT": facts.commit, "BRANCH": facts.branch}
    result |= {"SECRET_PATH": str(wire.root / "secrets"), "SOURCE_DATE_EPOCH": str(max(facts.epoch, 0))}
    return result | {"HOME": str(HOMES[user]), "USER": user, "LOGNAME": user}


def build_files(image: Path, authority: RunCA, wire: Wire) -> Iterator[Entry]:
    """Give the files that Hermit puts into a cell before its first step.

    `image` is the root of the image's tree, whose bundle and Maven settings are kept.
    """
    wire = replace(wire, keep_caches=True)
    certificate, bundle = authority.cert_pem, authority.bundle(image_bundle(image))
    yield CellFolder(wire.root)
    yield CellFolder(wire.root / "secrets")
    yield CellFile(wire.root / CA_CERT, certificate)
    yield CellFile(wire.root / "ca-bundle.crt", bundle)
    yield CellFile(wire.root / "ca.jks", authority.jks())
    yield CellFile(wire.root / "apt.conf", apt_dates(hermetic=wire.hermetic).encode())
    yield from _maven(image, wire)
    yield from _system_trust(certificate, bundle)
    yield from _gradle(wire)
    yield from _system()


def _maven(image: Path, wire: Wire) -> Iterator[Entry]:
    yield CellFolder(wire.root / "maven")
    yield CellFolder(wire.root / "maven/logging")
    yield CellFile(wire.root / "maven/settings.xml", maven_settings(image_maven_settings(image), wire))
    yield CellFile(wire.root / "maven/logging/simplelogger.properties", LOGGING.encode())


def _system_trust(certificate: bytes, bundle: bytes) -> Iterator[Entry]:
    """Give what update-ca-certificates would make of the anchor: it finds its own work, and keeps the CA (row 31)."""
    anchors, certificates = PurePosixPath(ANCHORS), PurePosixPath(CERTIFICATES)
    yield CellFile(anchors / "hermit.crt", certificate)
    yield CellFile(certificates / "ca-certificates.crt", bundle)
    yield CellLink(certificates / "hermit.pem", str(anchors / "hermit.crt"))
    yield CellLink(certificates / f"{subject_hash(certificate)}.0", "hermit.pem")


def _gradle(wire: Wire) -> Iterator[Entry]:
    properties = gradle_properties(wire).encode()
    for user, home in HOMES.items():
        uid = BUILD_UID if user == "build" else 0
        yield CellFolder(home / ".gradle", uid=uid, gid=uid)
        yield CellFile(home / ".gradle/gradle.properties", properties, uid=uid, gid=uid)


def _system() -> Iterator[Entry]:
    yield CellFile(PurePosixPath("/etc/hosts"), _HOSTS.encode())
    yield CellFile(PurePosixPath("/etc/hostname"), f"{HOST_NAME}\n".encode())
    yield CellFile(PurePosixPath("/etc/machine-id"), _MACHINE_ID.encode(), mode=0o444)
    # No name is resolved in a cell but the ones above: an empty file asks the cell's own loopback, which is no server.
    yield CellFile(PurePosixPath("/etc/resolv.conf"), b"")
