"""Runs `hermit build` and `hermit shell` as a person would: record, unplug, replay, refuse, fail, interrupt, look."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.builds import FETCH, BuildProject, build_project
from tests.support.hermit import UNPLUGGED, need_namespaces
from tests.support.repository import git

UNPLUGGED_PREFIX = tuple(UNPLUGGED)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[BuildProject]:
    need_namespaces()
    with build_project(tmp_path / "hello") as project:
        yield project


def state() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "hermit"


def left_behind() -> list[Path]:
    """List what builds left besides logs and results, and what is mounted for them."""
    runs = [path for path in (state() / "runs").glob("*/*") if path.suffix not in {".jsonl", ".json", ".log"}]
    return [*runs, *(Path(line) for line in Path("/proc/self/mounts").read_text().splitlines() if str(state()) in line)]


def below(process: int) -> dict[int, str]:
    """Give all that a process has started and what that has: numbers with the time that each began at."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1]), fields[19]
    found: dict[int, str] = {}
    wanted = {process}
    while wanted := {child for child, (parent, _) in parents.items() if parent in wanted}:
        found |= {child: parents[child][1] for child in wanted}
    return found


def alive(processes: dict[int, str]) -> list[int]:
    """Give those that still are."""
    left = []
    for number, began in processes.items():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            left += [number] if fields[19] == began and fields[0] != "Z" else []
    return left


