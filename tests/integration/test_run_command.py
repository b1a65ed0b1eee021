"""Runs `hermit run` as a person would, against a server on loopback: record, unplug, replay, refuse."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.origin import Origin

# Not the cell's own loopback to its tools, and so a matter for the proxy.
ADDRESS = "127.0.0.2"


class Project:
    """Is a project of a test with one server that its rules admit."""

    def __init__(self, root: Path, origin: Origin) -> None:
        self.root = root
        self.origin = origin
        self.network = root / ".hermit" / "network"
        self.network.parent.mkdir()
        self.rules("ALLOW")
        config = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit" / "config.yaml"
        config.parent.mkdir()
        config.write_text(f"upstream: {{allow: ['{ADDRESS}:{origin.port}']}}\n")

    def rules(self, action: str, path: str = ".*") -> None:
        """Write one rule for the server."""
        text = f"rules:\n  - pattern: '{ADDRESS}:{self.origin.port}/{path}'\n    action: {action}\n"
        (self.root / ".hermit" / "rules.yaml").write_text(text)

    def url(self, path: str) -> str:
        """Give the URL of a path."""
        return f"http://{ADDRESS}:{self.origin.port}{path}"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `hermit run` with these arguments."""
        command = [sys.executable, "-m", "hermit_cli.main", "run", *arguments]
        return subprocess.Popen(
            command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )

    def run(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """Run it to the end and give stdout and stderr."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == status, stderr
        return stdout, stderr

    def json(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """Run it with --json and give the object."""
        found: dict[str, Any] = json.loads(self.run("--json", *arguments, status=status)[0])
        return found

    def snapshot(self) -> dict[str, bytes]:
        """Give the snapshot's files."""
        return {path.name: path.read_bytes() for path in self.network.glob("*")} if self.network.exists() else {}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Origin(address=ADDRESS) as origin:
        origin.route("/file", "content\n")
        yield Project(tmp_path, origin)


def runs_left() -> list[Path]:
    """List what runs left besides logs and results."""
    runs = Path(os.environ["XDG_STATE_HOME"]) / "hermit" / "runs"
    return [path for path in runs.glob("*/*") if path.name not in {"requests.jsonl", "result.json"}]


def eventually(condition: Callable[[], object]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


def processes_with(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "cmdline").read_text() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_recording_is_replayed_without_the_server(project: Project) -> None:
    curl = ["--", "curl", "-sSf", project.url("/file")]
    stdout, stderr = project.run(*curl)
    assert stdout == "content\n"
    assert "1 recorded" in stderr
    assert "the snapshot has changed" in stderr
    recorded = project.snapshot()
    assert list(recorded) == [f"{ADDRESS}+{project.origin.port}.yaml"]
    project.origin.forget()
    stdout, stderr = project.run(*curl)
    assert stdout == "content\n"
    assert "hermit hermetic: done" in stderr
    assert project.origin.asked == []
    assert project.snapshot() == recorded
    assert runs_left() == []


@pytest.mark.parametrize(("action", "asked_again"), [("ALLOW", 0), ("REFRESH", 3)])
def test_recording_twice_changes_no_byte(project: Project, action: str, asked_again: int) -> None:
    project.rules(action)
    files = [project.url(path) for path in three_files(project)]
    project.run("--mode", "record", "--", "curl", "-sSf", *files)
    before = project.snapshot(), (project.root / ".hermit" / "recorded").read_bytes()
    project.origin.forget()
    assert "the snapshot is unchanged" in project.run("--mode", "record", "--", "curl", "-sSf", *files)[1]
    assert len(project.origin.asked) == asked_again
    assert (project.snapshot(), (project.root / ".hermit" / "recorded").read_bytes()) == before


def test_a_refresh_asks_again_and_shows_what_changed_under_allow(project: Project) -> None:
    curl = ["--", "curl", "-sSf", project.url("/file")]
    project.run(*curl)
    project.origin.forget()
    assert "(--refresh asks again)" in project.run("--mode", "record", *curl)[1]
    project.origin.route("/file", "other content\n")
    stdout, stderr = project.run("--refresh", *curl, project.url("/file"))
    assert stdout == "other content\n" * 2
    assert "the snapshot has changed" in stderr
    assert len(project.origin.asked) == 1


def test_a_command_that_asks_for_nothing_empties_no_snapshot_and_makes_none(project: Project, tmp_path: Path) -> None:
    project.run("--", "curl", "-sSf", project.url("/file"))
    before = project.snapshot()
    assert "the snapshot stays as it is" in project.run("--mode", "record", "--", "true")[1]
    assert project.snapshot() == before
    elsewhere = tmp_path / "new" / "network"
    assert "no snapshot was written" in project.run("--snapshot", str(elsewhere), "--", "true")[1]
    assert not elsewhere.parent.exists()


def test_the_next_command_names_the_snapshot_that_this_one_named(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other" / "network"
    stderr = project.run("--snapshot", str(other), "--", "curl", "-sSf", project.url("/file"))[1]
    assert f"  next: hermit run --mode hermetic --snapshot {other} -- curl" in stderr
    assert (other.parent / "recorded").exists()
    assert not (project.root / ".hermit" / "recorded").exists()


@pytest.mark.parametrize(("command", "status"), [("true", 0), ("false", 1)])
@pytest.mark.parametrize("option", ["--json", "--keep-caches"])
def test_a_reader_who_has_gone_changes_nothing(project: Project, command: str, status: int, option: str) -> None:
    read, write = os.pipe()
    os.close(read)
    hermit = [sys.executable, "-m", "hermit_cli.main", "run", option, "--", command]
    out, err = (write, subprocess.PIPE) if option == "--json" else (subprocess.PIPE, write)
    done = subprocess.run(hermit, cwd=project.root, text=True, check=False, stdout=out, stderr=err)
    os.close(write)
    assert (done.returncode, "BrokenPipe" in (done.stderr or "")) == (status, False)


def test_an_upstream_that_changes_one_body_makes_a_difference_of_exactly_that(project: Project) -> None:
    project.rules("REFRESH")
    files = [project.url(path) for path in three_files(project)]
    record = ["--mode", "record", "--", "curl", "-sSf", *files]
    project.run(*record)
    before = project.snapshot()
    old = project.root / "old"
    shutil.copytree(project.network, old)
    project.origin.route("/two", "another body\n")
    said = project.run(*record)[1]
    assert "CHANGED under an unchanged URL (1)" in said
    told = subprocess.run(
        [sys.executable, "-m", "hermit_cli.main", "snapshot", "diff", "--json", str(old), str(project.network)],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    difference = json.loads(told.stdout)
    (change,) = difference.pop("changed")
    assert (change["old"]["url"], change["new"]["url"]) == (files[1], files[1])
    assert change["old"]["sha256"] == hashlib.sha256(b"/two\n").hexdigest()
    assert change["new"]["sha256"] == hashlib.sha256(b"another body\n").hexdigest()
    assert not [name for name, found in difference.items() if isinstance(found, list) and found]
    (name,) = before
    lines = zip(before[name].splitlines(), project.snapshot()[name].splitlines(), strict=True)
    # The ETag is among the headers.
    assert [was.split(b":")[0].strip() for was, now in lines if was != now] == [b"sha256", b"size", b"headers"]


def three_files(project: Project) -> list[str]:
    paths = ["/one", "/two", "/three"]
    for path in paths:
        project.origin.route(path, f"{path}\n")
    return paths


def test_what_the_snapshot_lacks_is_refused_and_named(project: Project) -> None:
    project.run("--", "curl", "-sSf", project.url("/file"))
    report = project.json("--", "curl", "-s", project.url("/other"), status=3)
    assert report["mode"] == "hermetic"
    assert report["command_status"] == 0
    assert [(t["url"], t["broken"]) for t in report["unanswered"]] == [(project.url("/other"), True)]
    assert report["next"].startswith("hermit run --mode record")


def test_without_a_rule_nothing_is_fetched_and_nothing_written(project: Project) -> None:
    project.rules("ALLOW", "elsewhere/.*")
    _, stderr = project.run("--", "curl", "-s", project.url("/file"), status=3)
    assert "no rule admits it" in stderr
    assert "next: hermit rules suggest" in stderr
    assert project.origin.asked == []
    assert project.snapshot() == {}


def test_an_expected_refusal_is_no_failure(project: Project) -> None:
    project.rules("REJECT")
    report = project.json("--mode", "record", "--", "curl", "-s", project.url("/file"))
    assert (report["exit_code"], report["refused"], report["broken"]) == (0, 1, 0)


def test_a_failed_command_writes_no_snapshot(project: Project) -> None:
    _, stderr = project.run("--", "sh", "-c", f"curl -sSf {project.url('/file')}; exit 9", status=1)
    assert "the command ended with status 9" in stderr
    assert project.snapshot() == {}


def test_unused_entries_are_dropped_unless_they_are_kept(project: Project) -> None:
    project.origin.route("/two", "2\n")
    project.run("--", "curl", "-sSf", project.url("/file"))
    only_two = ["--mode", "record", "--", "curl", "-sSf", project.url("/two")]
    report = project.json("--keep-unused", *only_two)
    assert (report["snapshot"]["changed"], report["snapshot"]["pruned"]) == (True, 0)
    assert project.json(*only_two)["snapshot"]["pruned"] == 1


def test_the_commands_stdout_does_not_mix_with_the_object(project: Project) -> None:
    stdout, stderr = project.run("--json", "--", "echo", "mine")
    assert json.loads(stdout)["command"] == ["echo", "mine"]
    assert stderr == "mine\n"


def test_quiet_says_nothing_when_all_is_well(project: Project) -> None:
    assert project.run("--quiet", "--", "curl", "-sSf", project.url("/file")) == ("content\n", "")


def test_the_log_goes_where_it_is_wanted(project: Project, tmp_path: Path) -> None:
    project.run("--log", "log.jsonl", "--", "curl", "-sSf", project.url("/file"))
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["outcome"] == "recorded"


def test_other_files_than_the_projects_are_taken_where_they_are_named(project: Project, tmp_path: Path) -> None:
    (tmp_path / ".hermit/rules.yaml").rename(tmp_path / "other.yaml")
    project.run("--rules", "other.yaml", "--snapshot", "record", "--", "curl", "-sSf", project.url("/file"))
    assert [path.name for path in (tmp_path / "record").iterdir()] == [f"{ADDRESS}+{project.origin.port}.yaml"]
    assert project.snapshot() == {}


@pytest.mark.parametrize("text", ["rules: [", "rules:\n  - patern: x\n", "rules:\n  - {pattern: '(', action: ALLOW}\n"])
def test_mistakes_in_rules_end_with_2_and_say_where(project: Project, text: str) -> None:
    (project.root / ".hermit/rules.yaml").write_text(text)
    _, stderr = project.run("--", "touch", "started", status=2)
    assert "rules.yaml:" in stderr
    assert not (project.root / "started").exists()
    assert runs_left() == []


def test_another_store_than_the_one_that_recorded_cannot_replay(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run("--", "curl", "-sSf", project.url("/file"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    _, stderr = project.run("--", "touch", "started", status=3)
    assert project.url("/file") in stderr
    assert "next: hermit store fill" in stderr
    assert not (project.root / "started").exists()


def test_the_command_sees_neither_store_nor_logs_nor_settings(project: Project) -> None:
    homes = " ".join(f"$XDG_{name}_HOME/hermit" for name in ("CONFIG", "DATA", "STATE", "CACHE"))
    assert project.run("--", "sh", "-c", f"ls -A {homes} | grep -v '^/\\|^$'", status=1)[0] == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_passed_on_and_everything_ends(project: Project, number: signal.Signals) -> None:
    mark = f"41{os.getpid()}"
    script = f"trap 'echo caught; exit 0' {number.name[3:]}; sleep {mark} & touch ready; while :; do sleep 0.05; done"
    process = project.start("--", "sh", "-c", script)
    assert eventually((project.root / "ready").exists)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stdout == "caught\n"
    assert f"interrupted by {number.name}" in stderr
    assert not processes_with(mark)
    assert runs_left() == []


def test_a_second_signal_ends_a_command_that_does_not_listen(project: Project) -> None:
    process = project.start("--", "sh", "-c", "trap '' TERM; touch ready; while :; do sleep 0.05; done")
    assert eventually((project.root / "ready").exists)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 1


@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_a_killed_proxy_ends_the_command_and_says_so(project: Project, mode: str) -> None:
    mark = f"42{os.getpid()}"
    process = project.start("--mode", mode, "--", "sh", "-c", f"touch ready; exec sleep {mark}")
    assert eventually((project.root / "ready").exists)
    (proxy,) = processes_with(f"--run\0{os.environ['XDG_STATE_HOME']}")
    os.kill(proxy, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "the proxy was killed by SIGKILL" in stderr
    assert not processes_with(mark)
    assert project.snapshot() == {}
    assert runs_left() == []


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3, 0.5, None])
def test_a_killed_hermit_leaves_no_process_and_the_next_run_sweeps_the_rest(
    project: Project, delay: float | None
) -> None:
    mark = f"43{os.getpid()}"
    process = project.start("--mode", "record", "--", "sh", "-c", f"touch ready; exec sleep {mark}")
    if delay is None:
        assert eventually((project.root / "ready").exists)
    else:
        time.sleep(delay)
    process.kill()
    process.communicate()
    assert eventually(lambda: not processes_with(mark))
    assert eventually(lambda: not processes_with(f"--run\0{os.environ['XDG_STATE_HOME']}"))
    project.run("--", "curl", "-sSf", project.url("/file"))
    assert runs_left() == []


def test_a_store_that_cannot_be_written_is_an_error_of_the_machine(project: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit" / "config.yaml"
    config.write_text(config.read_text() + f"store: {tmp_path}/file/store\n")
    _, stderr = project.run("--", "touch", "started", status=4)
    assert "store" in stderr
    assert not (project.root / "started").exists()


def test_tools_of_two_kinds_take_proxy_and_trust_from_the_environment(project: Project) -> None:
    code = "import urllib.request,sys; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"
    script = f"curl -sSf {project.url('/file')}; {sys.executable} -c '{code}' {project.url('/file')}"
    assert project.run("--", "sh", "-c", script)[0] == "content\n" * 2
    assert project.origin.count("/file") == 1


def test_a_server_of_the_commands_own_is_no_matter_for_the_proxy(project: Project) -> None:
    script = f"{sys.executable} -m http.server -b 127.0.0.1 8099 >server.log 2>&1 & "
    script += "for i in $(seq 100); do curl -sf -o /dev/null http://localhost:8099/ && break; sleep 0.05; done; "
    script += "curl -sf -o /dev/null -w '%{http_code}' http://127.0.0.1:8099/"
    stdout, stderr = project.run("--mode", "record", "--", "sh", "-c", script)
    assert stdout == "200"
    assert "no requests" in stderr


def test_the_command_cannot_put_settings_or_a_store_of_its_own_in_place(project: Project) -> None:
    config, data = Path(os.environ["XDG_CONFIG_HOME"]), Path(os.environ["XDG_DATA_HOME"])
    (config.parent / "ordinary").mkdir()  # control: a folder beside them can be renamed
    control = f"mv {config.parent}/ordinary {config.parent}/renamed || exit 9"
    script = f"{control}; mv {config} {config}.old || mv {data} {data}.old"
    project.run("--mode", "record", "--", "sh", "-c", script, status=1)
    assert (config.parent / "renamed").is_dir()
    assert (config / "hermit" / "config.yaml").is_file()
    assert not Path(f"{config}.old").exists()
    assert not Path(f"{data}.old").exists()


def test_a_link_on_the_way_to_the_settings_that_was_turned_is_noticed(project: Project) -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"])
    real = config.with_name("dotfiles")
    config.rename(real)
    config.symlink_to(real)
    script = f"mkdir -p {real}2/hermit && ln -sfn {real}2 {config}"
    assert "in the place of" in project.run("--", "sh", "-c", script, status=4)[1]


def test_the_command_does_not_see_the_secrets_that_the_proxy_adds(project: Project, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret-token\n")
    secret.chmod(0o600)
    bindings = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit" / "credentials.yaml"
    binding = f"{{host: https://index.example.org, path: /, secret_file: {secret}, as: bearer}}"
    bindings.write_text(f"credentials:\n  index: {binding}\n")
    bindings.chmod(0o600)
    script = f"cat {secret}; cat {bindings}; grep -r s3cret /run/hermit $XDG_STATE_HOME; env | grep s3cret; true"
    stdout, _ = project.run("--mode", "record", "--", "sh", "-c", script)
    assert stdout == ""
    assert secret.read_text() == "s3cret-token\n"


def test_hermits_own_folder_is_no_place_to_run_in(project: Project) -> None:
    inside = Path(os.environ["XDG_STATE_HOME"]) / "hermit"
    inside.mkdir()
    command = [sys.executable, "-m", "hermit_cli.main", "run", "--", "true"]
    done = subprocess.run(command, cwd=inside, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "one of Hermit's own folders" in done.stderr
    assert project.snapshot() == {}
