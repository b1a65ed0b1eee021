"""Says what a spec can ask for: the image, the steps in their order, what leaves the cell and how much it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

Network = Literal["none", "proxy"]
User = Literal["build", "root"]
Shell = Literal["sh", "bash"]

# The images that come with Hermit; every other one is a recipe of the project's own.
STOCK_IMAGES = ("debian-12",)
HERE = PurePosixPath()


@dataclass(frozen=True, slots=True)
class Apt:
    """Is the installing of Debian packages, each as apt-get(8) takes it: `name`, `name=version`, `name/suite`."""

    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Is a script for a shell; it ends with the first command that fails."""

    script: str
    shell: Shell = "sh"


@dataclass(frozen=True, slots=True)
class Pack:
    """Is the making of a tar archive of all that is in a folder; both paths are relative to the project.

    The archive's suffix says how it is packed.
    """

    source: PurePosixPath
    target: PurePosixPath


@dataclass(frozen=True, slots=True)
class Unpack:
    """Is the unpacking of a tar archive into a folder; both paths are relative to the project."""

    source: PurePosixPath
    target: PurePosixPath


Action = Apt | Run | Pack | Unpack


@dataclass(frozen=True, slots=True)
class Step:
    """Is one action, and how it is done.

    `name` is unique within a spec; without one of its own it is `default_name`. `folder` is relative to
    the project; `seconds` None leaves the whole build's time.
    """

    name: str
    action: Action
    network: Network
    user: User = "build"
    folder: PurePosixPath = HERE
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None


def default_name(number: int) -> str:
    """Name a step that has no name; steps count from 1."""
    return f"step-{number}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Is what a build says that it uses of the machine, in bytes, counts and seconds; None leaves it to the operator.

    `output` is what one step may print, `artifacts` all that may leave the cell. The operator's own limits hold in
    any case.
    """

    memory: int | None = None
    processes: int | None = None
    disk: int | None = None
    output: int | None = None
    seconds: float | None = None
    artifacts: int | None = None


NOTHING_WANTED = Wanted()


@dataclass(frozen=True, slots=True)
class Spec:
    """Is what a project asks for.

    `image` is a stock image's name, or the path of a recipe (`….yaml`) relative to the project. `environment` is for
    every `run` and `apt` step. `artifacts` are patterns below the project (see grammar.py).
    """

    image: str
    steps: tuple[Step, ...]
    artifacts: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Wanted = NOTHING_WANTED
