"""Compares the artifacts of a build with those of an earlier one, and says what they have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hermit_cli.output import say, say_styled
from hermit_proxy.errors import ExitCode
from hermit_workers.artifacts import Artifact

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Identity:
    """Is what a build is made of: the same three digests (`sha256:<hex>`) are the same build."""

    source: str
    plan: str
    image: str

    def to_json(self) -> dict[str, str]:
        """Give the three by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Is how the artifacts are to those of an earlier build: `when` and `mode` are that build's.

    `changed` names what the two were not made of alike (`commit`, `source`, `steps`, `image`); nothing where it was the
    same build. `before` are the earlier digests (hex) of what is `differing`.
    """

    when: str
    mode: str
    differing: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...] = ()
    before: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Tell whether they are the same, byte for byte."""
        return not (self.differing or self.missing or self.added)


def compare(
    artifacts: Iterable[Artifact],
    identity: Identity,
    earlier: Iterable[Mapping[str, Any]],
    *,
    project: str = "",
    commit: str = "",
) -> Comparison | None:
    """Compare with the last build of the same source, plan and image, else with the last one of the project.

    None where there was none. `earlier` are results of builds, the last one first, each with the `time` that its run
    began.
    """
    now = {kept.path: kept.sha256 for kept in artifacts}
    other: Comparison | None = None
    for result in earlier:
        build = result.get("build")
        if not isinstance(build, dict) or result.get("exit_code") != ExitCode.DONE:
            continue
        if not isinstance(build.get("artifacts"), dict) or not isinstance(build.get("identity"), dict):
            continue
        if build["identity"] == identity.to_json():
            return _compared(now, result, ())
        if other is None and project and build.get("project") == project:
            other = _compared(now, result, _changed(build, identity, commit))
    return other


def _compared(now: Mapping[str, str], result: Mapping[str, Any], changed: tuple[str, ...]) -> Comparison:
    before = result["build"]["artifacts"]
    differing = sorted(path for path in now.keys() & before.keys() if now[path] != before[path])
    return Comparison(
        when=str(result.get("time", "")),
        mode=str(result.get("mode", "")),
        differing=tuple(differing),
        missing=tuple(sorted(before.keys() - now.keys())),
        added=tuple(sorted(now.keys() - before.keys())),
        changed=changed,
        before=tuple(str(before[path]) for path in differing),
    )


def _changed(build: Mapping[str, Any], identity: Identity, commit: str) -> tuple[str, ...]:
    """Name what an earlier build was made of otherwise; a plan holds its commit, so that alone makes another one."""
    before = build["identity"]
    same_commit = build.get("commit") == commit
    found = {
        "commit": not same_commit,
        "source": before.get("source") != identity.source,
        "steps": same_commit and before.get("plan") != identity.plan,
        "image": before.get("image") != identity.image,
    }
    return tuple(name for name, differs in found.items() if differs)


def say_comparison(compared: Comparison) -> None:
    """Tell how they compare, and where they differ why that may be."""
    build = f"the {compared.mode} build of {compared.when}"
    of = f" (of another {' and another '.join(compared.changed)})" if compared.changed else ""
    if compared.same:
        say_styled(f"  the same, byte for byte, as of {build}{of}", "good")
        return
    if compared.changed:
        say(f"  not the same as of {build}{of}")
    else:
        say_styled(f"  NOT the same as of {build}, from the same source, steps and image", "warn")
    for what, paths in (("differs", compared.differing), ("is gone", compared.missing), ("is new", compared.added)):
        for path in paths[:_SHOWN]:
            say(f"    {what}: {path}")
        if len(paths) > _SHOWN:
            say(f"    {what}: … and {len(paths) - _SHOWN} more")
    say(f"    why: {_why(compared)}")


def _why(compared: Comparison) -> str:
    """Say what makes artifacts differ, and what to do about it."""
    if not compared.changed:
        return "something that no sandbox holds still: docs/determinism.md of Hermit lists what, and what helps there"
    if compared.changed == ("commit",):
        return "a build is told its commit and the commit's time (SOURCE_DATE_EPOCH); build again to compare two of one"
    return f"another {' and another '.join(compared.changed)}; build again to compare two of the same"
