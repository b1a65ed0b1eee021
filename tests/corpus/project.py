"""Reads `project.yaml`: which real project, from which registry with which digest, and what its build shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.closedyaml.file import Node, load
from hermit_proxy.closedyaml.reader import Reader

PROJECTS = Path(__file__).parent / "projects"
IMAGES = Path(__file__).parent / "images"
KINDS = ("pip", "uv", "npm", "pnpm", "cargo", "go", "maven", "gradle", "apt", "git", "cmake")
# Registries that sources are fetched from; `asks` may name uv and gradle too, which have no registry of their own.
REGISTRIES = ("pip", "npm", "cargo", "go", "maven", "apt")
_ASKS = (*REGISTRIES, "uv", "gradle")
_KEYS = ("kind", "shows", "image", "fetch", "asks", "lock", "submodules", "differs", "cut")
_FETCH_KEYS = ("registry", "name", "version", "file", "sha256", "to", "as", "serve", "repository")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Is one file of a registry, with its digest, and where it goes.

    `file` is its name, or what of its name the registry needs (Maven: `sources.jar`; apt: the whole name). It is
    unpacked into `to`, kept whole as `saved_as`, served under the path `served_as`, or is the content of the served
    `repository`.
    """

    registry: str
    name: str
    version: str
    file: str
    sha256: str
    to: str = "."
    saved_as: str = ""
    served_as: str = ""
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Project:
    """Is one project of the corpus.

    `folder` holds its data: `project.yaml`, `build.yaml` (the spec, as it will stand in `.hermit`) and `files`, which
    are laid over what was fetched. `asks` are the tools whose registries its rules admit, `lock` the tool that makes
    the lock file that the registry's archive lacks, `submodules` paths with the served repositories that go there.
    `differs` are patterns of artifacts that are not the same over two builds, with the reason. `cut` marks those of CI.
    """

    name: str
    folder: Path
    kind: str
    shows: str
    image: str
    fetch: tuple[Wanted, ...]
    asks: tuple[str, ...]
    lock: str = ""
    submodules: Mapping[str, str] | None = None
    differs: Mapping[str, str] | None = None
    cut: bool = False

    @property
    def version(self) -> str:
        """Name what was fetched first, which is the project itself."""
        return f"{self.fetch[0].name} {self.fetch[0].version}"


def names() -> list[str]:
    """Give the names of all projects, those of a kind together."""
    found = [read(path.name) for path in PROJECTS.iterdir() if (path / "project.yaml").is_file()]
    return [project.name for project in sorted(found, key=lambda one: (KINDS.index(one.kind), one.name))]


def read(name: str, *, projects: Path = PROJECTS) -> Project:
    """Read one project; raise InputError with every mistake."""
    folder = projects / name
    reader = Reader(folder / "project.yaml")
    fields = reader.expect_mapping(load(reader.path), _KEYS, "a project", required=("kind", "shows", "fetch", "asks"))
    if not (folder / "build.yaml").is_file():
        reader.mistake(None, "build.yaml is missing beside it")
    image = reader.expect_str(fields.get("image"), "image") or ""
    if image and not (IMAGES / f"{image}.yaml").is_file():
        reader.mistake(fields["image"], f"there is no recipe images/{image}.yaml")
    asked = [reader.expect_enum(item, "asks", _ASKS) for item in reader.expect_list(fields.get("asks"), "asks")]
    project = Project(
        name=name,
        folder=folder,
        kind=reader.expect_enum(fields.get("kind"), "kind", KINDS) or "",
        shows=reader.expect_str(fields.get("shows"), "shows") or "",
        image=image,
        fetch=tuple(_read_wanted(reader, item) for item in reader.expect_list(fields.get("fetch"), "fetch")),
        asks=tuple(tool for tool in asked if tool),
        lock=reader.expect_enum(fields.get("lock"), "lock", ("npm",)) or "",
        submodules=_read_texts(reader, fields.get("submodules"), "submodules"),
        differs=_read_texts(reader, fields.get("differs"), "differs"),
        cut=reader.expect_bool(fields.get("cut"), "cut") or False,
    )
    reader.finish()
    return project


def _read_wanted(reader: Reader, node: Node) -> Wanted:
    required = ("registry", "name", "version", "sha256")
    fields = reader.expect_mapping(node, _FETCH_KEYS, "a file to fetch", required=required)
    texts = {key: reader.expect_str(value, key) or "" for key, value in fields.items()}
    reader.expect_enum(fields.get("registry"), "registry", REGISTRIES)
    if not _SHA256.fullmatch(texts.get("sha256", "")):
        reader.mistake(fields.get("sha256", node), "expected sha256 as 64 hexadecimal digits")
    if sum(key in texts for key in ("to", "as", "serve", "repository")) > 1:
        reader.mistake(node, "a file goes to one place: to, as, serve or repository")
    return Wanted(
        registry=texts.get("registry", ""),
        name=texts.get("name", ""),
        version=texts.get("version", ""),
        file=texts.get("file", ""),
        sha256=texts.get("sha256", ""),
        to=texts.get("to", "."),
        saved_as=texts.get("as", ""),
        served_as=texts.get("serve", ""),
        repository=texts.get("repository", ""),
    )


def _read_texts(reader: Reader, node: Node | None, what: str) -> dict[str, str]:
    items = reader.expect_free_mapping(node, what)
    return {key.text: reader.expect_str(value, f"{what} of {key.text}") or "" for key, value in items}
