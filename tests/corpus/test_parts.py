"""Tests the parts that the corpus judges by: a comparison that cannot fail would prove nothing."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from hermit_proxy.errors import HermitError, InputError
from tests.corpus import page
from tests.corpus import project as projects
from tests.corpus.__main__ import choose
from tests.corpus.compare import compare, explain
from tests.corpus.fetch import FetchError, fetch, unpack
from tests.corpus.project import Wanted

REASON = {"*.jar": "the time of the build is in it"}
DIGEST = "0" * 64


def outputs(folder: Path, *contents: dict[str, str]) -> list[Path]:
    found = []
    for number, files in enumerate(contents):
        place = folder / f"out-{number}"
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        place.mkdir(exist_ok=True)
        found.append(place)
    return found


@pytest.mark.parametrize(
    ("contents", "reasons", "found"),
    [
        (({"a/x": "1"}, {"a/x": "1"}), {}, (0, 0, 0)),
        (({"a/x": "1"}, {"a/x": "2"}), {}, (1, 1, 0)),
        (({"x.jar": "1"}, {"x.jar": "2"}), REASON, (1, 0, 0)),
        (({"x.jar": "1"}, {"x.jar": "1"}), REASON, (0, 0, 1)),
        (({"x": "1"}, {"x": "1"}, {"x": "2"}), {}, (1, 1, 0)),
        (({"x": "1", "y": "1"}, {"x": "1"}), {}, (1, 1, 0)),
        (({"x": "1"}, {"x": "1", "y": "1"}), {}, (1, 1, 0)),
        (({"x": "1", "SHA256SUMS": "1"}, {"x": "1", "SHA256SUMS": "2"}), {}, (0, 0, 0)),
        (({"d/SHA256SUMS": "1"}, {"d/SHA256SUMS": "2"}), {}, (1, 1, 0)),
    ],
)
def test_outputs_are_judged_by_their_bytes_and_the_reasons_on_record(
    tmp_path: Path, contents: tuple[dict[str, str], ...], reasons: dict[str, str], found: tuple[int, int, int]
) -> None:
    verdict = compare(outputs(tmp_path, *contents), reasons)
    assert (len(verdict.differing), len(verdict.unexplained), len(verdict.obsolete)) == found
    assert verdict.good == (found[1:] == (0, 0))


def test_a_build_without_outputs_is_not_good(tmp_path: Path) -> None:
    nothing = {".gitignore": "*\n", "SHA256SUMS": ""}
    assert not compare(outputs(tmp_path, nothing, nothing), {}).good


def test_what_differs_is_told(tmp_path: Path) -> None:
    one, other = outputs(tmp_path, {"x": "apples\n"}, {"x": "pears\n"})
    told = explain(one / "x", other / "x")
    assert ("apples" in told and "pears" in told) or "not installed" in told
    assert "only one" in explain(one / "x", other / "y")


def read(folder: Path, text: str) -> None:
    (folder / "p").mkdir()
    (folder / "p/project.yaml").write_text(text)
    (folder / "p/build.yaml").write_text("image: debian-12\n")
    projects.read("p", projects=folder)


GOOD = f"""kind: pip
shows: wheels
fetch: [{{registry: pip, name: six, version: 1.0, sha256: {DIGEST}}}]
asks: [pip]
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD, None),
        (GOOD.replace("kind: pip", "kind: pipp"), "did you mean `pip`"),
        (GOOD.replace(DIGEST, "abc"), "project.yaml:3: expected sha256"),
        (GOOD.replace("asks: [pip]", "asks: [pop]"), "project.yaml:4"),
        (GOOD.replace("version: 1.0, ", ""), "needs the key `version`"),
        (GOOD.replace("version: 1.0", "version: 1.0, to: x, as: y"), "one place"),
        (f"{GOOD}image: none-such\n", "images/none-such.yaml"),
        (f"{GOOD}cuts: true\n", "unknown key"),
    ],
)
def test_a_mistake_in_a_projects_data_is_told_with_its_line(tmp_path: Path, text: str, told: str | None) -> None:
    if told is None:
        read(tmp_path, text)
        return
    with pytest.raises(InputError) as raised:
        read(tmp_path, text)
    assert told in str(raised.value)


def wanted(file: str = "") -> Wanted:
    return Wanted("pip", "six", "1.0", file, DIGEST)


def test_a_file_whose_digest_is_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fetch.__globals__["_URLS"], "pip", lambda _: "https://index.example.org/six.tar.gz")
    monkeypatch.setitem(fetch.__globals__, "_get", lambda _: b"something else")
    with pytest.raises(FetchError, match="expected sha256 0000"):
        fetch(wanted(), tmp_path)
    assert not list(tmp_path.iterdir())


def packed_tar(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o600, 1
            tar.addfile(member, io.BytesIO(b"x"))
    return path


def packed_zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, b"x")
    return path


def test_archives_are_unpacked_without_the_folder_around_them(tmp_path: Path) -> None:
    unpack(wanted(), packed_tar(tmp_path / "a.tar.gz", "six-1.0/src/six.py"), tmp_path / "tar")
    unpack(wanted("x-source-release.zip"), packed_zip(tmp_path / "a.zip", "six-1.0/src/six.py"), tmp_path / "zip")
    unpack(wanted("sources.jar"), packed_zip(tmp_path / "a.jar", "org/Six.java"), tmp_path / "jar")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.suffix in {".py", ".java"})
    assert found == ["jar/org/Six.java", "tar/src/six.py", "zip/src/six.py"]
    assert (tmp_path / "tar/src/six.py").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("pack", [packed_tar, packed_zip])
def test_no_file_of_an_archive_lands_outside(tmp_path: Path, pack: object) -> None:
    archive = pack(tmp_path / "archive", "six-1.0/../../outside.py")  # type: ignore[operator]  # one of the two above
    with pytest.raises(FetchError, match="leads out"):
        unpack(wanted(), archive, tmp_path / "in/side")
    assert not list(tmp_path.rglob("outside.py"))


def test_projects_are_chosen_by_name_and_kind() -> None:
    assert {project.kind for project in choose(["cargo"])} == {"cargo"}
    assert [project.name for project in choose(["pip-hashes", "pip-hashes"])] == ["pip-hashes"]
    assert len(choose([])) == len(projects.names())
    with pytest.raises(HermitError, match="no project and no kind: cobol"):
        choose(["cobol"])


def test_the_page_is_what_the_data_says() -> None:
    every = [projects.read(name) for name in projects.names()]
    assert page.PAGE.read_text() == page.render(every, page._read()), "python -m tests.corpus --only NAME --write"


def test_every_project_on_the_page_has_been_tried() -> None:
    assert set(page._read()) == set(projects.names())
