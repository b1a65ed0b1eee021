"""The small languages of a spec: what they take, what they refuse, and in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_steps import grammar

_PACKAGES = [
    "bash",
    "g++",
    "libstdc++6",
    "python3.11-dev",
    "0ad",
    "libc6:amd64",
    "vim=2:9.0.1378-2+deb12u2",
    "vim=1.0~rc1",
    "vim:arm64=1",
    "vim/bookworm-backports",
    "vim:i386/stable",
]
_NO_PACKAGES = [
    "-y",
    "--reinstall",
    "-oDebug::NoLocking=1",
    "",
    "a",
    "Bash",
    "foo bar",
    "foo\n",
    "foo*",
    "foo^",
    "?all",
    "~nfoo",
    "./local.deb",
    "/x.deb",
    "foo=",
    "foo=1.*",
    "foo=1/stable",
    "foo/",
    "foo=$(id)",
    "fóo",
]


@pytest.mark.parametrize("text", _PACKAGES)
def test_packages_are_taken_as_apt_get_writes_them(text: str) -> None:
    grammar.check_package(text)


@pytest.mark.parametrize("text", _NO_PACKAGES)
def test_what_is_no_package_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected `name`"):
        grammar.check_package(text)


@pytest.mark.parametrize("text", ["bash-", "g++-", "vim=1.0-", "vim:amd64-", "vim/stable-"])
def test_an_order_to_remove_a_package_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="would remove"):
        grammar.check_package(text)


@given(st.text(max_size=30))
def test_no_package_is_an_option_a_file_or_an_expression(text: str) -> None:
    try:
        grammar.check_package(text)
    except ValueError:
        return
    assert text[0].isalnum()
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set("*?[]^$(){}|~\\ ;&<>'\"") - {"~"}
    assert "~" not in text.partition("=")[0].partition("/")[0]


_PATTERNS = ["*", "dist/*", "**", "**/*.deb", "a/**/b", "a b/c", "x?[0-9].log", "[!a]b", "[]]", "[[]x", "[{]", "ä"]
_NO_PATTERNS = [
    ("/etc/passwd", "absolute"),
    ("!dist/x", "no exceptions"),
    ("a\\*", "no escapes"),
    ("..", "leads nowhere"),
    ("a/../b", "leads nowhere"),
    ("./a", "leads nowhere"),
    ("a//b", "empty name"),
    ("dist//", "empty name"),
    ("**.deb", "stands alone"),
    ("a/***/b", "stands alone"),
    ("[a", "without its"),
    ("[]", "without its"),
    ("[!]", "without its"),
    ("[a/b]", "without its"),
    ("[z-a]", "range z-a is empty"),
    ("*.{whl,gz}", "no choice"),
    ("a\x07", "control character"),
    ("a\nb", "control character"),
    ("\u202egpj.exe", "control character"),
    ("a" * 1025, "longer than"),
]


@pytest.mark.parametrize("text", _PATTERNS)
def test_patterns_of_artifacts_are_taken(text: str) -> None:
    grammar.check_pattern(text)


@pytest.mark.parametrize(("text", "told"), _NO_PATTERNS)
def test_what_is_no_pattern_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        grammar.check_pattern(text)


@given(st.text(alphabet="ab/.*?[]!-{}\\", max_size=12))
def test_a_pattern_never_leaves_the_project(text: str) -> None:
    try:
        grammar.check_pattern(text)
    except ValueError:
        return
    assert not text.startswith("/")
    assert not {"", ".", ".."} & set(text.removesuffix("/").split("/"))


@pytest.mark.parametrize(
    ("text", "path"),
    [("a", "a"), (".", "."), ("a//b/", "a/b"), ("./-x", "-x"), ("a b", "a b"), (".hermit/x", ".hermit/x")],
)
def test_paths_are_read_relative_to_the_project(text: str, path: str) -> None:
    assert str(grammar.parse_path(text)) == path


@pytest.mark.parametrize(
    ("text", "told"),
    [("/a", "absolute"), ("..", "leads out"), ("a/../../b", "leads out"), ("a\0", "control"), ("a" * 1025, "longer")],
)
def test_a_path_out_of_the_project_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        grammar.parse_path(text)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("a.tar", ".tar"),
        ("d/a.tar.gz", ".tar.gz"),
        ("a.tgz", ".tgz"),
        ("a.tar.xz", ".tar.xz"),
        ("a.tar.zst", ".tar.zst"),
    ],
)
def test_an_archive_is_packed_as_its_suffix_says(text: str, suffix: str) -> None:
    assert grammar.archive_suffix(grammar.parse_archive(text)) == suffix


@pytest.mark.parametrize("text", ["a.zip", "a.tar.bz2", "a.gz", ".tar", "tar", "d/.tar.gz"])
def test_other_files_are_no_archives(text: str) -> None:
    with pytest.raises(ValueError, match="ends in"):
        grammar.parse_archive(text)


def test_a_recipe_is_a_yaml_file_of_the_project() -> None:
    assert grammar.parse_recipe("./.hermit/image.yaml") == ".hermit/image.yaml"
    for text, told in (("a/b", "ends in .yaml"), ("../x.yaml", "leads out"), ("/x.yaml", "absolute")):
        with pytest.raises(ValueError, match=told):
            grammar.parse_recipe(text)


@pytest.mark.parametrize("text", ["Run the tests", "step-1", "1st", "-x", "ä"])
def test_a_step_may_have_any_name_that_fits_a_line(text: str) -> None:
    grammar.check_name(text)


@pytest.mark.parametrize("text", ["12", "a\nb", " a", "a\x1b[31m", "a" * 81, "\u202ea"])
def test_a_name_that_is_a_number_or_no_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a name is one line|a number means"):
        grammar.check_name(text)


def test_a_script_has_a_command_and_fits_an_argument() -> None:
    grammar.check_script("x" * grammar.MAX_TEXT)
    for text, told in ((" \n", "no command"), ("a\0b", "NUL"), ("x" * (grammar.MAX_TEXT + 1), "longer than 100,000")):
        with pytest.raises(ValueError, match=told):
            grammar.check_script(text)


@pytest.mark.parametrize(("text", "good"), [("A", True), ("_a1", True), ("1A", False), ("A-B", False), ("A=B", False)])
def test_a_variable_has_a_name_that_shells_take(text: str, good: bool) -> None:
    if good:
        grammar.check_variable(text)
        return
    with pytest.raises(ValueError, match="a variable's name"):
        grammar.check_variable(text)
