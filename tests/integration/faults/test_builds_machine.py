"""Takes from a build what it needs of the machine: room for its cell, its store, its artifacts, its image."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hermit_proxy.snapshot.tree import read_tree
from hermit_workers.image.moving import export_image
from tests.integration.faults.bench import Done
from tests.integration.faults.buildbench import BuildBench
from tests.integration.faults.buildcases import BUILD_FAULTS
from tests.support.hermit import PRIVATE

# Mounts a small file system over a folder with its content, runs the rest twice, the second time with room, and
# keeps what the folder held each time; exits with the first code, or 99 where the second run fails.
_SMALL = """
folder=$1 size=$2 room=$3; shift 3
cp -a "$folder" "$folder.full"; mount -t tmpfs -o "size=$size,mode=0700" none "$folder"
cp -a "$folder.full/." "$folder"; rm -rf "$folder.full"
code=0; "$@" || code=$?
cp -a "$folder" "$folder.full"
mount -o remount,size=$room "$folder"; rm -f "$folder/filler"
echo SECOND >&2
"$@" || exit 99
cp -a "$folder" "$folder.after"
exit "$code"
"""
# More than the watchdog leaves to the machine, and what it takes to build besides.
_ROOM = "1400m"


def small(folder: Path, size: str, room: str = "100m") -> list[str]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [*PRIVATE, "sh", "-ec", _SMALL, "sh", str(folder), size, room]


def says(name: str, done: Done) -> None:
    """Hold what a build said and its code to the table."""
    fault = BUILD_FAULTS[name]
    assert done.code == fault.code, done.said
    assert fault.says in done.said.partition("SECOND")[0], done.said
    assert "Traceback" not in done.said, done.said


def kept(folder: Path, when: str) -> Path:
    return folder.with_name(f"{folder.name}.{when}")


def test_a_state_folder_without_room_for_a_run(build_bench: BuildBench) -> None:
    state = build_bench.folder / "state"
    state.mkdir(exist_ok=True)
    (state / "filler").write_bytes(bytes(60 * 1024))
    build_bench.spec("true")
    done = build_bench.start("hermetic", prefix=small(state, "64k", _ROOM)).end()
    says("no room for a run folder", done)
    assert build_bench.tree() == build_bench.before


def test_a_state_folder_with_less_room_than_a_build_has_to_leave(build_bench: BuildBench) -> None:
    state = build_bench.folder / "state"
    build_bench.spec({"run": "echo hi >out; sleep 2"})
    done = build_bench.start("hermetic", prefix=small(state, "900m", _ROOM)).end()
    says("little room for the cell", done)
    assert build_bench.tree() == build_bench.before
    left = {path.name for path in kept(state, "full").glob("hermit/runs/*/*")}
    assert left <= {"requests.jsonl", "result.json", "steps.log"}


def test_a_step_that_fills_the_disk_of_the_cell(build_bench: BuildBench) -> None:
    state = build_bench.folder / "state"
    build_bench.spec({"run": "dd if=/dev/zero of=big bs=1M count=300; exec sleep 1000"}, artifacts=("big",))
    done = build_bench.start("hermetic", prefix=[*PRIVATE, "sh", "-ec", _ONCE, "sh", str(state)]).end()
    says("disk of the cell filled", done)
    assert build_bench.tree() == build_bench.before
    build_bench.check_next("hermetic", "/old")


_ONCE = 'mkdir -p "$1"; mount -t tmpfs -o "size=1200m,mode=0700" none "$1"; shift; exec "$@"'


def test_a_store_without_room_for_a_body(build_bench: BuildBench) -> None:
    bench = build_bench
    bench.spec(bench.fetching("/old", "/halting"))
    done = bench.start("record", prefix=small(bench.hermit.store, "4m")).end()
    says("store full", done)
    bench.check_store(kept(bench.hermit.store, "full"))
    assert not list((kept(bench.hermit.store, "full") / "tmp").iterdir())
    bench.check_store(kept(bench.hermit.store, "after"))
    assert {entry.url for entry in read_tree(bench.hermit.snapshot)} == {
        bench.web.url("/old"),
        bench.web.url("/halting"),
    }
    bench.check_swept()


def test_a_store_without_room_for_an_artifact(build_bench: BuildBench) -> None:
    bench = build_bench
    bench.spec({"run": "head -c 8000000 /dev/zero >big"}, artifacts=("big",))
    before = bench.tree()
    store = bench.hermit.store
    once = [*PRIVATE, "sh", "-ec", _SMALL.replace('"$@" || exit 99', "exit $code"), "sh", str(store), "4m", "100m"]
    done = bench.start("hermetic", prefix=once).end()
    says("store full of artifacts", done)
    assert bench.tree() == before
    assert not list(bench.hermit.project.rglob("*~*"))
    bench.check_store(kept(store, "full"))
    assert not list((kept(store, "full") / "tmp").iterdir())
    bench.run("hermetic")
    assert (bench.hermit.project / ".hermit/out/big").stat().st_size == 8_000_000
    bench.check_swept()


def test_a_folder_for_artifacts_without_room(build_bench: BuildBench) -> None:
    bench = build_bench
    bench.spec({"run": "head -c 8000000 /dev/zero >big"}, artifacts=("big",))
    place = bench.folder / "place"
    done = bench.start("hermetic", prefix=small(place, "4m"), options=("--out", str(place / "out"))).end()
    says("--out full", done)
    assert list(kept(place, "full").iterdir()) == []
    assert {path.name for path in (kept(place, "after") / "out").iterdir()} == {".gitignore", "SHA256SUMS", "big"}
    bench.check_store()
    bench.check_swept()


def test_a_library_without_room_for_an_image_that_is_brought(build_bench: BuildBench) -> None:
    bench = build_bench
    (image,) = bench.library.images()
    parcel = bench.folder / "image.tar"
    asyncio.run(export_image(image, parcel))
    place = bench.folder / "other/hermit/images"
    done = bench.start(
        "",
        "image",
        "import",
        str(parcel),
        prefix=small(place, "8m"),
        env={"XDG_DATA_HOME": str(bench.folder / "other")},
    ).end()
    says("library full", done)
    assert list(kept(place, "full").iterdir()) == []
    assert [path.name for path in kept(place, "after").iterdir()] == [image.folder.name]
