"""Takes what a build is of from Buildbot, or from the configuration."""

from __future__ import annotations

from buildbot.process.properties import Property

from hermit_steps.buildbot.checkout import Checkout


def test_what_is_built_is_the_builds_own_source_where_nothing_else_is_said() -> None:
    step = Checkout()
    assert [type(value) for value in (step.repository, step.revision, step.branch)] == [Property] * 3
    assert Checkout(repository="https://git.example.org/a").repository == "https://git.example.org/a"
