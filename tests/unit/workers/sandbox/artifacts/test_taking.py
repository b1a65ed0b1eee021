"""Takes artifacts out of folders that a hostile build might leave."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hermit_proxy
import hermit_workers
from hermit_proxy.errors import ExitCode
from hermit_workers.sandbox.artifacts import taking
from hermit_workers.sandbox.artifacts.taking import ArtifactError, sha256sums, take

Found = dict[str, tuple[int, bool, bytes]]


def taken(folder: Path, *patterns: str, most_bytes: int = 1 << 20, most_files: int = 100) -> Found:
    found: Found = {}

    def give(path: str, size: int, executable: bool, descriptor: int) -> None:
        assert path not in found
        assert stat.S_ISREG(os.fstat(descriptor).st_mode)
        found[path] = (size, executable, os.read(descriptor, 1 << 20))

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    before = os.listdir("/proc/self/fd")
    try:
        take(descriptor, patterns, give, most_bytes=most_bytes, most_files=most_files)
    finally:
        assert os.listdir("/proc/self/fd") == before, "descriptors are left open"
        os.close(descriptor)
    return found


def refused(folder: Path, *patterns: str, **limits: int) -> str:
    with pytest.raises(ArtifactError) as caught:
        taken(folder, *patterns, **limits)
    assert caught.value.exit_code is ExitCode.FAILED
    assert str(caught.value).isprintable(), "a terminal would obey it"
    return str(caught.value)


def put(folder: Path, path: str, content: bytes = b"x", mode: int = 0o644) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "project"
    folder.mkdir()
    yield folder
    # pytest's own cleaning goes no deeper than Python's stack.
    subprocess.run(["rm", "-rf", "--", folder], check=True)


def test_files_are_given_with_size_and_whether_they_can_be_run(project: Path) -> None:
    put(project, "dist/app", b"binary", 0o4755)
    put(project, "dist/sub/notes", b"text")
    put(project, "other")
    assert taken(project, "dist/*") == {
        "dist/app": (6, True, b"binary"),
        "dist/sub/notes": (4, False, b"text"),
    }


def test_a_file_that_several_patterns_mean_is_given_once(project: Path) -> None:
    put(project, "dist/a.whl")
    assert list(taken(project, "dist/*", "**/*.whl", "dist")) == ["dist/a.whl"]


def test_the_order_does_not_depend_on_the_file_system(project: Path) -> None:
    for name in ("c", "a/2", "b", "a/1"):
        put(project, f"d/{name}")
    assert list(taken(project, "d")) == list(taken(project, "d/"))
    assert sorted(taken(project, "d")) == ["d/a/1", "d/a/2", "d/b", "d/c"]


def test_hard_links_are_files_like_others(project: Path) -> None:
    os.link(put(project, "a", b"same"), project / "b")
    assert set(taken(project, "a", "b")) == {"a", "b"}


@pytest.mark.parametrize("pattern", ["dist/app", "dist/*", "dist", "dist/", "**/app", "dist/**"])
def test_a_link_is_refused_and_not_followed(project: Path, tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "secret")
    (project / "dist").mkdir()
    (project / "dist/app").symlink_to(tmp_path / "secret")
    assert refused(project, pattern) == "artifact 'dist/app': it is a symbolic link; only plain files leave a build"


@pytest.mark.parametrize("pattern", ["dist/secret", "dist/*", "dist", "dist/"])
def test_a_link_on_the_way_is_refused(project: Path, tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "out/secret")
    (project / "dist").symlink_to(tmp_path / "out")
    assert "'dist': it is a symbolic link" in refused(project, pattern)


@pytest.mark.parametrize("pattern", ["**/secret", "*/secret"])
def test_a_link_that_no_pattern_names_is_passed_by(project: Path, tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "out/secret")
    put(project, "real/secret", b"mine")
    (project / "dist").symlink_to(tmp_path / "out")
    assert list(taken(project, pattern)) == ["real/secret"]


@pytest.mark.timeout(20)
def test_pipes_are_refused_without_waiting_for_a_writer(project: Path) -> None:
    os.mkfifo(project / "p")
    assert "it is a named pipe" in refused(project, "p")


def test_sockets_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s")
    assert "it is a socket" in refused(project, "*")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_devices_are_refused_and_not_opened(project: Path) -> None:
    # A number that nobody has: opening it would say so in another way.
    os.mknod(project / "d", 0o666 | stat.S_IFCHR, os.makedev(240, 77))
    assert "it is a device" in refused(project, "d")


def test_a_pattern_without_a_file_is_named(project: Path) -> None:
    put(project, "a")
    (project / "empty").mkdir()
    for pattern in ("b", "empty/", "empty", "a/b", "a/", "*/x", "**/c"):
        assert f"`{pattern}`" in refused(project, "a", pattern)


def test_what_is_no_pattern_is_said_so(project: Path) -> None:
    assert "is no pattern: it is absolute" in refused(project, "/etc/passwd")
    assert "is no pattern" in refused(project, "../x")


def test_more_bytes_than_may_leave_are_refused_by_their_apparent_size(project: Path) -> None:
    put(project, "a", b"x" * 10)
    assert set(taken(project, "a", most_bytes=10)) == {"a"}
    with (project / "giant").open("wb") as file:
        file.truncate(1 << 40)
    assert "1 TiB of 10 bytes (limits: artifacts)" in refused(project, "giant", most_bytes=10)
    put(project, "b", b"x")
    assert "11 bytes of 10 bytes" in refused(project, "a", "b", most_bytes=10)


def test_more_files_than_may_leave_are_refused(project: Path) -> None:
    for number in range(4):
        put(project, f"d/{number}")
    assert len(taken(project, "d", most_files=4)) == 4
    assert "more than 3 files" in refused(project, "d", most_files=3)


@pytest.mark.parametrize(
    "name", [b"a\nb", b"a\rb", b"a\x1bb", b"a\x7fb", b"a\\b", b"\xff", "a\u202eb".encode(), "a\u2028b".encode()]
)
def test_names_that_a_list_cannot_carry_are_refused(project: Path, name: bytes) -> None:
    (project / "d").mkdir()
    os.close(os.open(os.fsencode(project) + b"/d/" + name, os.O_CREAT | os.O_WRONLY))
    assert "a list of files cannot carry" in refused(project, "d")
    assert "a list of files cannot carry" in refused(project, "d/*")


@pytest.mark.parametrize("name", ["-rf", "a b", "$(x)", "ä", "日本", "'\"", "#", "a:b", "con", "..."])
def test_other_names_are_nobodys_business(project: Path, name: str) -> None:
    put(project, f"d/{name}")
    assert list(taken(project, "d")) == [f"d/{name}"]


def test_names_that_look_the_same_are_refused_and_those_that_differ_in_case_are_not(project: Path) -> None:
    put(project, "d/README")
    put(project, "d/readme")
    assert len(taken(project, "d")) == 2
    put(project, "d/\u00e4")
    put(project, "d/a\u0308")
    assert "looks the same" in refused(project, "d")


def chain(folder: Path, name: str, depth: int) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_a_tree_of_great_depth_is_walked_and_its_end_is_refused(project: Path) -> None:
    chain(project, "d", 3_000)
    put(project, "a.whl")
    assert list(taken(project, "**/*.whl")) == ["a.whl"]
    assert "its path is longer than 4096 bytes" in refused(project, "**/leaf")


def test_a_tree_of_too_many_names_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "ENTRIES", 50)
    for number in range(60):
        put(project, f"many/{number}")
    put(project, "dist/app")
    assert "too much to look through" in refused(project, "**/app")
    # What is named is found without looking at the rest.
    assert list(taken(project, "dist/app")) == ["dist/app"]


def test_looking_ends_with_its_time(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "SECONDS", -1.0)
    for number in range(1100):
        put(project, f"many/{number}")
    assert "too much to look through" in refused(project, "**/app")


@pytest.mark.parametrize(("other", "reason"), [("link", "cannot be read"), ("file", "it was exchanged")])
def test_a_file_that_is_exchanged_is_not_given(
    project: Path, monkeypatch: pytest.MonkeyPatch, other: str, reason: str
) -> None:
    put(project, "a")
    put(project, "file")
    (project / "link").symlink_to("/etc/passwd")
    real = os.open

    def exchanging(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "a":
            (project / other).rename(project / "a")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", exchanging)
    assert reason in refused(project, "a")


def test_it_loads_nothing_large_into_the_holder() -> None:
    program = "import sys; sys.path[:0] = sys.argv[1:]; from hermit_workers.sandbox.artifacts import taking; "
    program += "from hermit_workers.sandbox.limits import disk; "
    program += "print(*sorted({'asyncio', 'ssl', 'subprocess', 'hypothesis', 'yaml'} & set(sys.modules)))"
    roots = [str(Path(path).parent) for module in (hermit_proxy, hermit_workers) for path in module.__path__]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *roots], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


_NAMES = st.sampled_from(["a", "b", ".h", "c.whl", "d"])
_TARGETS = st.sampled_from(["..", "../..", "/", "../outside", "../outside/a", "a", "a/b", ".", "b", "d"])
_TREES = st.dictionaries(
    st.lists(_NAMES, min_size=1, max_size=4).map("/".join),
    st.one_of(st.none(), st.just("folder"), _TARGETS.map(lambda target: ("link", target))),
    max_size=12,
)
_PATTERNS = st.lists(
    st.lists(st.sampled_from(["a", "b", "*", "**", "?", ".h", "d", "*.whl"]), min_size=1, max_size=4).map("/".join),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=_TREES, patterns=_PATTERNS)
def test_nothing_outside_of_the_folder_is_ever_opened(tree: dict[str, object], patterns: list[str]) -> None:
    top = Path(tempfile.mkdtemp())
    try:
        for name in ("a", "b", "c.whl", "d/a"):
            put(top, f"outside/{name}", b"outside")
        project = top / "project"
        project.mkdir()
        for path, kind in tree.items():
            file = project / path
            if os.path.lexists(file) or any(parent.is_symlink() or parent.is_file() for parent in file.parents):
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(kind, tuple):
                file.symlink_to(kind[1])
            elif kind is None:
                file.write_bytes(b"inside")
            else:
                file.mkdir()
        inside = {status.st_ino for status in map(os.lstat, [project, *project.rglob("*")])}
        opened = []
        real = os.open

        def noted(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            assert dir_fd is not None
            assert "/" not in path
            descriptor = real(path, flags, mode, dir_fd=dir_fd)
            opened.append(os.fstat(descriptor).st_ino)
            return descriptor

        folder = os.open(project, os.O_RDONLY)
        given_files = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", noted)
            try:
                take(folder, patterns, lambda path, *_: given_files.append(path), most_bytes=1 << 20)
            except ArtifactError:
                pass
            finally:
                os.close(folder)
        assert set(opened) <= inside
        assert opened
        assert all((project / path).read_bytes() == b"inside" for path in given_files)
    finally:
        shutil.rmtree(top)


def test_sums_are_those_of_the_program(tmp_path: Path) -> None:
    names = ["b", "a", "ä", "A", "a b", "back\\slash", "new\nline", "cr\r", "-x", "dir/z", "dir.z"]
    pairs = []
    for name in names:
        put(tmp_path, name, name.encode())
        pairs.append((name, hashlib.sha256(name.encode()).hexdigest()))
    ordered = sorted(names, key=os.fsencode)
    done = subprocess.run(["sha256sum", "--", *ordered], cwd=tmp_path, capture_output=True, check=True)
    assert sha256sums(pairs).encode() == done.stdout
    assert sha256sums([]) == ""
