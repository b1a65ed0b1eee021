"""Takes from a run what it needs of the machine: room, its store, its sandbox, the right to write."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from hermit_proxy.snapshot.tree import read_tree
from tests.integration.faults.bench import Bench, Site
from tests.integration.faults.cases import FAULTS
from tests.integration.faults.conftest import MakeBench
from tests.integration.faults.processes import until
from tests.support.redis import redis_server

# Mounts a small file system over a folder with its content, runs the rest twice, the second time with room, and
# keeps what the folder held each time; exits with the first code, or 99 where the second run fails.
_SMALL = """
folder=$1 size=$2; shift 2
cp -a "$folder" "$folder.full"; mount -t tmpfs -o "size=$size,mode=0700" none "$folder"
cp -a "$folder.full/." "$folder"; rm -rf "$folder.full"
code=0; "$@" || code=$?
cp -a "$folder" "$folder.full"
mount -o remount,size=100m "$folder"; rm -f "$folder/filler"
echo SECOND >&2
"$@" || exit 99
cp -a "$folder" "$folder.after"
exit "$code"
"""


def says(name: str, done_said: str, code: int) -> None:
    """Hold what a run said and its code to the table."""
    fault = FAULTS[name]
    assert code == fault.code, done_said
    assert fault.says in done_said.partition("SECOND")[0], done_said
    assert "Traceback" not in done_said, done_said


def small(folder: Path, size: str) -> list[str]:
    return ["sh", "-ec", _SMALL, "sh", str(folder), size]


def test_a_store_without_room(bench: Bench) -> None:
    shutil.rmtree(bench.hermit.store)
    bench.hermit.store.mkdir(mode=0o700)
    done = bench.start("record", *bench.fetch("/old", "/halting"), prefix=small(bench.hermit.store, "4m")).end()
    says("store full", done.said, done.code)
    full, after = (bench.hermit.store.with_name(f"store.{name}") for name in ("full", "after"))
    bench.check_store(full)
    assert not list((full / "tmp").iterdir())
    bench.check_store(after)
    assert {entry.url for entry in read_tree(bench.hermit.snapshot)} == {
        bench.web.url("/old"),
        bench.web.url("/halting"),
    }
    bench.check_swept()


def test_a_run_folder_without_room(bench: Bench) -> None:
    state = bench.folder / "state"
    state.mkdir(exist_ok=True)
    fetch = " ".join(bench.fetch("/old"))
    # The cell's own folder is on the same disk as the log.
    script = f'dd if=/dev/zero of="$(dirname "$SSL_CERT_FILE")/filler" bs=4096 2>/dev/null || true; {fetch}'
    done = bench.start("record", "sh", "-ec", script, prefix=small(state, "3m")).end()
    assert done.code in {FAULTS["run folder full"].code, 99}, done.said
    says("run folder full", done.said, FAULTS["run folder full"].code)
    bench.check_tree_untouched()


def test_a_machine_without_room_for_a_run_folder(bench: Bench) -> None:
    state = bench.folder / "state"
    state.mkdir(exist_ok=True)
    (state / "filler").write_bytes(bytes(60 * 1024))
    done = bench.start("record", *bench.fetch("/old", "/small"), prefix=small(state, "64k")).end()
    says("no room for a run folder", done.said, done.code)
    assert len(read_tree(bench.hermit.snapshot)) == 2


def test_a_project_without_room(bench: Bench) -> None:
    folder = bench.hermit.project
    fetch = " ".join(bench.fetch("/old", "/small"))
    fill = f"dd if=/dev/zero of={folder}/filler bs=4096 2>/dev/null"
    script = f"[ -e {folder}/once ] || {fill} || :; : >{folder}/once; {fetch}"
    (folder / "room").write_bytes(b"")
    done = bench.start("record", "sh", "-ec", script, prefix=small(folder, "200k")).end()
    says("project full", done.said, done.code)
    full, after = (folder.with_name(f"project.{name}") for name in ("full", "after"))
    assert _snapshot(full) == {name: text for name, text in bench.before.items() if name.startswith(".hermit/")}
    assert not list(full.rglob("*~*"))
    assert len(read_tree(after / ".hermit/network")) == 2
    bench.check_swept()


def test_a_project_that_is_read_only(bench: Bench) -> None:
    folder = bench.hermit.project
    script = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; cd "$1"; shift; exec "$@"'
    read_only = ["sh", "-ec", script, "sh", str(folder)]
    done = bench.start("record", *bench.fetch("/old", "/small"), prefix=read_only).end()
    says("project read-only", done.said, done.code)
    bench.check_tree_untouched()
    bench.check_swept()
    bench.run("hermetic", *bench.fetch("/old", "/large"), prefix=read_only)
    bench.check_next("record", "/old", "/small")


def test_a_bit_that_flips_in_the_store(bench: Bench) -> None:
    (body,) = (path for path in (bench.hermit.store / "bodies").glob("*/*") if path.stat().st_size < 100)
    octets = bytearray(body.read_bytes())
    octets[3] ^= 1
    body.chmod(0o600)
    body.write_bytes(octets)
    done = bench.start("hermetic", *bench.fetch("/old")).end()
    says("bit flipped", done.said, done.code)
    bench.check_tree_untouched()
    bench.check_swept()
    assert not body.exists()
    done = bench.start("hermetic", *bench.fetch("/old")).end()
    says("bit flipped, the run after", done.said, done.code)
    bench.check_next("record", "/old", "/large")
    bench.run("hermetic", *bench.fetch("/old", "/large"))


def test_redis_that_goes_in_the_middle_of_a_recording(make_bench: MakeBench, web: Site, tmp_path: Path) -> None:
    with redis_server(tmp_path / "one") as url:
        bench = make_bench(store=url)
        web.halt()
        running = bench.start("record", *bench.fetch("/small", "/halting"))
        assert web.stopped.wait(20)
        shutdown(url)
        web.go()
        done = running.end()
    says("Redis gone while recording", done.said, done.code)
    bench.check_tree_untouched()
    bench.check_swept()
    shutil.rmtree(tmp_path / "one")
    with redis_server(tmp_path / "one"):
        bench.check_next("record", "/small", "/halting")


def test_redis_that_goes_in_the_middle_of_a_replay(make_bench: MakeBench, tmp_path: Path) -> None:
    with redis_server(tmp_path / "one") as url:
        bench = make_bench(store=url)
        bench.run("record", *bench.fetch("/old", "/large"))
        before = bench.tree()
        shutil.rmtree(bench.folder / "cache/hermit/bodies")
        flag = bench.hermit.project / "flag"
        first, second = (" ".join(bench.fetch(path)) for path in ("/old", "/large"))
        script = f"{first}; : >flag; while [ -e flag ]; do sleep 0.05; done; {second}"
        running = bench.start("hermetic", "sh", "-ec", script)
        until("the first answer", flag.exists)
        shutdown(url)
        flag.unlink()
        done = running.end()
    says("Redis gone while replaying", done.said, done.code)
    assert bench.tree() == before
    bench.check_swept()


def test_redis_that_is_not_there(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench(store=f"unix://{tmp_path}/nowhere")
    for mode in ("record", "hermetic"):
        done = bench.start(mode, *bench.fetch("/old")).end()
        says("no Redis", done.said, done.code)
    bench.check_tree_untouched()
    bench.check_swept()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a store away")
def test_a_store_of_another_owner(bench: Bench) -> None:
    os.chown(bench.hermit.store, 65533, 65533)
    stranger = ["unshare", "-U", "--map-user=12345", "--map-group=12345"]
    done = bench.start("record", *bench.fetch("/old"), prefix=stranger).end()
    says("store of another owner", done.said, done.code)
    bench.check_tree_untouched()
    bench.check_swept()
    os.chown(bench.hermit.store, 0, 0)
    bench.check_next("record", "/old", "/small")


def test_no_bubblewrap(bench: Bench, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "curl", "mount", "unshare", "git"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = bench.start("record", *bench.fetch("/old"), env={"PATH": str(programs)}).end()
    says("no bubblewrap", done.said, done.code)
    bench.check_tree_untouched()
    bench.check_swept()
    bench.check_next("record", "/old", "/small")


def test_no_user_namespaces(bench: Bench) -> None:
    none = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
    prefix = ["unshare", "-rU", "sh", "-ec", none, "sh"]
    done = bench.start("record", *bench.fetch("/old"), prefix=prefix).end()
    says("no user namespaces", done.said, done.code)
    bench.check_tree_untouched()
    bench.check_swept()
    bench.check_next("record", "/old", "/small")


def shutdown(url: str) -> None:
    """End a server by its process's id, and take its socket away."""
    socket = Path(url.removeprefix("unix://"))
    said = subprocess.run(
        ["redis-cli", "-s", str(socket), "info", "server"], capture_output=True, text=True, check=True
    )
    pid = next(line for line in said.stdout.splitlines() if line.startswith("process_id:")).partition(":")[2]
    os.kill(int(pid), signal.SIGKILL)
    until("the server to be gone", lambda: not Path(f"/proc/{pid}/exe").exists())


def _snapshot(project: Path) -> dict[str, bytes]:
    files = (path for path in (project / ".hermit").rglob("*") if path.is_file())
    return {str(path.relative_to(project)): path.read_bytes() for path in files}
