"""Reads the small languages inside a spec: paths, patterns, packages and names, each with words for what is wrong."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

MAX_PATH = 1024
MAX_NAME = 80
# The kernel takes no argument or variable above 128 KiB (execve(2), MAX_ARG_STRLEN).
MAX_TEXT = 100_000
# What tar(1) can be told to pack with, by the archive's suffix; the arguments make the same bytes of the same files.
ARCHIVES = {
    ".tar": "",
    ".tar.gz": "gzip -n",
    ".tgz": "gzip -n",
    ".tar.xz": "xz -T1",
    ".tar.zst": "zstd -q -T1",
}
# Debian Policy 5.6.1 and 5.6.12; apt-get(8) takes an architecture, and a version or a suite, behind the name.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?(=([0-9]+:)?[A-Za-z0-9.+~-]+|/[A-Za-z0-9][A-Za-z0-9.+~-]*)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACKET = re.compile(r"\[(?:![^/]|[^!/])[^\]/]*\]")
_RANGE = re.compile(r"(.)-([^\]])")


def parse_path(text: str) -> PurePosixPath:
    """Read a path below the project; raise ValueError."""
    _check_text(text)
    if text.startswith("/"):
        raise ValueError("it is absolute; paths are relative to the project's folder")
    path = PurePosixPath(text)
    if ".." in path.parts:
        raise ValueError("`..` leads out of the project's folder")
    return path


def parse_recipe(text: str) -> str:
    """Read the path of a recipe for an image; raise ValueError."""
    path = parse_path(text)
    if path.suffix not in {".yaml", ".yml"}:
        raise ValueError("a recipe's name ends in .yaml")
    return str(path)


def parse_archive(text: str) -> PurePosixPath:
    """Read the path of a tar archive; raise ValueError."""
    path = parse_path(text)
    if not archive_suffix(path):
        raise ValueError(f"the name of an archive ends in {', '.join(ARCHIVES)}")
    return path


def archive_suffix(path: PurePosixPath) -> str:
    """Give the suffix that says how an archive is packed; an empty text where it is none."""
    return next((suffix for suffix in ARCHIVES if path.name.endswith(suffix) and path.name != suffix), "")


def check_pattern(text: str) -> None:
    """Raise ValueError for what is no pattern of artifacts.

    `*`, `?` and `[...]` stand for characters of one name, `**` for any number of folders; there are no escapes.
    """
    _check_text(text)
    if text.startswith("/"):
        raise ValueError("it is absolute; patterns are relative to the project's folder")
    if text.startswith("!"):
        raise ValueError("there are no exceptions (`!`); name what is wanted")
    if "\\" in text:
        raise ValueError("there are no escapes (`\\`); `[*]` is a star")
    for part in text.removesuffix("/").split("/"):  # a slash at the end wants a folder
        _check_part(part)


def _check_part(part: str) -> None:
    if part in {"", ".", ".."}:
        raise ValueError(f"{part!r} between slashes leads nowhere; write plain names" if part else _EMPTY_PART)
    if "**" in part and part != "**":
        raise ValueError("`**` stands alone between slashes: `**/*.deb`")
    rest = _BRACKET.sub("", part)
    if "[" in rest:
        raise ValueError("a `[` without its `]`; `[[]` is a bracket")
    if "{" in rest or "}" in rest:
        raise ValueError("there is no choice in braces; write a pattern for each, `[{]` is a brace")
    for bracket in _BRACKET.findall(part):
        if bracket.lstrip("[!").startswith("^") or any(start in bracket[1:] for start in ("[:", "[.", "[=")):
            raise ValueError(f"`{bracket}` means different things to different shells; write it another way")
        if wrong := next((f"{a}-{b}" for a, b in _RANGE.findall(bracket[1:]) if a > b), None):
            raise ValueError(f"the range {wrong} is empty")


def check_package(text: str) -> None:
    """Raise ValueError for what is no Debian package as apt-get takes it, or what apt-get reads as an order."""
    if not _PACKAGE.fullmatch(text):
        raise ValueError("expected `name`, `name:arch`, `name=version` or `name/suite`, in Debian's letters")
    if text.endswith("-"):
        raise ValueError("apt-get would remove a package that is written with `-` at its end")


def check_name(text: str) -> None:
    """Raise ValueError for what is no name of a step."""
    if len(text) > MAX_NAME or not text.isprintable() or text != text.strip():
        raise ValueError(f"a name is one line of at most {MAX_NAME} characters")
    if text.isdecimal():
        raise ValueError("a number means a step by its place; a name needs more than digits")


def check_variable(text: str) -> None:
    """Raise ValueError for what no shell takes for the name of a variable."""
    if not _VARIABLE.fullmatch(text):
        raise ValueError("a variable's name is of letters, digits and `_`, and begins with no digit")


def check_script(text: str) -> None:
    """Raise ValueError for what is no script."""
    if not text.strip():
        raise ValueError("there is no command in it")
    check_argument(text)


def check_argument(text: str) -> None:
    """Raise ValueError for what no program can be given as an argument or a variable."""
    if "\0" in text:
        raise ValueError("it has a NUL character")
    if len(text.encode()) > MAX_TEXT:
        raise ValueError(f"it is longer than {MAX_TEXT:,} bytes; put it into a file of the project")


_EMPTY_PART = "an empty name between slashes; to take all of a folder write `folder/**`"


def _check_text(text: str) -> None:
    if len(text) > MAX_PATH:
        raise ValueError(f"it is longer than {MAX_PATH} characters")
    if not text.isprintable():
        raise ValueError("it has a control character")
