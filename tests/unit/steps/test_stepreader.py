"""One step: which keys go with which action, and that no step has a network which nobody asked for."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.closedyaml.file import loads
from hermit_proxy.closedyaml.reader import Reader
from hermit_steps.spec import Apt, Step
from hermit_steps.stepreader import read_step

PATH = Path("build.yaml")
ACTIONS = {
    "apt": "[vim]",
    "run": "make",
    "pack": "{from: a, to: a.tar}",
    "unpack": "{file: a.tar, to: b}",
}
OPTIONS = {
    "name": "x",
    "timeout": "1m",
    "environment": "{A: b}",
    "network": "proxy",
    "user": "root",
    "directory": "d",
    "shell": "bash",
}
TAKEN = {"apt": {"name", "timeout", "environment"}, "run": set(OPTIONS), "pack": {"name", "timeout"}}
TAKEN["unpack"] = TAKEN["pack"]


def read(text: str) -> tuple[Step | None, list[str]]:
    reader = Reader(PATH)
    step = read_step(reader, loads(text.encode(), PATH), 1)
    return step, [mistake.message for mistake in reader.mistakes]


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("action", ACTIONS)
def test_an_option_goes_with_the_actions_that_it_means_something_for(action: str, option: str) -> None:
    step, told = read(f"{action}: {ACTIONS[action]}\n{option}: {OPTIONS[option]}\n")
    assert step is not None
    assert bool(told) is (option not in TAKEN[action])


@pytest.mark.parametrize("pair", list(combinations([*ACTIONS, "container"], 2)))
def test_a_step_has_one_action(pair: tuple[str, str]) -> None:
    step, told = read("".join(f"{action}: {ACTIONS.get(action, '{file: Dockerfile}')}\n" for action in pair))
    assert step is None
    (only,) = told
    assert only.startswith("container steps come" if "container" in pair else "a step does one thing")


@given(st.dictionaries(st.sampled_from([*ACTIONS, *OPTIONS]), st.sampled_from(["proxy", "none", "root", "x", "[x1]"])))
def test_a_step_has_the_network_and_the_user_that_it_asks_for_and_no_more(fields: dict[str, str]) -> None:
    step, told = read("".join(f"{key}: {value}\n" for key, value in fields.items()) or "{}")
    if told:
        return
    assert step is not None
    asked = isinstance(step.action, Apt)
    assert step.network == ("proxy" if asked or fields.get("network") == "proxy" else "none")
    assert step.user == ("root" if asked or fields.get("user") == "root" else "build")
