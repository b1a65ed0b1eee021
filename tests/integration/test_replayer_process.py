"""Shows how a replayer process starts, obeys, fails and ends: without upstream, leftovers or a line lost."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, HermitError, NotHermeticError, UsageError
from hermit_proxy.policy import Mode
from hermit_proxy.run.events import Outcome
from hermit_proxy.run.process import ProxyDiedError, ProxyProcess, ProxySettings
from tests.support.replaying import HOST, OPEN_RULES, Project, Replaying, ask

URL = f"https://{HOST}"
_PATIENCE = 30
_UPSTREAM = ("mitmproxy", "twisted", "OpenSSL", "http.client", "urllib.request", "urllib3", "requests", "socks")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.add(f"{URL}/a", b"recorded")
    project.add(f"{URL}/big", bytes(1 << 20))
    return project


def test_no_code_that_could_go_upstream_is_in_the_process() -> None:
    """A child that imports all that the replayer does lists its modules; the recorder's list is the control."""
    code = "import sys; import {0}; print('\\n'.join(sys.modules))"
    listed = [
        subprocess.run(
            [sys.executable, "-I", "-c", code.format(name)], check=True, capture_output=True, text=True
        ).stdout.split()
        for name in ("hermit_proxy.replayer.service", "mitmproxy.http")
    ]
    assert "hermit_proxy.replayer.front" in listed[0]
    assert not [name for name in listed[0] if name in _UPSTREAM]
    assert "mitmproxy" in listed[1]
    assert not [name for name in listed[0] if name.startswith("hermit_proxy.recorder.addons")]


def traced(folder: Path, *command: str) -> tuple[list[str], str]:
    """Wrap a command in strace; give the command and the file of its connects."""
    out = str(folder / "strace")
    return ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", out, *command], out


def test_connect_is_never_called(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 9))"
    command, out = traced(tmp_path, sys.executable, "-c", probe)
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("strace is not permitted here")
    assert "connect(" in Path(out).read_text()  # The trace does see one.
    real = subprocess.Popen

    def spawn(arguments: list[str], **keywords: object) -> subprocess.Popen[bytes]:
        command, _ = traced(tmp_path, *arguments)
        return real(command, **keywords)  # type: ignore[call-overload,no-any-return]  # as process.py calls it

    monkeypatch.setattr("hermit_proxy.run.spawning.subprocess.Popen", spawn)
    with Replaying(project) as replaying:
        assert replaying.get("/a").body == b"recorded"
        assert replaying.get("/nowhere").status == 403
        replaying.raw(b"CONNECT 192.0.2.1:1 HTTP/1.1\r\nHost: 192.0.2.1:1\r\n\r\nx", end=True)
        replaying.finish()
    calls = Path(out).read_text()
    assert "sendmsg(" in calls  # The trace saw the control channel.
    assert "connect(" not in calls


