"""Tests the first spec word for word, and that it is read as it was meant."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from hermit_cli.init.finding import Do, Found, Part
from hermit_cli.init.spectext import spec_text
from hermit_steps.reader import read_spec
from hermit_steps.spec import Apt, Run, Spec

WEB = Part(
    kind="node",
    title="JavaScript (package.json)",
    steps=(
        Do("tool", ("npm install --global x",), network=True, root=True, why="Debian has none"),
        Do("fetch", ("npm ci", "echo 'a: b'"), network=True),
        Do("build", ("npm run build",)),
    ),
    apt=("nodejs", "npm"),
    artifacts=("*.tgz",),
    notes=("it is old",),
)
TEXT = """\
# Written by `hermit init`, which found: JavaScript (package.json).
# A guess to start from: read it, mend it, commit it. Every step has no network unless it says so.

image: debian-12

environment:
  # As the tools are set up on the machine where this was written.
  npm_config_registry: "https://npm.example.org/"

steps:
  - apt: [nodejs, npm]

  # JavaScript (package.json)
  # LOOK: it is old.
  - name: tool
    # Debian has none
    run: npm install --global x
    network: proxy
    user: root
  - name: fetch
    run: |
      npm ci
      echo 'a: b'
    network: proxy
  - name: build
    run: npm run build

artifacts:
  - "*.tgz"
"""


def read(*parts: Part) -> Spec:
    return read_spec(spec_text(Found(parts), {}).encode(), Path("build.yaml"))


def test_the_file_is_one_that_a_person_can_review() -> None:
    assert spec_text(Found((WEB,)), {"npm_config_registry": "https://npm.example.org/"}) == TEXT


def test_it_is_read_as_it_was_meant() -> None:
    spec = read_spec(TEXT.encode(), Path("build.yaml"))
    assert spec.environment == {"npm_config_registry": "https://npm.example.org/"}
    assert [(step.name, step.network, step.user) for step in spec.steps[1:]] == [
        ("tool", "proxy", "root"),
        ("fetch", "proxy", "build"),
        ("build", "none", "build"),
    ]
    assert spec.steps[0].action == Apt(("nodejs", "npm"))
    assert spec.steps[2].action == Run("npm ci\necho 'a: b'\n")
    assert spec.artifacts == ("*.tgz",)


def part(kind: str, folder: str) -> Part:
    return Part(kind, kind, (Do("build", ("make",)),), folder=PurePosixPath(folder), artifacts=("out/*",))


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ([part("go", ".")], ["build"]),
        ([part("go", "."), part("node", ".")], ["go: build", "node: build"]),
        ([part("go", "a"), part("go", "b")], ["a: build", "b: build"]),
        ([part("go", "a"), part("node", "a"), part("go", "b")], ["a go: build", "a node: build", "b: build"]),
    ],
)
def test_steps_of_several_parts_have_names_of_their_own(parts: list[Part], names: list[str]) -> None:
    spec = read(*parts)
    assert [step.name for step in spec.steps] == names
    assert [step.folder for step in spec.steps] == [one.folder for one in parts]


def test_artifacts_of_a_folder_are_below_it() -> None:
    assert read(part("go", "a")).artifacts == ("a/out/*",)


def test_a_spec_without_artifacts_says_what_goes_there() -> None:
    text = spec_text(Found((Part("make", "make", (Do("build", ("make",)),)),)), {})
    assert text.endswith("artifacts: [dist/*]\n")
    assert read_spec(text.encode(), Path("x")).artifacts == ()


def test_what_stands_in_a_project_cannot_add_a_step() -> None:
    evil = "x\n  - run: evil"
    spec = read(Part("k", evil, (Do("build", (evil, "y"), why=evil),), notes=(evil,)))
    assert len(spec.steps) == 1
    assert spec.steps[0].action == Run(f"{evil}\ny")