def eventually(condition: Callable[[], object]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read stderr up to a text."""
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def test_what_was_recorded_is_built_again_unplugged_with_the_same_bytes(project: BuildProject) -> None:
    project.spec(f"mkdir dist; fetch {project.url('/file')} > dist/file; date +%s > dist/now", artifacts=("dist/file",))
    _, stderr = project.run("--mode", "record")
    assert "hermit record: done" in stderr
    assert "1 request, 1 recorded" in stderr
    assert (project.out / "dist/file").read_text() == "content\n"
    recorded = project.snapshot()
    assert list(recorded) == [f"127.0.0.2+{project.origin.port}.yaml"]
    project.origin.forget()
    _, stderr = project.run(prefix=UNPLUGGED_PREFIX)
    assert "hermit hermetic: done" in stderr
    assert "the same, byte for byte, as of the record build" in stderr
    assert project.origin.asked == []
    assert project.snapshot() == recorded
    assert left_behind() == []


def test_artifacts_that_differ_are_named(project: BuildProject) -> None:
    project.spec({"run": "date +%N > when; echo same > same"}, artifacts=("when", "same"))
    project.run()
    _, stderr = project.run()
    assert "NOT the same as of the record build" in stderr
    assert "differs: when\n" in stderr
    assert "differs: same" not in stderr


def test_the_object_of_a_build_is_all_that_stdout_has(project: BuildProject) -> None:
    project.spec({"run": "echo noise; mkdir d; echo x > d/x; chmod +x d/x", "name": "make"}, artifacts=("d/*",))
    stdout, stderr = project.run("--json")
    assert "noise" not in stdout + stderr
    found = json.loads(stdout)
    assert (found["exit_code"], found["mode"], found["command_status"]) == (0, "record", 0)
    assert [(step["name"], step["status"]) for step in found["steps"]] == [("make", 0)]
    digest = hashlib.sha256(b"x\n").hexdigest()
    assert found["artifacts"] == [{"path": "d/x", "size": 2, "sha256": digest, "executable": True}]
    assert found["identity"]["image"].startswith("sha256:")
    assert "noise" in Path(found["steps_log"]).read_text()
    stored = project.json()["artifacts"]
    assert stored == found["artifacts"]


def test_a_failed_step_ends_the_build_with_1_and_nothing_is_written(project: BuildProject) -> None:
    project.spec(
        f"fetch {project.url('/file')}", {"run": "echo because; exit 7"}, {"run": "echo never"}, artifacts=("x",)
    )
    stdout, stderr = project.run(status=1)
    assert stdout == ""
    assert "step 2 of 3 ended with status 7: echo because; exit 7" in stderr
    assert "because" in stderr
    assert "never" not in stderr
    assert project.snapshot() == {}
    assert not project.out.exists()
    log = re.search(r"output: (.*)", stderr)
    assert log is not None
    assert Path(log.group(1)).read_text().endswith("[2/3] echo because; exit 7  (no network)\nbecause\n")


def test_quiet_tells_failures_with_the_last_lines_alone(project: BuildProject) -> None:
    project.spec({"run": "echo fine"})
    assert project.run("--quiet") == ("", "")
    project.spec({"run": "seq 100; exit 1"})
    _, stderr = project.run("--quiet", status=1)
    assert "  100\n" in stderr
    assert "  60\n" not in stderr


def test_a_missing_artifact_is_told_as_a_failed_step_is_and_kept_for_a_shell(project: BuildProject) -> None:
    project.spec({"run": "echo because; echo traces > left"}, artifacts=("left", "no-such-file"))
    _, stderr = project.run(status=1)
    assert "hermit record: failed in" in stderr
    assert "  artifact `no-such-file`: the build made no such file\n" in stderr
    log = re.search(r"output: (.*)", stderr)
    assert log is not None
    assert "because" in Path(log.group(1)).read_text()
    assert "next: hermit build --mode record --keep" in stderr
    assert not project.out.exists()
    assert not (project.root / ".hermit/recorded").exists()
    _, stderr = project.run("--quiet", "--keep", status=1)
    assert "  because\n" in stderr
    assert "what the build left is kept" in stderr
    assert project.run("--", "cat", "left", command="shell")[0] == "traces\n"
    found = project.json(status=1)
    assert (found["exit_code"], found["artifacts"], found["command_status"]) == (1, None, 0)
    assert "no such file" in found["error"]
    assert Path(found["steps_log"]).exists()
    assert not list((state() / "kept").glob("*/layer"))
    assert left_behind() == []


def test_a_build_that_asks_for_nothing_is_recorded_and_refuses_everything_from_then_on(project: BuildProject) -> None:
    project.spec({"run": "echo hi > made"}, artifacts=("made",))
    _, stderr = project.run()
    assert "the build asked for nothing, and its snapshot says so" in stderr
    assert "next: commit .hermit, then: hermit build --mode hermetic" in stderr
    _, stderr = project.run("--step", "1", prefix=UNPLUGGED_PREFIX)
    assert "hermit hermetic: done" in stderr
    assert "the same, byte for byte" in stderr
    project.spec(f"fetch {project.url('/file')}")
    _, stderr = project.run(status=3)
    assert "NOT HERMETIC" in stderr
    assert project.origin.asked == []
    project.run("--mode", "record")
    assert len(project.snapshot()) == 1


def test_a_result_that_cannot_be_written_takes_nothing_from_the_report(project: BuildProject) -> None:
    project.spec({"run": "echo ready; sleep 2"})
    process = project.start()
    wait_for(process, "  ready")
    (rundir,) = (state() / "runs").iterdir()
    (rundir / "result.json").symlink_to("/dev/full")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "hermit: cannot write" in stderr
    assert "hermit record: done in" in stderr
    assert "next: commit .hermit" in stderr


def test_a_request_that_no_rule_admits_ends_it_with_3(project: BuildProject) -> None:
    project.spec(f"fetch {project.url('/other')} || true")
    _, stderr = project.run(status=3)
    assert f"refused: GET {project.url('/other')}" in stderr
    assert "next: hermit rules suggest" in stderr
    assert project.snapshot() == {}


def test_a_request_that_the_snapshot_lacks_ends_it_with_3(project: BuildProject) -> None:
    project.spec(f"fetch {project.url('/file')}")
    project.run()
    project.spec(f"fetch {project.url('/file-2')}")
    _, stderr = project.run(status=3, prefix=UNPLUGGED_PREFIX)
    assert "NOT HERMETIC" in stderr
    assert "next: hermit build --mode record" in stderr


def test_a_proxy_that_cannot_start_says_why_and_nothing_else_is_said(project: BuildProject) -> None:
    """It has waited for its orders, and is through before the cell has started."""
    project.spec(f"fetch {project.url('/file')}")
    project.run("--mode", "record")
    shutil.rmtree(Path(os.environ["XDG_DATA_HOME"], "hermit/store"))
    stderr = project.run("--mode", "hermetic", "--quiet", status=3)[1]
    assert stderr.startswith("hermit: in pool ")
    assert "nobody has observed the answer" in stderr
    assert left_behind() == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("steps: [", "build.yaml:"),
        ("image: debian-12\nsteps:\n  - run: 5\n    netwrok: proxy\n", "build.yaml:4:"),
        ("", "build.yaml"),
        (None, "hermit init"),
    ],
)
def test_a_wrong_spec_ends_it_with_2_and_leaves_nothing(project: BuildProject, spec: str | None, said: str) -> None:
    if spec is not None:
        (project.root / ".hermit/build.yaml").write_text(spec)
    assert said in project.run(status=2)[1]
    assert not list((state() / "runs").iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--step", "9"), "there is no step"),
        (("--mode", "hermetic", "--refresh"), "--refresh asks upstream"),
        (("no-such-folder",), "there is no folder"),
        (("--out", "/etc"), "holds files that no build made"),
    ],
)
def test_a_wrong_command_line_ends_it_with_2(project: BuildProject, arguments: tuple[str, ...], said: str) -> None:
    project.spec({"run": "true"})
    assert said in project.run(*arguments, status=2)[1]


def test_a_part_of_a_build_stops_there_and_says_nothing_about_the_whole(project: BuildProject) -> None:
    project.spec(f"fetch {project.url('/file')}", {"run": "exit 1", "name": "bad"}, artifacts=("*",))
    _, stderr = project.run("--step", "1")
    assert "only a whole build writes one" in stderr
    assert project.snapshot() == {}
    assert not project.out.exists()
    project.run("--step", "bad", status=1)


def test_a_step_without_network_gets_none_and_neither_does_what_an_earlier_one_left(project: BuildProject) -> None:
    ask = f"fetch {project.url('/file')}"
    leave = f"(while sleep 0.1; do {ask} > got-$(date +%s%N) 2>&1; done) > /dev/null 2>&1 &"
    project.spec(
        f'{ask}; {leave} while [ -z "$(cat got-*)" ]; do sleep 0.1; done',
        {"run": "rm -f got-*; sleep 1.5; ! grep -l content got-*", "shell": "bash"},
    )
    _, stderr = project.run(status=3)
    assert "step 2" not in stderr.partition("hermit record:")[2]
    assert "the step" in stderr


def test_what_is_not_committed_is_built_and_said(project: BuildProject) -> None:
    git(project.root, "init", "-q", "-b", "main")
    git(project.root, "remote", "add", "origin", "https://me:secret@example.org/hello.git")
    (project.root / "file").write_text("committed\n")
    (project.root / ".gitignore").write_text("*.o\n")
    project.spec({"run": 'cat file new; ls -a; git describe --dirty --always; echo "$COMMIT $BRANCH $REPO_URL"'})
    git(project.root, "add", "-A")
    git(project.root, "commit", "-q", "-m", "first")
    commit = git(project.root, "rev-parse", "HEAD")
    (project.root / "file").write_text("changed\n")
    (project.root / "new").write_text("untracked\n")
    (project.root / "junk.o").write_text("")
    _, stderr = project.run()
    assert f"hello at {commit[:12]} (main) with uncommitted changes (2)" in stderr
    assert "  changed\n  untracked\n" in stderr
    assert "junk.o" not in stderr
    assert f"  {commit[:7]}-dirty\n" in stderr
    assert f"  {commit} main https://example.org/hello.git\n" in stderr


def test_a_part_of_a_repository_is_built_where_it_lies(project: BuildProject, tmp_path: Path) -> None:
    top = tmp_path / "mono"
    top.mkdir()
    git(top, "init", "-q")
    (top / "shared").write_text("shared\n")
    project.spec({"run": "pwd; cat ../shared; git status --short; touch x"}, artifacts=("x",))
    project.root = project.root.rename(top / "part")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "first")
    _, stderr = project.run(str(project.root))
    assert "  /build/mono/part\n  shared\n  done" in stderr
    assert (project.root / ".hermit/out/x").exists()


def test_what_a_failed_step_left_is_kept_for_a_shell_until_the_next_build(project: BuildProject) -> None:
    project.spec({"run": "mkdir sub; echo traces > sub/left; false"})
    _, stderr = project.run("--keep", status=1)
    assert "next: hermit shell" in stderr
    stdout, stderr = project.run(
        "--", "sh", "-c", "cat sub/left; echo more >> sub/left; exit 5", status=5, command="shell"
    )
    assert stdout == "traces\n"
    assert "what the step" in stderr
    # What was changed stays, and so does the layer.
    assert project.run("--", "cat", "sub/left", command="shell")[0] == "traces\nmore\n"
    project.run(status=1)
    assert not list((state() / "kept").glob("*/layer"))
    assert "a fresh cell" in project.run("--", "true", command="shell")[1]


def test_what_a_shell_is_using_is_not_replaced_and_the_build_is_told_all_the_same(project: BuildProject) -> None:
    project.spec({"run": "echo traces > left; false"})
    project.run("--keep", status=1)
    (lock,) = (state() / "kept").glob("*/lock")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _, stderr = project.run("--keep", status=1)
    assert "nothing is kept: a shell or a build is using what the last build left" in stderr
    assert "step 1 of 1 ended with status 1" in stderr
    assert "hermit shell    (a shell" not in stderr
    assert left_behind() == []
    assert project.run("--", "cat", "left", command="shell")[0] == "traces\n"


def test_a_good_build_with_keep_leaves_nothing(project: BuildProject) -> None:
    project.spec({"run": "true"})
    project.run("--keep")
    assert not list((state() / "kept").glob("*/layer"))


def test_a_fresh_shell_has_image_source_and_proxy(project: BuildProject) -> None:
    project.spec(f"fetch {project.url('/file')}")
    project.run()
    (project.root / "mine").write_text("mine\n")
    command = ["--", "bash", "-c", f"cat mine; id -un; {FETCH} fetch {project.url('/file')}"]
    assert project.run(*command, command="shell", prefix=UNPLUGGED_PREFIX)[0] == "mine\nbuild\ncontent\n"
    none = project.run(str(project.root), "--network", "none", *command, command="shell", status=7)[0]
    assert none.startswith("mine\nbuild\n")
    assert "content" not in none
    assert left_behind() == []


def test_a_shell_has_a_terminal_of_its_own(project: BuildProject) -> None:
    project.spec({"run": "true"})
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hermit_cli.main", "shell"]
    process = subprocess.Popen(command, cwd=project.root, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""

    def until(text: bytes) -> None:
        nonlocal said
        while text not in said:
            assert select.select([ours], [], [], 60)[0], said
            said += os.read(ours, 1 << 16)

    until(b"$ ")
    # A key that is pressed before the command has begun goes to the shell: so the command itself says that it has.
    waiting = """sh -c 'trap "exit 3" INT; echo begun-$((1+1)); while :; do sleep 0.1; done'\r"""
    os.write(ours, waiting.encode())
    until(b"begun-2")
    said = b""
    os.write(ours, b"\x03")
    until(b"$ ")
    os.write(ours, b"echo is-$((40+2)); exit 6\r")
    until(b"is-42")
    assert process.wait(60) == 6
    os.close(ours)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_step_end_in_its_own_way(project: BuildProject, number: signal.Signals) -> None:
    project.spec(
        {"run": "trap 'echo cleaned up; exit 9' INT TERM; echo ready; while :; do sleep 0.1; done"}, {"run": "echo no"}
    )
    process = project.start()
    wait_for(process, "  ready")
    started = below(process.pid)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "  cleaned up\n" in stderr
    assert f"interrupted by {number.name} in step 1 of 2" in stderr
    assert "echo no" not in stderr
    assert left_behind() == []
    assert alive(started) == []


def test_the_second_signal_ends_everything(project: BuildProject) -> None:
    project.spec({"run": "trap 'echo not yet' INT TERM; echo ready; while :; do sleep 0.1; done"})
    process = project.start()
    wait_for(process, "  ready")
    started = below(process.pid)
    process.send_signal(signal.SIGINT)
    wait_for(process, "  not yet")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted by SIGINT" in stderr
    assert left_behind() == []
    assert alive(started) == []


def test_a_killed_hermit_leaves_no_process_and_the_next_build_clears_up(project: BuildProject) -> None:
    project.spec({"run": "echo ready; sleep 1000"})
    process = project.start()
    wait_for(process, "  ready")
    started = below(process.pid)
    assert len(started) > 3  # proxy, holder, init, step
    process.kill()
    process.wait()
    assert eventually(lambda: not alive(started))
    project.spec({"run": "true"})
    project.run()
    assert left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_what_ends_it_while_it_looks_at_the_source_ends_the_proxy_that_waits(
    project: BuildProject, mode: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks a git that does not stop talking."""
    (project.root / ".git").mkdir()
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    git.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nwhile echo; do sleep 0.05; done 2>/dev/null\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:{os.environ['PATH']}")
    project.spec({"run": "true"})
    process = project.start("--mode", mode)
    assert eventually((tmp_path / "asked").exists)
    started = below(process.pid)
    assert len(started) > 1  # git, and the proxy
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert eventually(lambda: not alive(started))
    if number == signal.SIGKILL:
        git.unlink()
        (project.root / ".git").rmdir()
        project.run()
    else:
        assert process.returncode == 1
        assert f"interrupted by {number.name}" in stderr
    assert left_behind() == []


def test_a_proxy_that_dies_ends_the_build_with_4(project: BuildProject) -> None:
    project.spec({"run": "echo ready; sleep 1000"})
    process = project.start()
    wait_for(process, "  ready")
    started = below(process.pid)
    (proxy,) = [pid for pid in started if b"hermit_proxy.recorder" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(proxy, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "the proxy was killed by SIGKILL" in stderr
    assert alive(started) == []
    assert left_behind() == []


def test_the_time_of_a_step_and_of_a_build_is_kept(project: BuildProject) -> None:
    project.spec({"run": "sleep 1000", "timeout": "1s"}, {"run": "true"})
    assert "step 1 of 2 was ended: time: 1 s of 1 s" in project.run(status=1)[1]
    project.spec({"run": "sleep 1000"}, limits={"time": "6s"})
    assert "step 1 of 1 was ended: time:" in project.run(status=1)[1]


def test_output_of_a_build_plays_no_tricks_and_floods_nothing(project: BuildProject) -> None:
    tricks = r"printf '\033]52;c;ZXZpbA==\007\033[2J\033[31mtext\033[0m\007\n'; printf 'hermit hermetic: done\n'"
    project.spec({"run": f"{tricks}; yes | head -c 3000000"}, limits={"output": "1MiB"})
    _, stderr = project.run()
    assert "\x1b" not in stderr
    assert "\x07" not in stderr
    assert "  text\n  hermit hermetic: done\n" in stderr
    assert "of output dropped" in stderr
    assert len(stderr) < 4 << 20


def test_nothing_of_the_users_own_reaches_the_build(project: BuildProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "what-only-the-user-knows")
    project.spec({"run": f"env; ls -laR /home /root /tmp {os.environ['XDG_DATA_HOME']} 2>&1; cat /proc/*/environ"})
    stdout, stderr = project.run("--json", status=1)
    log = Path(json.loads(stdout)["steps_log"]).read_text()
    assert "HERMIT=1" in log
    assert "what-only-the-user-knows" not in log + stderr
    assert "No such file or directory" in log


def test_recording_twice_changes_nothing_about_what_is_built(project: BuildProject) -> None:
    git(project.root, "init", "-q", "-b", "main")
    project.spec(f"fetch {project.url('/file')} > file; git ls-files; git status --short; ls -a .hermit")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-q", "-m", "first")
    project.run()
    first = project.json("--mode", "record")
    second = project.json(prefix=UNPLUGGED_PREFIX)
    assert first["identity"] == second["identity"]
    assert first["changes"] == second["changes"] == 0
