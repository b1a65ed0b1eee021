"""Writes the first rules of a project: whom its steps will ask, and what a person has to fill in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hermit_cli.init.finding import Asked, Found, Registry
from hermit_cli.init.urls import site
from hermit_cli.init.yamltext import comment


def rules_text(found: Found, registries: Iterable[Registry]) -> str:
    """Give the file's text; a host that several ask stands there once."""
    registries = tuple(registries)
    reasons = _reasons([*(one for registry in registries for one in registry.asked), *_of_project(found, registries)])
    lines = [*comment("Written by `hermit init`: whom the steps of build.yaml may ask while they are recorded.")]
    lines += comment("Take out what the build should not reach. What is missing is refused, and `hermit rules suggest`")
    lines += comment("then tells the rule. What each key means: docs/rules.md of Hermit.")
    lines += ["rules:" if reasons else "rules: []"]
    for pattern, why in reasons.items():
        lines += [*comment("; ".join(why), 2), f"  - pattern: {_quoted(pattern)}", "    action: ALLOW"]
    for unknown in (told for registry in registries for told in registry.unknown):
        lines += ["", *comment(f"FILL IN: {unknown}", 2)]
        lines += ["  # - pattern: 'HOST/.*'", "  #   action: ALLOW"]
    return "\n".join(lines) + "\n"


def _of_project(found: Found, registries: Iterable[Registry]) -> list[Asked]:
    """Give what stands in the project's own files and is asked."""
    replaced = {registry.replaced for registry in registries} - {""}
    return [
        Asked(one.url, f"named in {part.folder / one.why if part.folder.parts else one.why}", one.narrow)
        for part in found.parts
        for one in part.asked
        if not (part.kind == "node" and one.why != ".npmrc" and _authority(one) in replaced)
    ]


def _authority(asked: Asked) -> str:
    where = site(asked.url)
    return where.authority if where else ""


def _reasons(asked: Iterable[Asked]) -> Mapping[str, list[str]]:
    """Give patterns with why they are there; what a whole host's rule admits needs no rule of its own."""
    found: dict[str, list[str]] = {}
    sites = [(where, one) for one in asked if (where := site(one.url))]
    wide = {where.authority for where, one in sites if not one.narrow}
    for where, one in sites:
        pattern = where.pattern(narrow=one.narrow and where.authority not in wide)
        why = found.setdefault(pattern, [])
        if one.why not in why:
            why.append(one.why)
        if where.login and _LOGIN not in why:
            why.append(_LOGIN)
    return found


_LOGIN = "it wants a login: bind a credential to it, then add the line `credential: NAME` here"


def _quoted(pattern: str) -> str:
    return "'" + pattern.replace("'", "''") + "'"
