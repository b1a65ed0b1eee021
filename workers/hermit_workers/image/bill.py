"""Lists an image's packages in a form that scanners read: CycloneDX 1.5, https://cyclonedx.org/docs/1.5/json/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from hermit_workers.image.errors import ImageError
from hermit_workers.imagetree import read_inside

_STATUS = PurePosixPath("/var/lib/dpkg/status")


@dataclass(frozen=True, slots=True)
class Package:
    """Is one installed package."""

    name: str
    version: str
    architecture: str

    @property
    def purl(self) -> str:
        """Give the package's URL (https://github.com/package-url/purl-spec, type deb)."""
        version = quote(self.version, safe="~")
        return f"pkg:deb/debian/{quote(self.name)}@{version}?arch={quote(self.architecture)}"


def installed_packages(root: Path) -> list[Package]:
    """Read what dpkg has installed in a tree, sorted by name; raise ImageError where it says nothing."""
    content = read_inside(root, _STATUS)
    if content is None:
        raise ImageError(f"the image has no {_STATUS}, and so no packages")
    return sorted(_packages(content.decode(errors="replace")), key=lambda package: (package.name, package.architecture))


def bill(name: str, digest: str, packages: list[Package]) -> bytes:
    """Give the list as JSON; nothing in it depends on when or where it is written."""
    components = [
        {
            "type": "library",
            "bom-ref": package.purl,
            "name": package.name,
            "version": package.version,
            "purl": package.purl,
        }
        for package in packages
    ]
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "operating-system", "bom-ref": digest, "name": name, "version": digest}},
        "components": components,
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _packages(status: str) -> Iterator[Package]:
    for stanza in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            yield Package(fields["Package"], fields.get("Version", ""), fields.get("Architecture", ""))
