"""Finds Maven and Gradle projects, with or without a wrapper that brings the tool."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element

from hermit_cli.init.finding import Asked, Do, Part
from hermit_cli.init.tree import Tree
from hermit_cli.init.urls import urls_in

_DEBIAN_JDK = 17
_DISTRIBUTION = re.compile(r"^\s*(?:distributionUrl|wrapperUrl)\s*=\s*(\S+)", re.MULTILINE)
_WRAPPERS = {"maven": ".mvn/wrapper/maven-wrapper.properties", "gradle": "gradle/wrapper/gradle-wrapper.properties"}
_BUILD_FILES = ("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts")
_RELEASES = ("maven.compiler.release", "maven.compiler.source", "java.version")
_PINNED_JDK = re.compile(r"JavaLanguageVersion\.of\(\s*([0-9]+)|sourceCompatibility\s*=\s*\D*?([0-9]+)\b")


def detect_maven(tree: Tree) -> Part | None:
    """Look for pom.xml."""
    if not tree.has("pom.xml"):
        return None
    pom = tree.xml("pom.xml")
    wrapped = tree.executable("mvnw") and tree.has(_WRAPPERS["maven"])
    command = "./mvnw" if wrapped else "mvn"
    build = Do(
        "build",
        (f"{command} --batch-mode verify",),
        network=True,
        why="Maven finds out which plugins it needs while it builds (dependency:go-offline misses some)",
    )
    modules = pom is not None and pom.find("modules") is not None
    return Part(
        kind="maven",
        title=f"Maven (pom.xml{', modules' if modules else ''}{', mvnw' if wrapped else ''})",
        steps=(build,),
        apt=("default-jdk-headless", "curl", "unzip") if wrapped else ("default-jdk-headless", "maven"),
        artifacts=("**/target/*.jar",) if modules else ("target/*.jar",),
        tools=("maven",),
        asked=(*_repositories(pom), *_distribution(tree, "maven")),
        notes=tuple(_jdk(_pom_release(pom))),
    )


def detect_gradle(tree: Tree) -> Part | None:
    """Look for build.gradle and its kin."""
    names = [name for name in _BUILD_FILES if tree.has(name)]
    if not names:
        return None
    wrapped = tree.executable("gradlew") and tree.has(_WRAPPERS["gradle"])
    text = "\n".join(map(tree.text, names))
    build = Do(
        "build",
        (f"{'./gradlew' if wrapped else 'gradle'} --no-daemon build",),
        network=True,
        why="Gradle has no command that only fetches",
    )
    notes = [*_jdk(max((int(a or b) for a, b in _PINNED_JDK.findall(text)), default=0))]
    if not wrapped:
        notes.append("there is no gradlew, and Debian 12's Gradle is 4.4: `gradle wrapper` pins the one that you use")
    several = any(re.search(r"^\s*include\b", tree.text(name), re.MULTILINE) for name in _BUILD_FILES[2:])
    return Part(
        kind="gradle",
        title=f"Gradle ({names[0]}{', gradlew' if wrapped else ''})",
        steps=(build,),
        apt=("default-jdk-headless",) if wrapped else ("default-jdk-headless", "gradle"),
        artifacts=("**/build/libs/*.jar",) if several else ("build/libs/*.jar",),
        tools=("maven", "gradle"),
        asked=(*(Asked(url, "the build file") for url in _gradle_repositories(text)), *_distribution(tree, "gradle")),
        notes=tuple(notes),
    )


def _repositories(pom: Element | None) -> Iterable[Asked]:
    """Give the repositories of a pom; what stands in one with a property in it (`${...}`) is no URL yet."""
    for element in pom.iter() if pom is not None else ():
        if element.tag in {"repository", "pluginRepository"}:
            url = (element.findtext("url") or "").strip()
            if url.startswith("http") and "${" not in url and not _publishes(pom, element):
                yield Asked(url, "pom.xml", narrow=True)


def _publishes(pom: Element | None, repository: Element) -> bool:
    managed = pom.find("distributionManagement") if pom is not None else None
    return managed is not None and repository in list(managed)


def _pom_release(pom: Element | None) -> int:
    properties = pom.find("properties") if pom is not None else None
    said = [properties.findtext(name) or "" for name in _RELEASES] if properties is not None else []
    return max((int(text) for text in said if text.isdecimal()), default=0)


def _jdk(release: int) -> Iterable[str]:
    if release > _DEBIAN_JDK:
        yield f"it wants Java {release}, and Debian 12 has {_DEBIAN_JDK}"


def _gradle_repositories(text: str) -> list[str]:
    """Give the URLs of `maven { url ... }` and `maven("...")`; a build file is a program, so this is a guess."""
    blocks = re.findall(r"\bmaven\s*(?:\{[^}]*\}|\([^)]*\))", text)
    return urls_in("\n".join(blocks))


def _distribution(tree: Tree, tool: str) -> Iterable[Asked]:
    name = _WRAPPERS[tool]
    for url in _DISTRIBUTION.findall(tree.text(name)):
        yield Asked(url.replace("\\:", ":").rpartition("/")[0], name, narrow=True)


DESCRIBED = "pom.xml, build.gradle"
