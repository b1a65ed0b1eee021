"""What a project says of its build: a spec, a script, or an error that leads on."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, UsageError
from hermit_steps.finding import find_spec
from hermit_steps.spec import Run, Spec, Step

SPEC = "image: debian-12\nsteps: [{run: make}]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project/.hermit").mkdir(parents=True)
    return tmp_path / "project"


def refused(root: Path) -> UsageError:
    with pytest.raises(UsageError) as raised:
        find_spec(root)
    assert raised.value.exit_code is ExitCode.USAGE
    return raised.value


def script(root: Path, mode: int = 0o755) -> Path:
    path = root / ".hermit/build"
    path.write_text("#!/bin/sh\nmake\n")
    path.chmod(mode)
    return path


def test_a_spec_is_read_and_wins_over_a_script(root: Path) -> None:
    (root / ".hermit/build.yaml").write_text(SPEC)
    script(root)
    assert find_spec(root) == Spec("debian-12", (Step("step-1", Run("make"), "none"),))


def test_an_executable_script_is_one_step_with_network(root: Path) -> None:
    script(root)
    assert find_spec(root) == Spec("debian-12", (Step(".hermit/build", Run("./.hermit/build"), "proxy"),))


def test_a_script_that_may_not_be_executed_is_an_error_with_the_command_that_helps(root: Path) -> None:
    path = script(root, 0o644)
    error = refused(root)
    assert str(error) == f"{path}: is there, but may not be executed"
    assert error.hint is not None
    assert error.hint.startswith(f"chmod +x {path} ")


def test_a_folder_is_no_script_and_no_spec(root: Path) -> None:
    (root / ".hermit/build").mkdir()
    assert "expected a script" in str(refused(root))
    (root / ".hermit/build.yaml").mkdir()
    assert "Is a directory" in str(refused(root))


@pytest.mark.parametrize("name", ["build.yaml", "build"])
def test_a_link_out_of_the_project_is_refused(root: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    target.write_text(SPEC)
    target.chmod(0o755)
    (root / ".hermit" / name).symlink_to("../../elsewhere")
    assert str(refused(root)) == (
        f"{root}/.hermit/{name}: is a link out of the project; what says how it is built lies within"
    )


def test_a_hermit_folder_that_is_a_link_out_of_the_project_is_refused(root: Path, tmp_path: Path) -> None:
    (root / ".hermit").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/build.yaml").write_text(SPEC)
    (root / ".hermit").symlink_to("../elsewhere")
    assert "is a link out of the project" in str(refused(root))


def test_a_link_within_the_project_is_followed_also_where_the_project_is_reached_by_one(
    root: Path, tmp_path: Path
) -> None:
    (root / "ci.yaml").write_text(SPEC)
    (root / ".hermit/build.yaml").symlink_to("../ci.yaml")
    (tmp_path / "alias").symlink_to("project")
    assert find_spec(tmp_path / "alias").steps


@pytest.mark.parametrize(("target", "told"), [("nowhere", "No such file"), ("build.yaml", "links in a circle")])
def test_a_link_that_leads_nowhere_is_an_error_and_not_no_spec(root: Path, target: str, told: str) -> None:
    (root / ".hermit/build.yaml").symlink_to(target)
    script(root)
    assert told in str(refused(root))


@pytest.mark.parametrize(
    ("name", "told", "hint"),
    [
        ("Dockerfile", "container builds come with a later version", "hermit init"),
        ("Containerfile", "container builds come with a later version", "hermit init"),
        (".hermit/build.yml", "a spec is read from .hermit/build.yaml", "rename it to"),
        (".hermit.yaml", "a spec is read from .hermit/build.yaml", "rename it to"),
        ("README", "nothing says how this is built", "hermit init"),
    ],
)
def test_a_project_without_a_spec_is_told_what_to_do(root: Path, name: str, told: str, hint: str) -> None:
    (root / name).write_text("")
    error = refused(root)
    assert told in str(error)
    assert error.hint is not None
    assert error.hint.startswith(hint)
