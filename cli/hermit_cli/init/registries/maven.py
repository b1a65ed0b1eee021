"""Finds Maven's central repository in the model that Maven is built with, and the mirrors of the user's settings."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from hermit_cli.init.finding import Asked, Registry
from hermit_cli.init.registries.asking import not_installed
from hermit_cli.init.tree import Tree
from hermit_cli.init.urls import site

_MODEL = "org/apache/maven/model/pom-4.0.0.xml"
_NAMESPACE = re.compile(r"\{[^}]*\}")


def ask(environ: Mapping[str, str]) -> Registry:
    """Give the central repository; no variable of Maven 3.8 makes a cell use another one."""
    central = _central(environ)
    notes = tuple(
        f"Maven asks the mirror {mirror} here; for the cell put it into a settings.xml of the project, say so in"
        " .mvn/maven.config (--settings), and add a rule"
        for mirror in _mirrors(Path(environ.get("HOME") or "/") / ".m2")
    )
    if central is None:
        missing = not_installed("Maven", "the host of the central repository")
        return Registry("maven", unknown=missing.unknown, notes=notes)
    return Registry("maven", (Asked(central, "Maven's central repository", narrow=True),), notes=notes)


def _central(environ: Mapping[str, str]) -> str | None:
    """Read the super POM; starting Maven to ask it would take seconds."""
    command = shutil.which("mvn", path=environ.get("PATH"))
    homes = [Path(command).resolve().parent.parent] if command else []
    for jar in (jar for home in homes for jar in sorted(home.glob("lib/maven-model-builder*.jar"))):
        try:
            with zipfile.ZipFile(jar) as archive:
                model = ET.fromstring(archive.read(_MODEL))  # noqa: S314  a file of Maven's own
        except (OSError, KeyError, zipfile.BadZipFile, ET.ParseError):
            continue
        urls = [element.text or "" for element in model.iter() if _NAMESPACE.sub("", element.tag) == "url"]
        if found := next(filter(site, urls), None):
            return found
    return None


def _mirrors(folder: Path) -> list[str]:
    settings = Tree(folder.resolve()).xml("settings.xml")
    found = [site(mirror.findtext("url") or "") for mirror in settings.iter("mirror")] if settings is not None else []
    return [where.url for where in found if where]
