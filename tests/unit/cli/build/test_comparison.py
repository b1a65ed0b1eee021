"""Compares artifacts with those of builds before, and says what they were made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hermit_cli.build.comparison import Comparison, Identity, compare, say_comparison
from hermit_workers.artifacts import Artifact

IDENTITY = Identity("sha256:source", "sha256:plan", "sha256:image")
ARTIFACTS = (Artifact("dist/a", 5, "a" * 64, executable=False), Artifact("dist/b", 2048, "b" * 64, executable=True))
COMMIT = "c" * 40


def earlier(artifacts: dict[str, str] | None, **changes: Any) -> dict[str, Any]:
    build = {"identity": {"source": "sha256:source", "plan": "sha256:plan", "image": "sha256:image"}}
    result = {
        "exit_code": 0,
        "mode": "record",
        "time": "2026-11-21 13:54 UTC",
        "build": {**build, "artifacts": artifacts},
    }
    return result | changes


def of_project(artifacts: dict[str, str], *, commit: str = COMMIT, **identity: str) -> dict[str, Any]:
    named = {**IDENTITY.to_json(), **identity}
    build = {"project": "/there", "commit": commit, "identity": named, "artifacts": artifacts}
    return earlier(None, build=build)


def said(comparison: Comparison | None, capsys: pytest.CaptureFixture[str]) -> str:
    assert comparison is not None
    say_comparison(comparison)
    return capsys.readouterr().err


def test_the_same_artifacts_are_told_to_be_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    before = earlier({"dist/a": "a" * 64, "dist/b": "b" * 64})
    comparison = compare(ARTIFACTS, IDENTITY, [before])
    assert comparison is not None
    assert comparison.same
    text = said(comparison, capsys)
    assert "  the same, byte for byte, as of the record build of 2026-11-21 13:54 UTC\n" in text


def test_what_differs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare(ARTIFACTS, IDENTITY, [earlier({"dist/a": "0" * 64, "dist/old": "0" * 64})])
    assert comparison == Comparison(
        "2026-11-21 13:54 UTC", "record", ("dist/a",), ("dist/old",), ("dist/b",), before=("0" * 64,)
    )
    text = said(comparison, capsys)
    assert "NOT the same as of the record build of 2026-11-21 13:54 UTC, from the same source, steps and image" in text
    assert "    differs: dist/a\n    is gone: dist/old\n    is new: dist/b\n" in text
    assert text.endswith("docs/determinism.md of Hermit lists what, and what helps there\n")


@pytest.mark.parametrize(
    "before",
    [
        {},
        {"exit_code": 0, "build": "what an old or strange file has"},
        earlier({"dist/a": "a" * 64}, exit_code=1),
        earlier(None),
        earlier({"dist/a": "a" * 64}, build={"identity": {"source": "another"}, "artifacts": {}}),
    ],
)
def test_other_builds_and_failed_ones_are_nothing_to_compare_with(before: dict[str, Any]) -> None:
    assert compare(ARTIFACTS, IDENTITY, [before]) is None


def test_the_last_of_several_counts() -> None:
    same = earlier({"dist/a": "a" * 64, "dist/b": "b" * 64})
    comparison = compare(ARTIFACTS, IDENTITY, [earlier(None), same, earlier({})])
    assert comparison is not None
    assert comparison.same


OTHERS = [
    (of_project({"dist/a": "0" * 64}, commit="d" * 40, plan="sha256:o"), ("commit",)),
    (of_project({"dist/a": "0" * 64}, source="sha256:o"), ("source",)),
    (of_project({"dist/a": "0" * 64}, plan="sha256:o", image="sha256:o"), ("steps", "image")),
    (of_project({"dist/a": "0" * 64}, commit="d" * 40, source="sha256:o", plan="sha256:o"), ("commit", "source")),
]


@pytest.mark.parametrize(("before", "changed"), OTHERS)
def test_where_the_build_is_another_it_is_said_in_what(
    before: dict[str, Any], changed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = compare(ARTIFACTS, IDENTITY, [before], project="/there", commit=COMMIT)
    assert comparison is not None
    assert comparison.changed == changed
    text = said(comparison, capsys)
    other = " and another ".join(changed)
    assert f"  not the same as of the record build of 2026-11-21 13:54 UTC (of another {other})\n" in text
    assert "    differs: dist/a\n" in text
    assert "build again to compare two of" in text
    assert ("SOURCE_DATE_EPOCH" in text) == (changed == ("commit",))


def test_a_build_of_the_same_counts_before_a_later_one_of_another_and_other_projects_never() -> None:
    another = of_project({"dist/a": "0" * 64}, source="sha256:o")
    same = earlier({kept.path: kept.sha256 for kept in ARTIFACTS})
    comparison = compare(ARTIFACTS, IDENTITY, [another, same], project="/there", commit=COMMIT)
    assert comparison is not None
    assert comparison.same
    assert not comparison.changed
    assert compare(ARTIFACTS, IDENTITY, [another], project="/elsewhere", commit=COMMIT) is None


def test_the_same_bytes_of_another_build_are_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = Comparison("then", "record", (), (), (), changed=("commit", "source"))
    assert said(comparison, capsys) == (
        "  the same, byte for byte, as of the record build of then (of another commit and another source)\n"
    )


def test_many_that_differ_are_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    many = Comparison("then", "record", tuple(f"a{number:03}" for number in range(40)), (), ())
    text = said(many, capsys)
    assert "    differs: … and 28 more\n" in text
    assert "a011" in text
    assert "a012" not in said(replace(many, differing=many.differing[:12]), capsys)
