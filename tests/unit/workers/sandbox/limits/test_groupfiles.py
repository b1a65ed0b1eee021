"""Finds control groups in layouts as systems have them: systemd's, containers', version 1 and mixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import groupfiles
from hermit_workers.sandbox.limits.groupfiles import Version1, Version2, hierarchies
from tests.support.groups import made_up

_WANTED = frozenset({"memory", "pids"})


def parents(proc: Path) -> list[Path]:
    (found,) = hierarchies(proc)
    assert isinstance(found, Version2)
    return list(found.parents(_WANTED))


def test_beside_a_service_of_systemd_where_it_has_no_groups_of_its_own(tmp_path: Path) -> None:
    enabled = {"": "cpu memory pids", "user.slice": "memory pids", "user.slice/session.scope": ""}
    proc, top = made_up(tmp_path, "/user.slice/session.scope", enabled)
    assert parents(proc) == [top / "user.slice", top]


def test_nothing_is_made_beside_a_group_whose_memory_is_limited(tmp_path: Path) -> None:
    enabled = {"": "memory pids", "a.slice": "memory pids", "a.slice/b.service": ""}
    proc, top = made_up(tmp_path, "/a.slice/b.service", enabled)
    (top / "a.slice/b.service/memory.max").write_text("1000000\n")
    assert parents(proc) == []
    (top / "a.slice/b.service/memory.max").write_text("max\n")
    (top / "a.slice/memory.max").write_text("1000000\n")
    assert parents(proc) == [top / "a.slice"]


def test_a_group_that_is_delegated_is_emptied_into_a_leaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, top = made_up(tmp_path, "/a.service", {"": "cpu", "a.service": ""})
    own = top / "a.service"
    (own / "cgroup.procs").write_text("17\n")
    monkeypatch.setattr(groupfiles, "_delegated", lambda folder: folder == own)
    tried = []

    def enable(folder: Path, _: frozenset[str]) -> bool:
        tried.append((folder, (folder / "hermit-main/cgroup.procs").exists()))
        return tried[-1] == (own, True)

    monkeypatch.setattr(groupfiles, "_enable", enable)
    assert parents(proc) == [own]
    assert (own / "hermit-main/cgroup.procs").read_text() == "17"
    assert tried[:2] == [(own, False), (own, True)]


def test_a_group_that_is_not_delegated_stays_as_it_is(tmp_path: Path) -> None:
    proc, top = made_up(tmp_path, "/a.service", {"": "cpu", "a.service": ""})
    (top / "a.service/cgroup.procs").write_text("17\n")
    (top / "cgroup.subtree_control").unlink()
    (top / "cgroup.subtree_control").symlink_to("/nonexistent/x")
    assert parents(proc) == []
    assert not (top / "a.service/hermit-main").exists()


def test_controllers_are_enabled_where_nothing_forbids_it(tmp_path: Path) -> None:
    proc, top = made_up(tmp_path, "/", {"": "cpu"})
    assert parents(proc) == [top]
    assert (top / "cgroup.subtree_control").read_text() == "+memory +pids"


def mounts(folder: Path, lines: list[tuple[str, str, str]], own: str) -> Path:
    """Give a /proc with mounts (root, folder below ours, kind and options), and the groups of this process."""
    proc = folder / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(own)
    text = "".join(f"30 20 0:26 {root} {folder}/{where} rw - {end}\n" for root, where, end in lines)
    (proc / "self/mountinfo").write_text(text)
    return proc


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    for name in ("memory/x", "pids", "cpu"):
        (tmp_path / name).mkdir(parents=True)
    proc = mounts(
        tmp_path,
        [("/", where, f"cgroup cgroup rw,{where}") for where in ("memory", "pids", "cpu")],
        "3:memory:/x\n2:pids:/\n1:cpu:/\n",
    )
    assert hierarchies(proc) == [
        Version1(tmp_path / "memory", tmp_path / "memory/x", ("memory",)),
        Version1(tmp_path / "pids", tmp_path / "pids", ("pids",)),
    ]


def test_a_container_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    (tmp_path / "memory/below").mkdir(parents=True)
    proc = mounts(tmp_path, [("/docker/1", "memory", "cgroup cgroup rw,memory")], "3:memory:/docker/1/below\n")
    assert hierarchies(proc) == [Version1(tmp_path / "memory", tmp_path / "memory/below", ("memory",))]


@pytest.mark.parametrize("own", ["/other", "/docker/12", "/docker/1/../pids"])
def test_a_group_outside_of_what_is_mounted_is_not_used(tmp_path: Path, own: str) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "pids").mkdir()
    proc = mounts(tmp_path, [("/docker/1", "memory", "cgroup cgroup rw,memory")], f"3:memory:{own}\n")
    assert hierarchies(proc) == []


def test_a_mount_point_with_a_space_is_found(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    proc = mounts(tmp_path, [("/", "a\\040b", "cgroup cgroup rw,pids")], "3:pids:/\n")
    assert hierarchies(proc) == [Version1(tmp_path / "a b", tmp_path / "a b", ("pids",))]


def test_memory_with_swap_is_limited_after_memory_without() -> None:
    values = list(Version1(Path("/x"), Path("/x"), ("memory",)).values(Limits(memory=5), ["memory"]))
    assert [file for file, _, _ in values][:2] == ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    assert [needed for _, _, needed in values] == [True, False, False]
