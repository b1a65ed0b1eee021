"""The plan: one spec gives the same bytes always, as a golden file holds, and nothing that it does not ask for."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.errors import UsageError
from hermit_steps.plan import Facts, Plan, folder_name, plan, title
from hermit_steps.reader import read_spec
from hermit_steps.spec import Apt, Pack, Run, Spec, Step, Unpack

HERE = Path(__file__).parent
GOLDEN = HERE / "plan.json"
FACTS = Facts("my project", 1_700_000_000, "4c25de18" * 5, "main", "https://git.example.org/my/project")
TEXT = b"""\
image: debian-12
environment: {CC: clang-14, A: everywhere}
steps:
  - apt: [python3-venv, g++]
  - run: v/bin/pip install -r requirements.txt
    network: proxy
  - name: Run the tests
    run: |
      # slow
      v/bin/pytest
    shell: bash
    user: root
    timeout: 30m
    directory: sub/dir
    environment: {A: here}
  - pack: {from: dist, to: out/dist.tar.gz}
  - unpack: {file: out/dist.tar.gz, to: again}
  - apt: [vim]
artifacts: ["dist/*", "\xc3\xa4/**"]
limits: {memory: 4 GiB, time: 1h}
"""


def planned() -> Plan:
    return plan(read_spec(TEXT, Path("build.yaml")), FACTS)


def test_a_spec_gives_the_bytes_of_the_golden_file() -> None:
    assert planned().to_json() == GOLDEN.read_bytes(), f"if this is meant: {__file__} writes the file when it is run"


def test_another_process_gives_the_same_bytes() -> None:
    told = subprocess.run([sys.executable, "-R", __file__, "-"], check=True, capture_output=True).stdout
    assert told == planned().to_json()


def test_every_part_of_a_plan_is_in_its_bytes() -> None:
    whole = planned()
    step = whole.steps[0]
    others = [
        replace(whole, image="x.yaml"),
        replace(whole, artifacts=()),
        replace(whole, limits=replace(whole.limits, disk=1)),
        replace(whole, facts=replace(FACTS, commit="")),
        *(replace(whole, steps=(changed, *whole.steps[1:])) for changed in (
            replace(step, network="none"), replace(step, user="build"), replace(step, argv=()),
            replace(step, environment={}), replace(step, folder=PurePosixPath("/")), replace(step, seconds=1.0),
        )),
    ]  # fmt: skip
    assert len({other.to_json() for other in (whole, *others)}) == len(others) + 1


def test_a_step_runs_in_its_folder_of_the_project() -> None:
    whole = planned()
    assert (whole.top, whole.folder) == (PurePosixPath("/build/my-project"), PurePosixPath("/build/my-project"))
    assert whole.steps[2].folder == PurePosixPath("/build/my-project/sub/dir")
    part = plan(read_spec(TEXT, Path("build.yaml")), replace(FACTS, below=PurePosixPath("libs/one")))
    assert (part.top, part.folder) == (PurePosixPath("/build/my-project"), PurePosixPath("/build/my-project/libs/one"))
    assert part.steps[2].folder == PurePosixPath("/build/my-project/libs/one/sub/dir")


def test_variables_of_a_step_win_over_those_of_the_build_and_archives_get_none() -> None:
    environments = [dict(step.environment) for step in planned().steps]
    both = {"CC": "clang-14", "A": "everywhere"}
    apt = {**both, "DEBIAN_FRONTEND": "noninteractive"}
    assert environments == [apt, both, {"CC": "clang-14", "A": "here"}, {}, {}, apt]


def test_only_the_first_apt_step_fetches_the_lists() -> None:
    updates = ["apt-get" in step.argv[3] and " update\n" in step.argv[3] for step in planned().steps]
    assert updates == [True, False, False, False, False, False]


def test_a_step_is_shown_by_its_name_or_by_what_it_does() -> None:
    assert [step.title for step in planned().steps] == [
        "apt: python3-venv g++",
        "v/bin/pip install -r requirements.txt",
        "Run the tests",
        "pack dist into out/dist.tar.gz",
        "unpack out/dist.tar.gz into again",
        "apt: vim",
    ]


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("make", "make"),
        ("\n# why\n\n  make all\n", "make all …"),
        ("# nothing", "run"),
        ("a\x1b[31m\u202eb", "a [31m b"),
        ("x" * 100, "x" * 71 + "…"),
    ],
)
def test_a_title_is_one_line_that_a_terminal_can_show(script: str, shown: str) -> None:
    assert title(Run(script)) == shown


@pytest.mark.parametrize(("step", "count"), [("1", 1), ("step-2", 2), ("Run the tests", 3), ("3", 3), ("6", 6)])
def test_a_plan_stops_after_a_step_told_by_number_or_name(step: str, count: int) -> None:
    whole = planned()
    part = whole.upto(step)
    assert part.steps == whole.steps[:count]
    assert part.artifacts == (whole.artifacts if count == len(whole.steps) else ())


@pytest.mark.parametrize("step", ["0", "7", "", "tests", "-1"])
def test_a_step_that_is_not_there_is_told_with_those_that_are(step: str) -> None:
    with pytest.raises(UsageError) as raised:
        planned().upto(step)
    assert str(raised.value) == f"there is no step {step!r}"
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("the steps are 1 (step-1), 2 (step-2), 3 (Run the tests), ")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("hermit", "hermit"),
        ("a b/c", "a-b-c"),
        ("ä", "-"),
        ("..", "project"),
        ("", "project"),
        (".x", ".x"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_project_has_a_folder_of_plain_letters(name: str, folder: str) -> None:
    assert folder_name(name) == folder


_NAMES = st.sampled_from(["a", "b/c", "-x", "d.tar", "e.tar.xz"]).map(PurePosixPath)
_ACTIONS = st.one_of(
    st.builds(Apt, st.lists(st.sampled_from(["vim", "g++", "-y"]), min_size=1).map(tuple)),
    st.builds(Run, st.text(min_size=1), st.sampled_from(["sh", "bash"])),
    st.builds(Pack, _NAMES, st.just(PurePosixPath("d.tar.gz"))),
    st.builds(Unpack, st.just(PurePosixPath("d.tar")), _NAMES),
)
_STEPS = st.builds(
    Step, st.text(max_size=5), _ACTIONS, st.sampled_from(["none", "proxy"]), st.sampled_from(["build", "root"])
)


@given(st.lists(_STEPS, max_size=6), st.integers(-(2**40), 2**40))
def test_a_plan_has_no_network_and_no_root_that_the_spec_did_not_ask_for(steps: list[Step], epoch: int) -> None:
    made = plan(Spec("debian-12", tuple(steps)), Facts("x", epoch))
    assert [(step.network, step.user) for step in made.steps] == [(step.network, step.user) for step in steps]
    assert [step.number for step in made.steps] == list(range(1, len(steps) + 1))
    assert json.loads(made.to_json())["image"] == "debian-12"


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        sys.stdout.buffer.write(planned().to_json())
    else:
        GOLDEN.write_bytes(planned().to_json())