def test_a_connection_that_python_would_open_raises(tmp_path: Path) -> None:
    code = (
        "import socket, sys; from hermit_proxy.replayer.hardening import forbid_connections;"
        "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()).close();"
        "forbid_connections(sys.argv[1]);"
        "socket.create_connection(s.getsockname())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.stderr.strip().endswith("PermissionError: a hermetic run opens no connection")


def test_a_store_on_the_network_may_be_reached_all_the_same() -> None:
    code = (
        "import socket; from hermit_proxy.replayer.hardening import forbid_connections;"
        "s = socket.create_server(('127.0.0.1', 0)); forbid_connections(f'redis://127.0.0.1:{s.getsockname()[1]}/0');"
        "socket.create_connection(s.getsockname()).close(); print('connected')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout == "connected\n"


def test_nothing_of_the_process_can_be_dumped_or_read(project: Project) -> None:
    with Replaying(project) as replaying:
        replaying.get("/a")
        limits = Path(f"/proc/{replaying.proxy.pid}/limits").read_text()
        assert "Max core file size        0                    0" in limits
        # The files of a process that is not dumpable belong to root, whoever started it.
        assert os.stat(f"/proc/{replaying.proxy.pid}/mem").st_uid == 0
        assert not (replaying.rundir / "ca-key.pem").exists()
        assert (replaying.rundir / "settings.json").stat().st_mode & 0o077 == 0
        environment = Path(f"/proc/{replaying.proxy.pid}/environ")
        if os.geteuid() == 0:
            assert b"PYTEST" not in environment.read_bytes()


def test_a_snapshot_that_cannot_be_replayed_is_told_before_anything_runs(project: Project) -> None:
    entry = project.add(f"{URL}/lost", b"lost body")
    project.add(f"{URL}/claimed", b"claimed", observe=False)
    project.body_file(entry.sha256 or "").unlink()
    with pytest.raises(NotHermeticError) as failed, Replaying(project):
        pass
    assert f"nobody has observed the answer that the snapshot claims for 1 request:\n  GET {URL}/claimed" in str(
        failed.value
    )
    assert f"the store lacks the body of 1 request:\n  GET {URL}/lost" in str(failed.value)
    assert (failed.value.hint or "").startswith("hermit store fill ")
    assert failed.value.exit_code is ExitCode.NOT_HERMETIC


def test_an_edited_entry_is_named(project: Project) -> None:
    project.entries[0] = type(project.entries[0])("GET", f"{URL}/a", 200, sha256="ab" * 32, size=8)
    with pytest.raises(NotHermeticError, match=f"GET {URL}/a"), Replaying(project):
        pass


def test_rules_that_are_wrong_are_told_with_their_line(project: Project) -> None:
    project.rules = "rules:\n  - {pattern: x/.*, action: ALOW}\n"
    with pytest.raises(UsageError, match=r"rules\.yaml:2: .*ALLOW"), Replaying(project):
        pass


def test_a_run_without_a_certificate_ends_with_an_error(project: Project, tmp_path: Path) -> None:
    project.settings().write(tmp_path)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [
        sys.executable,
        "-m",
        "hermit_proxy.replayer",
        "--control-fd",
        str(theirs.fileno()),
        "--run",
        str(tmp_path),
    ]
    done = subprocess.run(command, check=False, pass_fds=[theirs.fileno()], timeout=_PATIENCE)
    event = json.loads(ours.recv(65536))
    assert (done.returncode, event["event"], event["exit_code"]) == (4, "error", 4)
    assert "authority" in event["message"]


@pytest.mark.parametrize("arguments", [[], ["--control-fd", "x", "--run", "y"], ["--run", "y", "--control-fd", "3"]])
def test_a_command_line_that_is_wrong_is_refused(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hermit_proxy.replayer", *arguments], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.startswith("usage: ")) == (2, True)


def test_a_body_that_was_changed_in_the_store_is_not_served_and_named(project: Project) -> None:
    small, big = project.entries
    with Replaying(project) as replaying:
        for entry in (small, big):
            file = project.body_file(entry.sha256 or "")
            octets = bytearray(file.read_bytes())
            octets[3] ^= 1
            file.chmod(0o600)
            file.write_bytes(octets)
            got = replaying.get(entry.url.removeprefix(URL))
            assert (got.status, got.headers["x-hermit"]) == (502, "failed")
            assert (entry.sha256 or "").encode() in got.body
        lines = replaying.log
        counts = replaying.finish()
    assert [(line.outcome, line.entry_id) for line in lines] == [(Outcome.FAILED, e.id) for e in (small, big)]
    assert all("corrupt" in (line.reason or "") and line.hint == "hermit store fill" for line in lines)
    assert counts.failed == 2


def test_a_body_that_is_gone_is_named(project: Project) -> None:
    with Replaying(project) as replaying:
        project.body_file(project.entries[1].sha256 or "").unlink()
        got = replaying.get("/big")
        assert (got.status, b"has no body sha256:" in got.body) == (502, True)
        assert replaying.get("/a").status == 200


def test_steps_take_the_network_away_and_give_it_back(project: Project) -> None:
    with Replaying(project) as replaying:
        proxy = replaying.proxy
        with replaying.tls() as sock:
            assert ask(sock, "/a").status == 200
            replaying.run(proxy.begin_step("compile", "none"))
            refused = ask(sock, "/a")
            assert (refused.status, b"this step has no network" in refused.body) == (403, True)
            assert b"`network: proxy` for the step 'compile'" in refused.body
            replaying.run(proxy.end_step())
            assert ask(sock, "/a").status == 403  # Nothing is answered between steps.
            replaying.run(proxy.begin_step("install", "proxy"))
            assert ask(sock, "/a").status == 200
        with replaying.connect() as sock:
            replaying.run(proxy.begin_step("pack", "none"))
            assert ask(sock, "http://hermit.internal/health", host="hermit.internal").status == 200
        assert [line.step for line in replaying.log] == [None, "compile", None, "install", "pack"]


def test_finishing_gives_the_counts_of_the_log_and_ends_the_process(project: Project) -> None:
    with Replaying(project) as replaying:
        replaying.get("/a")
        replaying.get("/nowhere")
        counts = replaying.finish()
        assert replaying.run(replaying.proxy.wait_closed()) == 0
        with pytest.raises(ConnectionRefusedError):
            replaying.connect()
    assert (counts.requests, counts.replayed, counts.refused, counts.broken, counts.failed) == (2, 1, 1, 1, 0)
    assert counts.bytes == sum(line.size for line in replaying.log)
    assert counts.last_refusal == f"GET {URL}/nowhere"


def test_counts_are_reported_while_it_works_and_not_for_each_request(project: Project) -> None:
    with Replaying(project) as replaying:
        count = 0
        while not unasked(replaying) and count < 10_000:
            replaying.get("/a")
            count += 1
        assert unasked(replaying)
        counted = replaying.finish()
    assert counted.requests == count
    assert len(unasked(replaying)) < max(count, 3)
    assert replaying.events[0] == {"event": "ready"}
    assert replaying.events[-1]["event"] == "finished"


def unasked(replaying: Replaying) -> list[dict[str, object]]:
    """Give the reports that nobody asked for."""
    return [event for event in replaying.events if event["event"] == "status" and "asked" not in event]


def test_answers_under_way_are_ended_before_the_process_is(project: Project) -> None:
    project.add(f"{URL}/huge", bytes(24 << 20))
    with Replaying(project) as replaying:
        with replaying.tls() as sock:
            sock.sendall(f"GET /huge HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            first = sock.recv(16384)
            finishing = asyncio.run_coroutine_threadsafe(replaying.proxy.finish(), replaying._loop._loop)
            got = len(first)
            while piece := sock.recv(1 << 20):
                got += len(piece)
        assert got > 24 << 20
        assert finishing.result(_PATIENCE).bytes == 24 << 20


def test_a_killed_proxy_is_noticed_at_once_and_said(project: Project) -> None:
    with Replaying(project) as replaying:
        replaying.get("/a")
        os.kill(replaying.proxy.pid, signal.SIGKILL)
        assert replaying.run(replaying.proxy.wait_closed()) == -signal.SIGKILL
        with pytest.raises(ProxyDiedError, match="killed by SIGKILL"):
            replaying.status()
        with pytest.raises(ProxyDiedError):
            replaying.run(replaying.proxy.begin_step("x", "none"))
        assert replaying.events[-1] == {"event": "died", "status": -9}
        assert len(replaying.log) == 1
        replaying.run(replaying.proxy.stop())
        replaying.run(replaying.proxy.stop())


def test_a_question_that_waits_when_the_proxy_dies_is_answered_with_that(project: Project) -> None:
    async def scenario() -> None:
        proxy = await ProxyProcess.start(Mode.HERMETIC, project.settings(), project.folder / "run")
        await proxy.ready()
        os.kill(proxy.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(proxy.status())
        await asyncio.sleep(0)
        os.kill(proxy.pid, signal.SIGKILL)
        with pytest.raises(ProxyDiedError):
            await waiting
        await proxy.stop()

    asyncio.run(scenario())


def test_a_proxy_that_does_not_react_is_stopped_by_force(project: Project) -> None:
    async def scenario() -> int:
        proxy = await ProxyProcess.start(Mode.HERMETIC, project.settings(), project.folder / "run")
        await proxy.ready()
        os.kill(proxy.pid, signal.SIGSTOP)
        await asyncio.to_thread(wait_until_stopped, proxy.pid)
        await proxy.stop()
        return await proxy.wait_closed()

    assert asyncio.run(scenario()) == -signal.SIGKILL


def wait_until_stopped(pid: int) -> None:
    end = time.monotonic() + _PATIENCE
    while "State:\tT" not in Path(f"/proc/{pid}/status").read_text() and time.monotonic() < end:
        time.sleep(0.01)


_PARENT = """
import asyncio, pathlib, sys
from hermit_proxy.policy import Mode
from hermit_proxy.run.process import ProxyProcess, ProxySettings
rules, network, store, rundir, until = sys.argv[1:]
async def main():
    settings = ProxySettings(pathlib.Path(rules), pathlib.Path(network), store, "tests")
    proxy = await ProxyProcess.start(Mode.HERMETIC, settings, pathlib.Path(rundir))
    if until == "ready":
        await proxy.ready()
    print(proxy.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("until", ["spawned", "ready"])
def test_no_process_stays_when_the_parent_is_killed(project: Project, tmp_path: Path, until: str) -> None:
    made = project.settings()
    paths = [str(path) for path in (made.rules, made.snapshot, made.store, tmp_path / "run")]
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, *paths, until], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    proxy = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait(_PATIENCE)
    parent.stdout.close()
    gone = asyncio.run(_readable(proxy))
    os.close(proxy)
    assert gone


async def _readable(fd: int) -> bool:
    """Wait until a pidfd says that its process is gone."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await asyncio.wait_for(event.wait(), _PATIENCE)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
    return True


def test_a_log_that_cannot_be_written_ends_the_run(project: Project) -> None:
    """A file size limit stands for the full disk: the kernel refuses in the same call."""
    with Replaying(project) as replaying:
        replaying.get("/a")
        log = replaying.rundir / "requests.jsonl"
        written = log.stat().st_size
        resource.prlimit(replaying.proxy.pid, resource.RLIMIT_FSIZE, (written + 100, written + 100))
        with pytest.raises(OSError, match=r"EOF|reset|closed"):  # Nothing is answered that is not logged.
            replaying.get("/a")
        assert replaying.run(replaying.proxy.wait_closed()) == 4
        with pytest.raises(HermitError, match=r"log of requests .* cannot be written"):
            replaying.status()
        assert log.stat().st_size == written


def test_the_next_run_works_after_a_killed_one(project: Project) -> None:
    with Replaying(project, "first") as replaying:
        os.kill(replaying.proxy.pid, signal.SIGKILL)
        replaying.run(replaying.proxy.wait_closed())
    with Replaying(project, "second") as replaying:
        assert replaying.get("/a").body == b"recorded"


def test_memory_stays_bounded_whatever_the_size_of_a_body(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.add(f"{URL}/huge", bytes(300 << 20))
    with Replaying(project) as replaying:
        assert len(replaying.get("/huge").body) == 300 << 20
        status = Path(f"/proc/{replaying.proxy.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    assert peak < 120 << 20


def test_settings_that_are_there_already_are_not_replaced(project: Project) -> None:
    project.folder.joinpath("run").mkdir()
    made = project.settings()
    made.write(project.folder / "run")
    with pytest.raises(FileExistsError):
        asyncio.run(ProxyProcess.start(Mode.HERMETIC, made, project.folder / "run"))


def test_rules_keep_refusing_in_hermetic_mode(project: Project) -> None:
    project.rules = 'rules:\n  - {pattern: "files.example.org/big", action: REJECT}\n' + OPEN_RULES.partition("\n")[2]
    with Replaying(project) as replaying:
        assert (replaying.get("/a").status, replaying.get("/big").status) == (200, 403)
        assert replaying.finish().broken == 0


def test_a_missing_rules_file_refuses_everything_and_says_so(project: Project) -> None:
    async def scenario() -> None:
        made = project.settings()
        nowhere = project.folder / "nowhere.yaml"
        proxy = await ProxyProcess.start(
            Mode.HERMETIC, ProxySettings(nowhere, made.snapshot, made.store, made.pool), project.folder / "run"
        )
        await proxy.ready()
        with socket.create_server(("127.0.0.1", 0)) as sock:
            proxy.listen(sock)
            await proxy.status()
            reader, writer = await asyncio.open_connection(*sock.getsockname())
        writer.write(f"GET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        assert b"nowhere.yaml does not exist" in await reader.read()
        writer.close()
        await proxy.stop()

    asyncio.run(scenario())
