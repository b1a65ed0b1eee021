"""Rebuilds trees from lists, honest ones and others."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermit_workers.sandbox.artifacts.taking import ArtifactError
from hermit_workers.vm import shape
from hermit_workers.vm.protocol import ProtocolError

MOST = 1000


def listed(*lines: str) -> bytes:
    return b"".join(os.fsencode(line) + b"\0" for line in lines)


def made(folder: Path) -> dict[str, tuple[str, int, bool]]:
    """Give what is in a folder: its kind, size and whether it is executable."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        kind = stat.filemode(status.st_mode)[0]
        found[str(path.relative_to(folder))] = (kind, size, kind == "-" and bool(status.st_mode & 0o100))
    return found


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["dist/*.whl"], ["./dist"]),
        (["b/x", "a", "b/**"], ["./a", "./b"]),
        (["dist/", "*.txt"], ["."]),
        (["**/x"], ["."]),
        (["-delete"], ["./-delete"]),
    ],
)
def test_a_list_begins_at_what_the_patterns_name(patterns: list[str], expected: list[str]) -> None:
    assert shape.begin(patterns) == expected


@pytest.mark.parametrize(
    ("patterns", "passed"),
    [
        (["*.whl"], {"./other", "./other/deep", "./x y", "./dist", "./run"}),
        (["dist/*.jar", "run"], {"./dist/a.txt", "./dist/sub", "./other", "./big.whl"}),
        (["dist/?", "x y/[a-c]*/"], {"./other", "./run"}),
        (["dist/**/o", "big.whl/"], {"./other", "./x y", "./run"}),
        (["dist/*/deep", "o*r"], {"./dist/sub/no", "./x y", "./run"}),
        (["\u00e9(1)+'", "dist/\u00e9*"], {"./dist/a.jar", "./other"}),
        (["**/x"], set()),
    ],
)
def test_a_list_has_all_that_is_looked_at_and_not_the_whole_tree(
    tmp_path: Path, patterns: list[str], passed: set[str]
) -> None:
    tree = tmp_path / "tree"
    for name in (
        "big.whl/deep/x", "a.whl", "dist/a.jar", "dist/a.txt", "dist/sub/deep/o", "dist/sub/no", "dist/x",
        "dist/\u00e9x", "other/deep/x", "run", "x y/abc/x", "\u00e9(1)+'", "dist/new\nline.jar",
    ):  # fmt: skip
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    found, names = [], []
    for number, narrowed in enumerate((shape.within(patterns), [])):
        words = ["find", "-P", ".", "-xdev", *narrowed, "-printf", "%y %m %s %p\\0"]
        done = subprocess.run(words, cwd=tree, capture_output=True, check=True, env={"PATH": os.defpath, "LC_ALL": "C"})
        (tmp_path / str(number)).mkdir()
        shape.rebuild(done.stdout, patterns, tmp_path / str(number), most=MOST)
        found.append(made(tmp_path / str(number)))
        names.append({os.fsdecode(line).split(" ", 3)[-1] for line in done.stdout.split(b"\0")})
    assert found[0] == found[1]
    assert passed <= names[1]
    assert not passed & names[0]


