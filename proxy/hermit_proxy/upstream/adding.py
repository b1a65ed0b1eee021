"""Says which lines `upstream.allow` wants and where in the settings file they go: as a person has laid that out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

_KEYS = ("upstream", "allow")


@dataclass(frozen=True, slots=True)
class Addition:
    """Is what has to be added to a file: `where` in words, and the lines as they have to stand there."""

    where: str
    lines: tuple[str, ...]


def addition(file: Path, items: Sequence[str], asides: Mapping[str, str]) -> Addition:
    """Say what opens items; `asides` are remarks on some of them, which become comments.

    A file that cannot be read or has mistakes is taken for one that says nothing.
    """
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, UnicodeError, yaml.YAMLError):
        root = None
    where = f"at the end of {file}" if root is not None else f"to {file}"
    return _Lines(file, tuple(items), asides).below(root, _KEYS, where, 0)


def quoted(item: str) -> str:
    """Give an item as YAML has it: in quotes where it would be a list, a truth or a number (`[::1]`, a host `yes`)."""
    try:
        plain = yaml.safe_load(f"- {item}") == [item]
    except yaml.YAMLError:
        plain = False
    return item if plain else f'"{item}"'


@dataclass(frozen=True, slots=True)
class _Lines:
    file: Path
    items: tuple[str, ...]
    asides: Mapping[str, str]

    def below(self, node: yaml.Node | None, keys: tuple[str, ...], where: str, indent: int) -> Addition:
        """Follow the keys as far as they are there; new lines go `where` and as far in as their neighbours."""
        if isinstance(node, yaml.CollectionNode):
            indent = node.start_mark.column
            if node.flow_style:
                return self._inside(node, keys)
        if not keys:
            where = self._after(node.value[-1]) if isinstance(node, yaml.SequenceNode) else where
            return Addition(where, self._listed(indent))
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value == keys[0]:
                return self.below(value, keys[1:], self._after(key), indent + 2)
        nested = [f"{' ' * (indent + 2 * depth)}{key}:" for depth, key in enumerate(keys)]
        return Addition(where, (*nested, *self._listed(indent + 2 * len(keys))))

    def _inside(self, node: yaml.CollectionNode, keys: tuple[str, ...]) -> Addition:
        """Say what goes between brackets, where there are no lines to add."""
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if keys and key.value == keys[0] and isinstance(value, yaml.CollectionNode):
                return self._inside(value, keys[1:])
        text = ", ".join(map(quoted, self.items))
        for depth, key in enumerate(reversed(keys)):
            text = f"{key}: {f'{{{text}}}' if depth else f'[{text}]'}"
        brackets = "braces" if isinstance(node, yaml.MappingNode) else "brackets"
        return Addition(f"in the {brackets} at {self.file}:{node.start_mark.line + 1}", (text,))

    def _after(self, node: yaml.Node) -> str:
        return f"below {self.file}:{node.end_mark.line + 1}"

    def _listed(self, indent: int) -> tuple[str, ...]:
        said = {item: f"    # {self.asides[item]}" if item in self.asides else "" for item in self.items}
        return tuple(f"{' ' * indent}- {quoted(item)}{aside}" for item, aside in said.items())
