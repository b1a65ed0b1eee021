"""Has a real master build a repository's commits in real cells: recorded, replayed, failing, stopped, and killed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

from tests.integration.faults.processes import argv, below, parents
from tests.integration.master.conftest import commit
from tests.support.builds import BuildProject
from tests.support.master import Master, running, until
from tests.support.origin import text


def kept(master: Master) -> list[str]:
    """List what builds left in the master's folder, and what is mounted there."""
    builds = master.folder / "hermit/builds"
    mounted = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(builds) in line]
    return [*mounted, *sorted(path.name for path in builds.glob("*/*"))]


def in_step(master: Master, request: int, text: str) -> int:
    """Wait until the first step of a request's last build has printed something; give the build's number."""

    def number() -> int:
        builds = master.builds(request)
        return int(builds[-1]["buildid"]) if builds and text in printed(builds[-1]["buildid"]) else 0

    def printed(build: int) -> str:
        return master.logs(build).get("step-1", "").partition("\n")[2]

    return until("the step to begin", number)


def files(folder: Path) -> dict[str, bytes]:
    """Give what artifacts are, by their paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_commit_is_recorded_as_by_hand_and_what_was_recorded_is_built_again_without_the_network(
    project: BuildProject, template: Path, tmp_path: Path
) -> None:
    project.spec(
        f"mkdir dist; fetch {project.url('/file')} | tee dist/file",
        {"run": "echo made offline; git log --format=%H > dist/commit", "name": "offline"},
        artifacts=("dist/*",),
    )
    made = commit(project)
    with running(template, tmp_path / "master") as master:
        (build,) = master.ended(master.force("record", project.root, "main", made))
        assert build.result == "success", (build, master.said)
        assert list(build.steps) == ["worker_preparation", "checkout", "prepare", "step-1", "offline", "ending"]
        assert "content\n" in build.logs["step-1"]
        assert "made offline\n" in build.logs["offline"]
        stays = Path(build.properties["hermit_kept"])
        assert (stays / "artifacts/dist/file").read_text() == "content\n"
        assert (stays / "artifacts/dist/commit").read_text() == f"{made}\n"
        assert build.properties["hermit_changed"] is True
        until("the cell to go", lambda: kept(master) == ["artifacts", "requests.jsonl", "snapshot"])

        project.run("--mode", "record")  # the same commit, by hand
        assert project.snapshot() == {path.name: path.read_bytes() for path in (stays / "snapshot/network").iterdir()}
        assert files(project.out) == files(stays / "artifacts")

        shutil.copytree(stays / "snapshot", project.root / ".hermit", dirs_exist_ok=True)
        recorded = commit(project)
        project.origin.forget()
        (again,) = master.ended(master.force("hermetic", project.root, "main", recorded))
        assert again.result == "success", (again, master.said)
        assert project.origin.asked == []
        replayed = files(Path(again.properties["hermit_kept"], "artifacts"))
        assert replayed["dist/file"] == b"content\n"
        assert replayed["dist/commit"].decode().splitlines() == [recorded, made]


def test_a_step_that_fails_fails_the_build_and_its_log_says_why(
    project: BuildProject, template: Path, tmp_path: Path
) -> None:
    project.spec("echo before; exit 3", {"run": "echo never"}, artifacts=("nothing",))
    first = commit(project)
    (project.root / ".hermit/build.yaml").write_text("image: debian-12\nsteps:\n  - runn: true\n")
    wrong = commit(project)
    project.spec({"run": "sleep 1000", "timeout": "1 s"})
    endless = commit(project)
    with running(template, tmp_path / "master") as master:
        (failed,) = master.ended(master.force("record", project.root, "main", first))
        assert failed.result == "failure", (failed, master.said)
        assert failed.steps["step-1"] == "failure"
        assert "step-2" not in failed.steps
        assert "before\nhermit: the step ended with status 3\n" in failed.logs["step-1"]
        assert not Path(failed.properties["hermit_kept"], "artifacts").exists()
        assert not Path(failed.properties["hermit_kept"], "snapshot").exists()

        (late,) = master.ended(master.force("record", project.root, "main", endless))
        assert late.result == "failure", (late, master.said)
        assert "hermit: the step ended with time: 1 s of 1 s" in late.logs["step-1"]

        (mistaken,) = master.ended(master.force("record", project.root, "main", wrong))
        assert mistaken.result == "failure", (mistaken, master.said)
        assert "build.yaml:3: " in mistaken.logs["prepare"]

        (refused,) = master.ended(master.force("hermetic", project.root, "main", first))
        assert refused.result == "failure", (refused, master.said)
        assert "no image is pinned" in refused.logs["prepare"]


def test_what_was_refused_fails_a_build_whose_steps_got_over_it(
    project: BuildProject, template: Path, tmp_path: Path
) -> None:
    project.spec(f"fetch {project.url('/other')} || true")
    made = commit(project)
    with running(template, tmp_path / "master") as master:
        (build,) = master.ended(master.force("record", project.root, "main", made))
        assert (build.result, build.steps["step-1"]) == ("failure", "success"), (build, master.said)
        assert f"refused: GET {project.url('/other')}" in build.logs["ending"]
        assert "hermit_changed" not in build.properties


def test_a_cell_that_does_not_start_is_tried_once_more_and_the_build_says_why(
    project: BuildProject, template: Path, tmp_path: Path
) -> None:
    project.spec({"run": "true"})
    made = commit(project)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "bwrap").write_text("#!/bin/sh\necho no namespaces today >&2\nexit 1\n")
    (broken / "bwrap").chmod(0o755)
    environment = {**os.environ, "PATH": f"{broken}:{os.environ['PATH']}"}
    with running(template, tmp_path / "master", environment=environment) as master:
        first, second = master.ended(master.force("record", project.root, "main", made))
        assert (first.result, second.result) == ("retry", "exception"), (first, second, master.said)
        for build in (first, second):
            assert "bubblewrap" in build.logs["prepare"]
        assert "given up" in second.logs["prepare"]
        # A proxy that was up before the cell gave up has begun its log, which stays.
        until("both to be cleared up", lambda: set(kept(master)) <= {"requests.jsonl"})


def test_a_proxy_that_dies_in_a_step_ends_it_and_the_build_is_tried_once_more(
    project: BuildProject, template: Path, tmp_path: Path
) -> None:
    project.spec(f"echo waiting; fetch {project.url('/file-slow')}; echo through")
    made = commit(project)
    held = threading.Event()
    project.origin.route("/file-slow", lambda _asked: text("late") if held.wait(60) else text("never"))
    with running(template, tmp_path / "master") as master:
        request = master.force("record", project.root, "main", made)
        in_step(master, request, "waiting")
        (proxy,) = (process for process in below(master.process.pid) if "hermit_proxy.recorder" in argv(process))
        os.kill(proxy, signal.SIGKILL)
        held.set()
        first, second = master.ended(request)
        assert (first.result, second.result) == ("retry", "success"), (first, second, master.said)
        assert "the proxy was killed by SIGKILL" in first.logs["step-1"]
        assert "through\n" in second.logs["step-1"]


def test_a_build_that_a_person_stops_is_cancelled_and_its_cell_goes(
    project: BuildProject, template: Path, tmp_path: Path
) -> None:
    project.spec({"run": "echo waiting; exec sleep 1000"})
    made = commit(project)
    with running(template, tmp_path / "master") as master:
        request = master.force("record", project.root, "main", made)
        number = in_step(master, request, "waiting")
        assert below(master.process.pid), "the cell and the proxy"
        master.stop_build(number)
        (build,) = master.ended(request)
        assert build.result == "cancelled", (build, master.said)
        until("the cell to go", lambda: not below(master.process.pid))
        until("its files to go", lambda: kept(master) == ["requests.jsonl"])


def test_a_master_that_is_killed_leaves_nothing_once_it_is_back_and_the_build_is_tried_once_more(
    project: BuildProject, template: Path, tmp_path: Path
) -> None:
    project.spec(f"echo waiting; fetch {project.url('/file-slow')}; echo through")
    made = commit(project)
    held = threading.Event()
    project.origin.route("/file-slow", lambda _asked: text("late") if held.wait(60) else text("never"))
    folder = tmp_path / "master"
    with running(template, folder) as master:
        request = master.force("record", project.root, "main", made)
        in_step(master, request, "waiting")
        processes = below(master.process.pid)
        assert processes
        master.process.kill()
        master.process.wait()
    until("its cell and its proxy to end", lambda: not processes & set(parents()))
    assert {"ca.pem", "source"} <= set(kept(master)), "a killed master clears nothing up"
    held.set()
    with running(template, folder) as master:
        first, second = master.ended(request)
        assert (first.result, second.result) == ("retry", "success"), (first, second, master.said)
        assert "through\n" in second.logs["step-1"]
        until("the rest to go", lambda: set(kept(master)) == {"requests.jsonl", "snapshot"})
