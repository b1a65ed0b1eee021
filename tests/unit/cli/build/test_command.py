"""Reads command lines of `hermit build`, and looks at projects."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from hermit_cli.build import command
from hermit_cli.build.order import Built, Order
from hermit_cli.interrupts import Interrupts
from hermit_cli.main import main
from hermit_cli.project import Project
from hermit_proxy.errors import HermitError, InputError, UsageError
from hermit_proxy.policy import Mode
from hermit_proxy.run.spawning import Spawned, spawn
from hermit_workers.making import Wish
from tests.support.repository import git


def read(*arguments: str) -> command.Options:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return command.read_options(parser.parse_args(["build", *arguments]))


def test_by_default_the_project_around_is_recorded_first_and_hermetic_then(tmp_path: Path) -> None:
    (tmp_path / ".hermit/network").mkdir(parents=True)
    options = read()
    assert (options.project.root, options.mode, options.given) == (tmp_path, "record", ())
    assert options.out == tmp_path / ".hermit/out"
    (tmp_path / ".hermit/network/example.org.yaml").touch()
    assert read().mode == "hermetic"
    (tmp_path / ".hermit/network/example.org.yaml").unlink()
    (tmp_path / ".hermit/recorded").touch()  # a snapshot of nothing
    assert read().mode == "hermetic"
    assert read("--refresh").mode == "record"
    assert read("--mode", "record").mode == "record"


def test_a_path_is_the_project_and_is_named_in_what_comes_next(tmp_path: Path) -> None:
    (tmp_path / "there/.hermit").mkdir(parents=True)
    options = read("there", "--out", "artifacts")
    assert (options.project.root, options.given) == (tmp_path / "there", ("there",))
    assert options.out == tmp_path / "artifacts"


@pytest.mark.parametrize(
    ("option", "cell"), [((), "sandbox"), (("--cell", "sandbox"), "sandbox"), (("--cell", "vm"), "vm")]
)
def test_a_build_is_in_a_sandbox_unless_a_vm_is_asked_for(
    tmp_path: Path, option: tuple[str, ...], cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hermit_workers.making.check_cell", lambda _kind: None)
    assert order_of(tmp_path, monkeypatch, *option).cell == cell


def test_the_settings_say_where_builds_run_that_do_not_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"], "hermit/config.yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("cell: vm\nvm: {processors: 3, memory: 300 MiB}\n")
    monkeypatch.setattr("hermit_workers.making.check_cell", lambda _kind: None)
    order = order_of(tmp_path, monkeypatch)
    assert (order.cell, order.vm.processors, order.limits.memory) == ("vm", 3, 300 << 20)
    order, folder = replace(order, proxy=replace(order.proxy, clock=(1.5,))), order.rundir / "cell"
    assert order.wish == Wish("vm", Mode.RECORD, folder, order.limits, (1.5,), order.vm, order.environment)
    assert main(["build", "--keep"]) == 2
    said = capsys.readouterr().err
    assert "`cell` in your settings asks for one" in said
    assert "add: --cell sandbox" in said


def test_a_kind_of_cell_that_nobody_knows_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".hermit").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["build", "--cell", "container"])
    assert ended.value.code == 2
    assert "invalid choice: 'container' (choose from 'sandbox', 'vm')" in capsys.readouterr().err


def test_nothing_of_a_vm_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / ".hermit").mkdir()
    assert read("--keep").keep
    with pytest.raises(UsageError, match="--keep keeps what a sandbox leaves, and a VM leaves nothing") as told:
        read("--keep", "--cell", "vm")
    assert "leave one of them out" in str(told.value.hint)


@pytest.mark.parametrize("cell", ["sandbox", "vm"])
def test_the_object_for_programs_names_the_cell(
    tmp_path: Path, cell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".hermit").mkdir()
    (tmp_path / ".hermit/build.yaml").write_text("image: debian-12\nsteps: [{run: make}]\n")
    counts = dict.fromkeys(("requests", "replayed", "recorded", "passed", "refused", "failed", "broken", "bytes"), 0)
    built = Built((), 1, counts, "SIGINT", None, "", "", None, "")
    monkeypatch.setattr("hermit_cli.build.conductor.conduct", lambda _order, _proxy, _interrupts: built)
    monkeypatch.setattr("hermit_workers.making.check_cell", lambda _kind: None)
    main(["build", "--json", "--cell", cell])
    assert json.loads(capsys.readouterr().out)["cell"] == cell


@pytest.mark.parametrize(("option", "silent"), [((), False), (("--quiet",), True), (("--json",), True)])
def test_quiet_and_json_show_no_output_of_steps(tmp_path: Path, option: tuple[str, ...], silent: bool) -> None:
    (tmp_path / ".hermit").mkdir()
    assert read(*option).silent == silent


def test_the_plan_has_the_facts_of_the_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "part/.hermit").mkdir(parents=True)
    (tmp_path / "part/.hermit/build.yaml").write_text("image: debian-12\nsteps: [{run: make}]\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    _, plan = command.look_at(Project(tmp_path / "part"))
    assert plan.facts.commit == git(tmp_path, "rev-parse", "HEAD")
    assert plan.facts.branch == "main"
    assert plan.facts.epoch == int(git(tmp_path, "log", "-1", "--format=%ct"))
    assert plan.folder == PurePosixPath("/build") / tmp_path.name / "part"


def test_a_wrong_spec_and_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="build"):
        command.look_at(Project(tmp_path))
    (tmp_path / ".hermit").mkdir()
    (tmp_path / ".hermit/build.yaml").write_text("steps: 5\n")
    with pytest.raises(InputError, match=r"build\.yaml:1"):
        command.look_at(Project(tmp_path))


@pytest.mark.parametrize(("closed", "out"), [("", ".hermit/out"), ("closed", "closed/out"), (".", "there")])
def test_where_no_artifact_could_be_written_nothing_is_built(
    tmp_path: Path, closed: str, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / ".hermit").mkdir()
    (tmp_path / ".hermit/build.yaml").write_text("image: debian-12\nsteps: [{run: make}]\nartifacts: [a]\n")
    shut = tmp_path / (closed or ".hermit")
    # Root may write everywhere, so that the system's own answer is of no use here.
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path) != shut)
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    with pytest.raises(UsageError, match="artifacts cannot be written") as told:
        command.main(parser.parse_args(["build", "--out", out]))
    assert "--out" in str(told.value.hint)


def order_of(project: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Order:
    """Give what is ordered by a command line, for a project of two steps; its proxy waits, and is gone afterwards."""
    (project / ".hermit").mkdir()
    (project / ".hermit/build.yaml").write_text(
        "image: debian-12\nsteps: [{run: make}, {run: make check, name: check}]\nartifacts: [a]\n"
    )
    orders: list[Order] = []
    proxies: list[Spawned] = []

    def conduct(order: Order, proxy: Spawned, _interrupts: Interrupts) -> None:
        orders.append(order)
        proxies.append(proxy)
        assert proxy.popen.poll() is None
        raise HermitError("that is all")

    monkeypatch.setattr("hermit_cli.build.conductor.conduct", conduct)
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    with pytest.raises(HermitError, match="that is all"):
        command.main(parser.parse_args(["build", "--quiet", *arguments]))
    assert proxies[0].popen.returncode is not None
    return orders[0]


@pytest.mark.parametrize("step", [(), ("--step", "2"), ("--step", "check")])
def test_a_build_up_to_its_last_step_is_the_whole_build(
    tmp_path: Path, step: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of(tmp_path, monkeypatch, *step)
    assert (order.out, order.plan.artifacts) == (tmp_path / ".hermit/out", ("a",))


def test_a_build_up_to_an_earlier_step_is_a_part_without_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of(tmp_path, monkeypatch, "--step", "1")
    assert (order.out, order.plan.artifacts, len(order.plan.steps)) == (None, (), 1)


def test_a_project_that_cannot_be_built_leaves_neither_process_nor_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".hermit").mkdir()
    (tmp_path / ".hermit/build.yaml").write_text("steps: 5\n")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    proxies: list[Spawned] = []

    def remembered(mode: str, rundir: Path, environ: Mapping[str, str]) -> Spawned:
        proxies.append(spawn(mode, rundir, environ))
        return proxies[0]

    monkeypatch.setattr("hermit_proxy.run.spawning.spawn", remembered)
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    with pytest.raises(InputError):
        command.main(parser.parse_args(["build"]))
    assert not list((tmp_path / "state/hermit/runs").iterdir())
    assert [proxy.popen.returncode is None for proxy in proxies] == [False]


def test_what_a_vm_needs_and_a_sandbox_does_not_is_asked_for_before_an_image_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(*_: object, **_options: object) -> None:
        raise AssertionError("an image is made")

    monkeypatch.setattr("hermit_workers.image.making.make_image", make)
    monkeypatch.setattr("hermit_workers.vm.layout.PATH", str(tmp_path))
    (tmp_path / ".hermit").mkdir()
    (tmp_path / ".hermit/build.yaml").write_text("image: debian-12\nsteps: [{run: make}]\n")
    assert main(["build", "--cell", "vm"]) == 4
    said = capsys.readouterr().err
    assert "libvirtd is not installed, and VMs need it" in said
    assert "apt-get install --no-install-recommends libvirt-daemon" in said
