"""Tests what is left to a person for Gradle."""

from __future__ import annotations

from hermit_cli.init.registries.gradle import ask


def test_the_plugin_portal_is_filled_in_by_a_person() -> None:
    assert ask({}).unknown == ("Gradle's plugin portal, if the build uses plugins of it",)