def test_what_patterns_look_at_is_there_and_nothing_else(tmp_path: Path) -> None:
    lines = listed(
        "d 755 4096 .", "d 755 4096 ./dist", "f 644 5 ./dist/a.whl", "f 755 0 ./dist/b.whl", "f 644 9 ./dist/c.txt",
        "l 777 3 ./dist/d.whl", "p 644 0 ./dist/e.whl", "c 644 0 ./dist/f.whl", "d 755 1 ./dist/g.whl",
        "f 640 99999 ./dist/g.whl/big\nname", "d 755 1 ./other", "f 644 1 ./other/x", "d 755 0 ./dist/.git",
    )  # fmt: skip
    shape.rebuild(lines, ["dist/*.whl"], tmp_path, most=MOST)
    assert made(tmp_path) == {
        "dist": ("d", 0, False), "dist/a.whl": ("-", 5, False), "dist/b.whl": ("-", 0, True),
        "dist/d.whl": ("l", 0, False), "dist/e.whl": ("p", 0, False), "dist/f.whl": ("p", 0, False),
        "dist/g.whl": ("d", 0, False), "dist/g.whl/big\nname": ("-", MOST + 1, False),
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "f 644 5 /etc/passwd", "f 644 5 ../x", "f 644 5 ./../x", "f 644 5 ./a/../x", "f 644 5 ./a/./x",
        "f 644 5 ./a//x",
        "f 644 5 .//x", "f 644 5 ./x/", "f 644 5 x", "f 644 5 ", "f 644 ./x", "f 648 5 ./x", "f 644 -5 ./x", "", "f",
        "f 644 99999999999999999999 ./x", "ff 644 5 ./x", "f  644 5 ./x",
    ],
)  # fmt: skip
def test_what_find_does_not_print_is_a_lie(tmp_path: Path, line: str) -> None:
    with pytest.raises(ProtocolError, match="which is no file"):
        shape.rebuild(listed("d 755 0 ./a", line), ["**/*"], tmp_path, most=MOST)


def test_a_list_that_breaks_off_or_says_a_thing_twice_is_a_lie(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="breaks off"):
        shape.rebuild(b"f 644 5 ./x\0f 644 5", ["*"], tmp_path, most=MOST)
    for number, twice in enumerate((("f 644 1 ./y", "f 644 1 ./y"), ("d 755 1 ./y", "l 777 1 ./y"))):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(ProtocolError, match="twice"):
            shape.rebuild(listed(*twice), ["**/*"], tmp_path / str(number), most=MOST)


def test_nothing_is_made_through_a_link_or_in_a_folder_that_was_not_listed(tmp_path: Path) -> None:
    target = tmp_path / "shape"
    target.mkdir()
    lines = listed("l 777 9 ./link", "f 644 1 ./link/x", "f 644 1 ./nowhere/x", "f 644 1 ./file", "f 644 1 ./file/x")
    shape.rebuild(lines, ["**/*"], target, most=MOST)
    assert sorted(made(target)) == ["file", "link"]
    assert os.listdir(tmp_path) == ["shape"]


def test_too_many_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "ENTRIES", 3)
    lines = [f"f 644 1 ./{number}" for number in range(4)]
    shape.rebuild(listed(*lines[:3]), ["none/x"], tmp_path, most=MOST)
    with pytest.raises(ArtifactError, match="too much to look through"):
        shape.rebuild(listed(*lines), ["none/x"], tmp_path, most=MOST)
    monkeypatch.setattr(shape, "ENTRIES", 10)
    monkeypatch.setattr(shape, "_MOST_MADE", 3)
    with pytest.raises(ArtifactError, match="more than 3 names"):
        shape.rebuild(listed(*lines), ["*"], tmp_path, most=MOST)


LINES = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda kind, size, path: b"%s 755 %d ./%s" % (kind, size, path),
        st.sampled_from([b"f", b"d", b"l", b"s"]),
        st.integers(0, 10**19),
        st.text("ab/.\n\udcff", min_size=1, max_size=12).map(os.fsencode),
    ),
)


@given(st.lists(LINES, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_listed_nothing_is_made_outside_and_the_rest_is_refused(tmp_path: Path, lines: list[bytes]) -> None:
    outside = tmp_path / "around"
    outside.mkdir(exist_ok=True)
    target = outside / os.urandom(6).hex()
    target.mkdir()
    with contextlib.suppress(ProtocolError, ArtifactError):
        shape.rebuild(b"".join(line + b"\0" for line in lines), ["**/*", "a/"], target, most=MOST)
    assert os.listdir(tmp_path) == ["around"]
    for folder, _, files in os.walk(target):
        assert folder.startswith(str(target))
        assert all(os.lstat(os.path.join(folder, name)).st_size <= MOST + 1 for name in files)
