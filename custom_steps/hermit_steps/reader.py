"""Reads `.hermit/build.yaml`: closed and typed, every mistake at once with its line."""

from __future__ import annotations

from pathlib import Path

from hermit_proxy.closedyaml.file import Node, Sequence, excerpt, loads
from hermit_proxy.closedyaml.reader import Reader, did_you_mean
from hermit_steps import grammar
from hermit_steps.fields import checked, read_duration, read_environment, read_size, scan_text
from hermit_steps.spec import STOCK_IMAGES, Spec, Step, Wanted
from hermit_steps.stepreader import read_step

MAX_STEPS = 200
MAX_PATTERNS = 100


def read_spec(data: bytes, path: Path) -> Spec:
    """Read a spec; `path` is what mistakes are told with. Raise InputError with all of them."""
    reader = Reader(path)
    keys = ("image", "steps", "artifacts", "environment", "limits")
    root = reader.expect_mapping(loads(data, path), keys, "a spec", required=("image", "steps"))
    image = _read_image(reader, root.get("image"))
    steps = _read_steps(reader, root.get("steps"))
    artifacts = _read_artifacts(reader, root.get("artifacts"))
    environment = read_environment(reader, root.get("environment"))
    limits = _read_limits(reader, root.get("limits"))
    reader.mistakes.sort(key=lambda mistake: mistake.line or 0)
    reader.finish()
    return Spec(image or "", steps, artifacts, environment, limits)


def _read_image(reader: Reader, node: Node | None) -> str | None:
    text = reader.expect_str(node, "image")
    if text is None or text in STOCK_IMAGES:
        return text
    if "/" in text or text.endswith((".yaml", ".yml")):
        return scan_text(reader, node, "image", grammar.parse_recipe)
    meant = did_you_mean(text, STOCK_IMAGES)
    reader.mistake(
        node, f"there is no image {excerpt(text)}{meant}; a recipe is named by its path, which ends in .yaml"
    )
    return None


def _read_steps(reader: Reader, node: Node | None) -> tuple[Step, ...]:
    items = reader.expect_list(node, "steps")
    if isinstance(node, Sequence) and not items:
        reader.mistake(node, "expected at least one step")
    if len(items) > MAX_STEPS:
        reader.mistake(items[MAX_STEPS], f"more than {MAX_STEPS} steps")
        return ()
    read = [(item, read_step(reader, item, number)) for number, item in enumerate(items, start=1)]
    steps = [(item, step) for item, step in read if step is not None]
    _check_names(reader, steps)
    return tuple(step for _, step in steps)


def _check_names(reader: Reader, steps: list[tuple[Node, Step]]) -> None:
    named: dict[str, Node] = {}
    for node, step in steps:
        first = named.setdefault(step.name, node)
        if first is not node:
            reader.mistake(node, f"the name {excerpt(step.name)} is that of the step in line {first.line} as well")


def _read_artifacts(reader: Reader, node: Node | None) -> tuple[str, ...]:
    items = reader.expect_list(node, "artifacts")
    if len(items) > MAX_PATTERNS:
        reader.mistake(items[MAX_PATTERNS], f"more than {MAX_PATTERNS} patterns")
        return ()
    patterns = [scan_text(reader, item, "pattern", checked(grammar.check_pattern)) for item in items]
    return tuple(pattern for pattern in patterns if pattern is not None)


def _read_limits(reader: Reader, node: Node | None) -> Wanted:
    keys = ("memory", "processes", "disk", "output", "time", "artifacts")
    fields = reader.expect_mapping(node, keys, "limits")
    return Wanted(
        memory=read_size(reader, fields.get("memory"), "memory"),
        processes=reader.expect_int(fields.get("processes"), "processes", least=1),
        disk=read_size(reader, fields.get("disk"), "disk"),
        output=read_size(reader, fields.get("output"), "output"),
        seconds=read_duration(reader, fields.get("time"), "time"),
        artifacts=read_size(reader, fields.get("artifacts"), "artifacts"),
    )
