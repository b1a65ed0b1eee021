"""How people log in: the keys of each kind, and no others."""

from __future__ import annotations

import pytest

from hermit_master.settings.login import ForgeLogin, Login, PasswordLogin, read_login
from hermit_master.settings.values import Secret
from hermit_proxy.closedyaml.file import Mapping, loads
from hermit_proxy.closedyaml.reader import Reader
from tests.support.operator import Operator


def read(operator: Operator, text: str) -> tuple[Login | None, list[str]]:
    node = loads(f"login: {text}\n".encode(), operator.file)
    assert isinstance(node, Mapping)
    reader = Reader(operator.file)
    return read_login(reader, node.items[0][1]), [mistake.message for mistake in reader.mistakes]


def test_each_kind_is_read(operator: Operator) -> None:
    users = operator.secret("users", "alice:x")
    secret = Secret(operator.secret("oauth", "not-to-be-seen"), b"not-to-be-seen")
    cases = {
        "{by: password, file: users}": PasswordLogin(users),
        "{by: github, client: id, secret: oauth}": ForgeLogin("github", None, "id", secret),
        "{by: gitea, url: 'https://forge.example.org', client: id, secret: oauth}": ForgeLogin(
            "gitea", "https://forge.example.org/", "id", secret
        ),
    }
    for text, expected in cases.items():
        assert read(operator, text) == (expected, [])
        assert "not-to-be-seen" not in repr(expected)
    assert read_login(Reader(operator.file), None) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{file: hook}", "login needs the key `by`"),
        ("{by: ldap}", "one of password, github, gitea"),
        ("{by: password}", "login by password needs the key `file`"),
        ("{by: password, file: nowhere}", "there is no file"),
        ("{by: password, file: hook, client: a}", "has no use for `client`"),
        ("{by: github, client: a}", "login by github needs the key `secret`"),
        ("{by: gitea, client: a, secret: hook}", "login by gitea needs the key `url`"),
        ("{by: github, client: a, secret: hook, file: hook}", "has no use for `file`"),
        ("{by: github, client: a, secret: hook, url: 'ftp://a/'}", "expected `https://host/`"),
        ("password", "expected login as a mapping"),
    ],
)
def test_each_mistake_is_told(operator: Operator, text: str, told: str) -> None:
    _, mistakes = read(operator, text)
    assert [told in mistake for mistake in mistakes].count(True) == 1, mistakes
