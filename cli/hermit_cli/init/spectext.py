"""Writes the first spec of a project: what was found, as `.hermit/build.yaml` with comments for who reviews it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hermit_cli.init.detectors.rust import WHY_CARGO_WEB
from hermit_cli.init.finding import Do, Found, Part
from hermit_cli.init.yamltext import comment, flow, scalar, script

_IMAGE = "debian-12"
_WHY = {"cargo-web": WHY_CARGO_WEB}


def spec_text(found: Found, environment: Mapping[str, str]) -> str:
    """Give the file's text."""
    titles = "; ".join(_titled(part) for part in found.parts)
    lines = [*comment(f"Written by `hermit init`, which found: {titles}.")]
    lines += comment("A guess to start from: read it, mend it, commit it. Every step has no network unless it says so.")
    lines += ["", f"image: {_IMAGE}"]
    if environment:
        lines += ["", "environment:", *comment("As the tools are set up on the machine where this was written.", 2)]
        lines += [*(f"  {name}: {scalar(value)}" for name, value in environment.items())]
    lines += ["", "steps:", *_apt(found.parts)]
    for part in found.parts:
        lines += ["", *comment(_titled(part), 2)]
        for note in part.notes:
            lines += comment(f"LOOK: {note}.", 2)
        for do in part.steps:
            lines += _step(part, do, _label(part, found.parts))
    return "\n".join([*lines, "", *_artifacts(found.parts)]) + "\n"


def _titled(part: Part) -> str:
    return f"{part.title} in {part.folder}" if part.folder.parts else part.title


def _label(part: Part, parts: Iterable[Part]) -> str:
    """Give what tells a part's steps from those of the others; nothing where the names alone do."""
    names = {do.name for do in part.steps}
    others = [other for other in parts if other is not part and names & {do.name for do in other.steps}]
    if not others:
        return ""
    beside = any(other.folder == part.folder for other in others)
    folder = str(part.folder) if part.folder.parts else ""
    return f"{folder} {part.kind if beside or not folder else ''}".strip()


def _apt(parts: Iterable[Part]) -> list[str]:
    packages = list(dict.fromkeys(name for part in parts for name in part.apt))
    if not packages:
        return []
    why = [line for name in packages if name in _WHY for line in comment(_WHY[name], 2)]
    return [*why, f"  - apt: {flow(packages)}"]


def _step(part: Part, do: Do, label: str) -> list[str]:
    name = f"{label}: {do.name}" if label else do.name
    lines = [*comment(do.why, 4)]
    lines.append(f"    run: {script(do.lines, 6)}")
    if do.network:
        lines.append("    network: proxy")
    if do.root:
        lines.append("    user: root")
    if part.folder.parts:
        lines.append(f"    directory: {scalar(str(part.folder))}")
    return [f"  - name: {scalar(name)}", *lines]


def _artifacts(parts: Iterable[Part]) -> list[str]:
    patterns = dict.fromkeys(str(part.folder / pattern) for part in parts for pattern in part.artifacts)
    if not patterns:
        return [*comment("Nothing is known to leave the cell; name it here, as in: artifacts: [dist/*]")]
    return ["artifacts:", *(f"  - {scalar(pattern)}" for pattern in patterns)]
