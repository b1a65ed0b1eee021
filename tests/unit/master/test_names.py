"""Names of strangers: what git takes and what can be seen is taken, tricks are not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_master import names
from hermit_master.names import BadNameError

_SIGNS = list("abA09-_./@{}~^:?*[]\\$`;&|<>()'\"!#%=+, \t\n\x00\x7f\u202e\u200bäé中")


def taken(parse: Callable[[str], str], text: str) -> bool:
    try:
        found, told = parse(text), ""
    except BadNameError as error:
        found, told = "", str(error)
    assert found in {"", text, text.lower()}
    assert told.isprintable()
    return not told


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("main", True),
        ("feature/a-b_c.d", True),
        ("dependabot/npm_and_yarn/@types/node-1.0", True),
        ("fix#1+2=3", True),
        ("ünïcode", True),
        ("$(touch${IFS}ran)", True),
        ("`id`;reboot&|'\"<>!", True),
        ("a" * 200, True),
        ("a" * 201, False),
        ("ü" * 101, False),
        ("", False),
        ("@", False),
        ("-", False),
        ("--upload-pack=x", False),
        ("refs/pull/1/head", False),
        ("refs/tags/v1", False),
        ("a b", False),
        ("a\nb", False),
        ("a\x00b", False),
        ("a\u202eb", False),
        ("a\u200bb", False),
        ("a\udcffb", False),
        ("../../etc/passwd", False),
        ("a/../b", False),
        ("a..b", False),
        ("/a", False),
        ("a/", False),
        ("a//b", False),
        (".a", False),
        ("a/.b", False),
        ("a.lock", False),
        ("a.lock/b", False),
        ("a.", False),
        ("a@{1}", False),
        ("a~1", False),
        ("a^", False),
        ("a:b", False),
        ("+a:refs/heads/main", False),
        ("a*", False),
        ("a[b]", False),
        ("a\\b", False),
    ],
)
def test_a_branch_is_named_as_git_and_people_can_read_it(text: str, good: bool) -> None:
    assert taken(names.parse_branch, text) == good
    assert taken(names.parse_tag, text) == good


@given(st.text(st.sampled_from(_SIGNS), max_size=12) | st.text(max_size=12))
def test_no_branch_is_taken_that_git_refuses(text: str) -> None:
    if taken(names.parse_branch, text):
        command = ["git", "check-ref-format", "--branch", text]
        done = subprocess.run(command, check=True, capture_output=True)
        assert done.stdout.decode() == f"{text}\n"
        assert names.branch_ref(names.parse_branch(text)) == f"refs/heads/{text}"


@pytest.mark.parametrize(
    ("parse", "text", "good"),
    [
        (names.parse_sha, "a" * 40, True),
        (names.parse_sha, "0123456789abcdef" * 4, True),
        (names.parse_sha, "A" * 40, False),
        (names.parse_sha, "0" * 40, False),
        (names.parse_sha, "a" * 39, False),
        (names.parse_sha, "a" * 40 + "\n", False),
        (names.parse_sha, "HEAD", False),
        (names.parse_repository_id, "my-project_1.x", True),
        (names.parse_repository_id, "My", False),
        (names.parse_repository_id, "a/b", False),
        (names.parse_repository_id, "..", False),
        (names.parse_repository_id, "a..b", False),
        (names.parse_repository_id, "a.", False),
        (names.parse_repository_id, "-a", False),
        (names.parse_repository_id, "a" * 65, False),
        (names.parse_repository_id, "", False),
        (names.parse_project, "Owner/Name.js", True),
        (names.parse_project, "group/sub/name", True),
        (names.parse_project, "owner/.github", True),
        (names.parse_project, "name", False),
        (names.parse_project, "owner/../name", False),
        (names.parse_project, "owner/.", False),
        (names.parse_project, "owner/..", False),
        (names.parse_project, "owner/name.git", False),
        (names.parse_project, "owner//name", False),
        (names.parse_project, "owner/na me", False),
        (names.parse_project, "o/" + "n" * 200, False),
        (names.parse_login, "Alice-1", True),
        (names.parse_login, "dependabot[bot]", True),
        (names.parse_login, "a b", False),
        (names.parse_login, "a[admin]", False),
        (names.parse_login, "alice\n", False),
        (names.parse_login, "", False),
        (names.parse_delivery, "72d3162e-cc78-11e3-81ab-4c9367dc0958", True),
        (names.parse_delivery, "a/b", False),
        (names.parse_delivery, "", False),
        (names.parse_delivery, "a" * 65, False),
    ],
)
def test_other_names_are_held_to_a_few_signs(parse: Callable[[str], str], text: str, good: bool) -> None:
    assert taken(parse, text) == good


@given(st.text(max_size=70))
def test_whatever_a_name_is_only_this_error_comes(text: str) -> None:
    for parse in (
        names.parse_branch,
        names.parse_tag,
        names.parse_sha,
        names.parse_repository_id,
        names.parse_project,
        names.parse_login,
        names.parse_delivery,
    ):
        taken(parse, text)


def test_accounts_are_compared_as_forges_compare_them() -> None:
    assert names.parse_login("Alice") == names.parse_login("aLICE") == "alice"
