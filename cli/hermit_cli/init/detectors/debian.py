"""Finds Debian source packages, whose own rules say all that a build needs."""

from __future__ import annotations

from hermit_cli.init.finding import Do, Part
from hermit_cli.init.tree import Tree

_FILES = ("debian/control", "debian/changelog", "debian/rules")


def detect(tree: Tree) -> Part | None:
    """Look for a source package that can be built; a `debian` folder without a changelog is none."""
    if not all(map(tree.has, _FILES)):
        return None
    install = Do(
        "build-dep",
        ("apt-get update", "DEBIAN_FRONTEND=noninteractive apt-get --yes build-dep ./"),
        network=True,
        root=True,
        why="what debian/control asks for",
    )
    build = Do("build", ("dpkg-buildpackage --build=binary --no-sign", "mkdir -p dist", "mv ../*.deb dist/"))
    return Part(
        kind="debian",
        title="Debian source package (debian/control)",
        steps=(install, build),
        apt=("build-essential", "fakeroot"),
        artifacts=("dist/*.deb",),
        covers=frozenset({"python", "node", "cargo", "go", "maven", "gradle", "cmake", "meson", "autotools", "make"}),
    )


DESCRIBED = "debian/control with changelog and rules"
