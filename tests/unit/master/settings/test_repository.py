"""A repository's file: every key is read, every mistake has its line, nothing secret is told."""

from __future__ import annotations

import pytest

from hermit_master.settings.repository import Forge, Repository, read_repository
from hermit_master.settings.values import Secret
from hermit_proxy.errors import InputError
from tests.support.operator import HOOK_SECRET, REPOSITORY, Operator


def read(operator: Operator, text: str = REPOSITORY, name: str = "project") -> Repository:
    return read_repository(operator.repository(name, text), "sandbox")


def mistakes(operator: Operator, text: str, name: str = "project") -> list[tuple[int | None, str]]:
    with pytest.raises(InputError) as caught:
        read(operator, text, name)
    assert {mistake.path for mistake in caught.value.mistakes} == {operator.repositories / f"{name}.yaml"}
    return [(mistake.line, mistake.message) for mistake in caught.value.mistakes]


def test_what_is_left_out_has_its_default(operator: Operator) -> None:
    found = read(operator)
    assert found == Repository(
        "project",  # type: ignore[arg-type]  # the names are plain texts here
        operator.repositories / "project.yaml",
        Forge.GITHUB,
        "https://forge.example.org/org/project.git",
        "org/project",  # type: ignore[arg-type]  # as above
        "main",  # type: ignore[arg-type]  # as above
        Secret(operator.repositories / "../hook", HOOK_SECRET.encode()),
    )
    assert found.home == "forge.example.org/org/project"
    assert found.forks == "vm"
    assert found.record
    assert not found.secrets_when_recording


def test_every_key_is_read(operator: Operator) -> None:
    operator.secret("token", "the-token-of-it")
    operator.secret("signing", "the-signing-key")
    operator.secret("index", "the-secret-of-the-index")
    operator.secret(
        "credentials.yaml",
        "credentials:\n  index: {host: index.example.org, path: /a/, secret_file: index, as: bearer}\n",
    )
    found = read(
        operator,
        "forge: forgejo\n"
        "url: ssh://git@forge.example.org:2222/srv/git/project.git\n"
        "project: Group/Sub/Project\n"
        "branch: trunk\n"
        "poll: 5m\n"
        "token: ../token\n"
        "trusted: [Alice, 'renovate[bot]']\n"
        "record: false\n"
        "nightly: false\n"
        "cell: vm\n"
        "forks: refused\n"
        "credentials: ../credentials.yaml\n"
        "secrets: {SIGNING_KEY: ../signing}\n"
        "secrets_when_recording: true\n",
    )
    assert found.forge is Forge.FORGEJO
    assert (found.project, found.branch, found.poll, found.hook_secret) == ("Group/Sub/Project", "trunk", 300.0, None)
    assert found.token is not None
    assert found.token.value == b"the-token-of-it"
    assert found.trusted == {"alice", "renovate[bot]"}
    assert (found.record, found.nightly, found.cell, found.forks) == (False, False, "vm", None)
    assert found.credentials == operator.repositories / "../credentials.yaml"
    assert found.secrets["SIGNING_KEY"].value == b"the-signing-key"
    assert found.secrets_when_recording
    assert not any(secret in repr(found) for secret in ("the-token-of-it", "the-signing-key", "secret-of-the-index"))


def test_a_masters_cell_is_that_of_its_repositories(operator: Operator) -> None:
    assert read_repository(operator.repository("a"), "vm").cell == "vm"
    assert read_repository(operator.repository("b", REPOSITORY + "cell: sandbox\n"), "vm").cell == "sandbox"


