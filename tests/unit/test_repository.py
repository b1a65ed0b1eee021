"""Checks what no other test can see: the repository itself, as it would be committed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SOURCES = ("benchmarks", "cli", "custom_steps", "master", "proxy", "tests", "workers")
PACKAGES = ("proxy", "workers", "custom_steps", "master", "cli")
# They name the public hosts that the first Hermit recorded, none of which is a setting of ours.
OLD_RECORDINGS = "tests/fixtures/"

_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING = re.compile(r"^#+ +(.*?)\s*$", re.MULTILINE)
_CODE_BLOCK = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
# Spelt so that this file does not find itself.
_MACHINE_PATH = re.compile("(?<![A-Za-z0-9_.])/" + "(?:work|farm|root)/[A-Za-z.]")
_NOQA = re.compile(r"#\s*noqa(?!: [A-Z0-9, ]+  \S)|#\s*type:\s*ignore(?!\[[a-z, -]+\]  # \S)")


def committed() -> list[str]:
    """List what git has or would take: tracked files, and new ones that no ignore rule names."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    names = sorted({os.fsdecode(name) for name in listing.stdout.split(b"\0") if name})
    return [name for name in names if (ROOT / name).is_file()]


def texts(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Give name and content of every committed text; with suffixes, of those that end so."""
    for name in committed():
        if not suffixes or name.endswith(suffixes):
            content = (ROOT / name).read_bytes()
            if b"\0" not in content:
                yield name, content.decode("utf-8", "replace")


def modules() -> list[str]:
    return [name for name in committed() if name.endswith(".py") and name.startswith(SOURCES)]


def first_line(source: str) -> str:
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def test_every_module_says_in_its_first_line_why_it_exists() -> None:
    assert len(modules()) > 50
    silent = [name for name in modules() if not re.fullmatch(r"[A-Z`].{15,}\.", first_line((ROOT / name).read_text()))]
    assert silent == []


@pytest.mark.parametrize(
    ("source", "good"), [('"""Says why."""', True), ("x = 1", False), ('import a\n"""Too late."""', False)]
)
def test_only_a_docstring_at_the_top_is_a_first_line(source: str, good: bool) -> None:
    assert bool(first_line(source)) == good


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ":".join(str(folder / name) for name in PACKAGES)}
    command = [str(BIN / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy what the import contracts speak of."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_imports_point_down_only(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("proxy/hermit_proxy/request/target.py", "import hermit_workers", "imports point down only"),
        ("proxy/hermit_proxy/request/target.py", "import hermit_cli", "imports point down only"),
        ("workers/hermit_workers/__init__.py", "import hermit_cli", "imports point down only"),
        ("proxy/hermit_proxy/rules/file.py", "import twisted", "the core knows no framework"),
        ("proxy/hermit_proxy/request/key.py", "import mitmproxy", "the core knows no framework"),
        ("proxy/hermit_proxy/replayer/__init__.py", "import mitmproxy", "a replayer has no way out"),
        ("proxy/hermit_proxy/replayer/__init__.py", "import hermit_proxy.recorder.dialer", "a replayer has no way out"),
    ],
)
def test_an_import_that_points_elsewhere_is_found(copy: Path, module: str, line: str, contract: str) -> None:
    path = copy / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1, done.stdout
    broken = [text for text in done.stdout.splitlines() if text.endswith("BROKEN")]
    assert f"{contract} BROKEN" in broken


def configured_hosts() -> set[str]:
    """Ask the tools of this machine for their registries, as their own configuration has them."""
    asked = {
        (sys.executable, "-c", _PIP_HOSTS): r"(\S+)",
        ("npm", "config", "get", "registry"): r"https?://([^/\s]+)",
        ("go", "env", "GOPROXY"): r"https?://([^/,|\s]+)",
    }
    found: set[str] = set()
    for command, pattern in asked.items():
        if shutil.which(command[0]):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            found.update(re.findall(pattern, done.stdout))
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if path.is_file():
            found.update(
                re.findall(r"^(?:URIs:|deb)\s+(?:\[.*\]\s*)?https?://([^/\s]+)", path.read_text(), re.MULTILINE)
            )
    return {host for host in found if "." in host}


_PIP_HOSTS = """
from urllib.parse import urlsplit
from pip._internal.commands import create_command
from pip._internal.models.index import PyPI
options, _ = create_command("install").parse_args([])
indexes = [options.index_url, *options.extra_index_urls]
print(PyPI.netloc, PyPI.file_storage_domain, *(urlsplit(url).hostname for url in indexes), sep="\\n")
"""


def test_the_tools_of_this_machine_name_their_registries() -> None:
    assert len(configured_hosts()) >= 2


def test_no_committed_file_names_a_registry() -> None:
    hosts = configured_hosts()
    found = {
        (name, host)
        for name, text in texts()
        if not name.startswith(OLD_RECORDINGS)
        for host in hosts
        if host in text or host in name
    }
    assert found == set()


def test_no_committed_file_has_a_path_of_somebodys_machine() -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if _MACHINE_PATH.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see /" + "work/main", True),
        ("home=/" + "root/.cache", True),
        ("a/" + "root/b", False),
        ("https://example.org/" + "work", False),
    ],
)
def test_paths_of_machines_are_known_by_their_beginning(line: str, found: bool) -> None:
    assert bool(_MACHINE_PATH.search(line)) == found


def shell_scripts() -> list[str]:
    return [name for name, text in texts() if re.match(r"#!.*\b(ba|da)?sh\b", text)]


def test_shell_scripts_are_clean() -> None:
    assert {".ci/run", "script/demo", "script/setup", "script/test"} <= set(shell_scripts())
    done = subprocess.run(["shellcheck", *shell_scripts()], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_may_be_executed_and_say_what_they_are() -> None:
    for name in shell_scripts():
        assert os.access(ROOT / name, os.X_OK), name
        assert re.match(r"#!/\S+.*\n# [A-Z].{15,}", (ROOT / name).read_text()), name


def test_the_projects_own_build_runs_the_test_command() -> None:
    assert "script/test" in (ROOT / ".ci/run").read_text()


def anchors(text: str) -> set[str]:
    """Name the headings of a page as forges link them."""
    headings = _HEADING.findall(_CODE_BLOCK.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(name: str, text: str) -> list[str]:
    """List the links of a page to files or headings that are not there; links to the web are not followed."""
    broken = []
    for link in _LINK.findall(_CODE_BLOCK.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        there = target.exists() and (not anchor or (target.is_file() and anchor in anchors(target.read_text())))
        if not there:
            broken.append(f"{name}: {link}")
    return broken


def test_links_between_documents_lead_somewhere() -> None:
    assert [link for name, text in texts(".md") for link in broken_links(name, text)] == []


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[a](pyproject.toml)", 0),
        ("[a](nowhere.md)", 1),
        ("# One thing\n[a](#one-thing)", 0),
        ("[a](pyproject.toml#no-such-heading)", 1),
        ("[a](https://example.org/)", 0),
        ("```\n[a](nowhere.md)\n```", 0),
    ],
)
def test_a_link_that_leads_nowhere_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, broken: int
) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "page.md").write_text(text)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert len(broken_links("page.md", text)) == broken


def unreasoned(pyproject: str) -> list[str]:
    """List the lines of pyproject.toml that switch a rule off without saying why."""
    found, inside = [], False
    for line in pyproject.splitlines():
        if re.match(r"(ignore|\"[^\"]+\") = \[$", line):
            inside = True
        elif line.startswith("]"):
            inside = False
        elif inside and not re.search(r'^ +"[A-Z]+[0-9]*", +# \w', line):
            found.append(line)
    return found


def test_every_ignored_rule_has_its_reason() -> None:
    section = (ROOT / "pyproject.toml").read_text().partition("[tool.ruff.lint]")[2].partition("[tool.mypy]")[0]
    assert section.count("#") > 10
    assert unreasoned(section) == []
    assert unreasoned('ignore = [\n    "E501",\n]') == ['    "E501",']


def test_every_silenced_checker_has_its_reason() -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts(".py")
        if name != "tests/unit/test_repository.py"
        for number, line in enumerate(text.splitlines(), 1)
        if _NOQA.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        ("x  # noqa", True),
        ("x  # noqa: S101", True),
        ("x  # noqa: S101, PLR0911  it is a table", False),
        ("x  # type: ignore", True),
        ("x  # type: ignore[attr-defined]", True),
        ("x  # type: ignore[attr-defined]  # the stubs lag", False),
    ],
)
def test_a_bare_silencer_is_found(line: str, bare: bool) -> None:
    assert bool(_NOQA.search(line)) == bare


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~ ;]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def test_what_the_project_needs_is_pinned() -> None:
    pyproject: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    wanted = [*pyproject["build-system"]["requires"], *project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    lines = [line for line in (ROOT / "script/constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9A-Za-z.]+", line) for line in lines)
    assert requirement_names(wanted) - requirement_names(lines) == set()
