"""Judges how builds ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermit_cli.build.order import Built
from hermit_cli.build.report import StepDone
from hermit_proxy.errors import HermitError

STEP = StepDone(1, "one", "true", "none", 0, 1.0, {})
BUILT = Built((STEP, STEP), 2, {"broken": 0}, None, (), "sha256:i", "sha256:s", None, "")


@pytest.mark.parametrize(
    ("built", "status", "good"),
    [
        (BUILT, 0, True),
        (replace(BUILT, steps=(STEP,)), 0, False),
        (replace(BUILT, steps=(STEP, replace(STEP, status=3))), 3, False),
        (replace(BUILT, signal="SIGINT"), 0, False),
        (replace(BUILT, counts={"broken": 1}), 0, False),
        (replace(BUILT, failure=HermitError("an artifact is missing")), 0, False),
    ],
)
def test_only_a_whole_build_without_failures_is_worth_recording(built: Built, status: int, good: bool) -> None:
    assert (built.status, built.good) == (status, good)
