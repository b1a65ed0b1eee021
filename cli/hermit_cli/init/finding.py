"""Says what `hermit init` can find in a project: what builds it, with which commands, and whom those will ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

HERE = PurePosixPath()


@dataclass(frozen=True, slots=True)
class Do:
    """Is one step: commands for a shell, each on its own line; `why` is what a reviewer should know of it."""

    name: str
    lines: tuple[str, ...]
    network: bool = False
    root: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """Is a URL that a build will ask: one that stands in the project (`why` says where), or one of a tool's.

    The rule admits what is below the URL where `narrow`, else the whole host.
    """

    url: str
    why: str
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Is what one build system says of a project, or of a folder of it.

    `kind` names the detector, `title` says to people what was found. `tools` are those whose registries the steps
    ask (keys of registries.TOOLS), `asked` what the project's own files name. `covers` are kinds that this one drives
    itself. `notes` are what a person has to decide.
    """

    kind: str
    title: str
    steps: tuple[Do, ...]
    apt: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    covers: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    folder: PurePosixPath = HERE


@dataclass(frozen=True, slots=True)
class Registry:
    """Is what a tool said of the servers that it gets packages from.

    `environment` makes the tool in a cell ask the same servers as the tool of this machine. `unknown` says what a
    person has to fill in. `replaced` is the host of a lock file's URLs that the tool asks another one for.
    """

    tool: str
    asked: tuple[Asked, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    replaced: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Is all that is known of a project: what builds it, and what else was seen."""

    parts: tuple[Part, ...]
    unused: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