@pytest.mark.parametrize(
    ("line", "text", "told"),
    [
        (1, "forge: gitlab", "expected forge as one of github, gitea, forgejo"),
        (1, "forge: githup", "did you mean `github`"),
        (2, "url: org/project", "begins with https://"),
        (2, "url: git@forge.example.org:org/project.git", "begins with https://"),
        (2, "url: ext::sh -c reboot", "printable ASCII"),
        (2, "url: ext::reboot", "begins with https://"),
        (2, "url: --upload-pack=reboot", "begins with https://"),
        (2, "url: ssh://-oProxyCommand=reboot/org/project", "takes for an option"),
        (2, "url: ssh://-l@forge.example.org/org/project", "takes for an option"),
        (2, "url: https://bot@forge.example.org/org/project", "belongs to ssh:// only"),
        (2, "url: https://bot:token@forge.example.org/org/project", "password in a URL"),
        (2, "url: https://forge.example.org/project.git", "say `project: owner/name`"),
        (2, "url: file://host/org/project", "file:///path"),
        (2, "url: https:///org/project", "https://host/owner/name.git"),
        (3, "branch: a..b", "no name of a branch"),
        (3, "branch: --all", "no name of a branch"),
        (3, "branch: [main]", "expected branch as a text"),
        (4, "hook_secret: ../nowhere", "cannot be read"),
        (4, "hook_secret: ../short", "at least 16"),
        (4, "poll: 1s", "at least 10s"),
        (4, "poll: often", "expected poll as a time"),
        (5, "project: project", "as `owner/name`"),
        (5, "token: ../open", "other users may read"),
        (5, "trusted: alice", "expected trusted as a list"),
        (5, "trusted: ['a b']", "no name of an account"),
        (5, "record: yes", "true or false"),
        (5, "nightly: 'true'", "true or false"),
        (5, "cell: docker", "one of sandbox, vm"),
        (5, "forks: maybe", "one of sandbox, vm, refused"),
        (5, "secrets: {../x: ../hook}", "letters, digits"),
        (5, "secrets: {A: ../nowhere}", "secrets.A"),
        (5, "secrets: [A]", "as a mapping"),
        (5, "credentials: ../nowhere", "there is no file"),
        (5, "hook-secret: ../hook", "did you mean `hook_secret`"),
        (5, "password: x", "unknown key"),
    ],
)
def test_each_mistake_has_its_line(operator: Operator, line: int, text: str, told: str) -> None:
    operator.secret("short", "fifteen-letters")
    operator.secret("open", "open-to-everybody", mode=0o644)
    lines = REPOSITORY.splitlines()
    lines[line - 1 : line] = [text]
    found = mistakes(operator, "\n".join([*lines, ""]))
    assert [(line, told in message) for line, message in found] == [(line, True)], found


@pytest.mark.parametrize("missing", ["forge", "url", "branch"])
def test_what_has_to_be_there_is_named(operator: Operator, missing: str) -> None:
    text = "".join(line for line in REPOSITORY.splitlines(keepends=True) if not line.startswith(missing))
    assert mistakes(operator, text) == [(1, f"a repository needs the key `{missing}`")]


def test_all_mistakes_are_told_at_once(operator: Operator) -> None:
    found = mistakes(operator, "forge: x\nurl: y\nbranch: -z\npol: 5m\ncell: w\n")
    assert [line for line, _ in found] == [4, 1, 2, 3, None, 5]


def test_somebody_has_to_tell_of_pushes(operator: Operator) -> None:
    text = REPOSITORY.replace("hook_secret: ../hook\n", "")
    (found,) = mistakes(operator, text)
    assert "nothing would tell of pushes" in found[1]


@pytest.mark.parametrize("name", ["Project", "a b", "-a", "a..b", "ü"])
def test_the_files_name_is_the_repositorys(operator: Operator, name: str) -> None:
    ((line, told),) = mistakes(operator, REPOSITORY, name)
    assert line is None
    assert "expected a repository's name" in told


def test_a_token_is_not_sent_over_http(operator: Operator) -> None:
    operator.secret("token", "the-token-of-it")
    text = REPOSITORY.replace("https:", "http:") + "token: ../token\n"
    assert mistakes(operator, text) == [(5, "a token goes over https only")]
    assert read(operator, text.replace("forge.example.org", "127.0.0.1:3000")).token is not None


def test_mistakes_in_a_file_of_credentials_are_told_with_it(operator: Operator) -> None:
    path = operator.secret("credentials.yaml", "credentials:\n  index: {host: a.example.org}\n")
    with pytest.raises(InputError) as caught:
        read(operator, REPOSITORY + "credentials: ../credentials.yaml\n")
    assert {mistake.path.resolve() for mistake in caught.value.mistakes} == {path}


def test_a_file_that_is_no_mapping_is_told_so(operator: Operator) -> None:
    assert any("as a mapping" in told for _, told in mistakes(operator, "- a\n"))
    assert any("as a mapping" in told for _, told in mistakes(operator, ""))
