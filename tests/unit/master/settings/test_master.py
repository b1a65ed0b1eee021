"""The master's own file: every key is read, every mistake has its line."""

from __future__ import annotations

import pytest

from hermit_master.settings.login import PasswordLogin
from hermit_master.settings.master import Author, Settings, read_master
from hermit_proxy.errors import InputError
from hermit_proxy.settings import Settings as Machine
from tests.support.operator import MASTER, Operator


def read(operator: Operator, text: str) -> Settings:
    operator.write(text)
    settings, reader = read_master(operator.file)
    reader.finish()
    return settings


def test_what_is_left_out_has_its_default(operator: Operator) -> None:
    found = read(operator, MASTER)
    expected = Settings(operator.file, "https://ci.example.org/", operator.repositories, Machine())
    assert found == expected
    assert found.listen == ("127.0.0.1", 8010)
    assert found.login is None


def test_every_key_is_read(operator: Operator) -> None:
    users = operator.secret("users", "alice:x")
    operator.secret("database", "not-to-be-seen")
    (operator.folder / "machine.yaml").write_text("store: /srv/hermit\ncell: vm\n")
    (operator.folder / "others").mkdir()
    found = read(
        operator,
        "url: http://ci.example.org\n"
        "listen: '[::1]:8011'\n"
        "database: postgresql://hermit@db.example.org/hermit\n"
        "database_password: database\n"
        "repositories: others\n"
        "machine: machine.yaml\n"
        "builds: 8\n"
        "author: {name: Record Keeper, email: hermit@example.org}\n"
        "nightly: '23:59'\n"
        "login: {by: password, file: users}\n"
        "maintainers: [Alice]\n",
    )
    assert (found.url, found.listen, found.builds) == ("http://ci.example.org/", ("::1", 8011), 8)
    assert found.database == "postgresql://hermit@db.example.org/hermit"
    assert found.database_password is not None
    assert found.database_password.value == b"not-to-be-seen"
    assert found.repositories == operator.folder / "others"
    assert (found.machine.store, found.machine.cell) == ("/srv/hermit", "vm")
    assert found.author == Author("Record Keeper", "hermit@example.org")
    assert found.nightly == (23, 59)
    assert found.login == PasswordLogin(users)
    assert found.maintainers == {"alice"}
    assert "not-to-be-seen" not in repr(found)


def test_there_may_be_no_nightly_rebuild(operator: Operator) -> None:
    assert read(operator, MASTER + "nightly: never\n").nightly is None


@pytest.mark.parametrize(
    ("line", "text", "told"),
    [
        (1, "url: ci.example.org", "url: expected `https://host/`"),
        (1, "url: [a]", "expected url as a text"),
        (2, "listen: 8010", "expected `host:port`"),
        (2, "listen: 'a:0'", "expected `host:port`"),
        (2, "listen: 'a:65536'", "expected `host:port`"),
        (2, "database: mysql://a/b", "found 'mysql'"),
        (2, "database: 'postgresql://a:secret-word@b/c'", "password in a URL"),
        (2, "database: 'postgresql://a@b/c?password=secret-word'", "password in a URL"),
        (2, "database_password: nowhere", "cannot be read"),
        (2, "repositories: nowhere", "there is no folder"),
        (2, "machine: nowhere.yaml", "there is no file"),
        (2, "builds: 0", "at least 1"),
        (2, "builds: many", "whole number"),
        (2, "author: Hermit", "as a mapping"),
        (2, "author: {name: Hermit}", "author needs the key `email`"),
        (2, 'author: {name: "a <b>", email: a@example.org}', "author.name"),
        (2, 'author: {name: "a\\nb", email: a@example.org}', "author.name"),
        (2, 'author: {name: " ", email: a@example.org}', "author.name"),
        (2, 'author: {name: a, email: "a@example.org>"}', "author.email"),
        (2, "nightly: '24:00'", "a time of day"),
        (2, "nightly: 3am", "a time of day"),
        (2, "maintainers: [alice]", "without `login`"),
        (2, "login: {by: x}", "login.by"),
        (2, "secret: x", "unknown key"),
    ],
)
def test_each_mistake_has_its_line(operator: Operator, line: int, text: str, told: str) -> None:
    lines = [MASTER.strip()]
    lines[line - 1 : line] = [text]
    with pytest.raises(InputError) as caught:
        read(operator, "\n".join([*lines, ""]))
    found = [(mistake.line, told in mistake.message) for mistake in caught.value.mistakes]
    assert found == [(line, True)], str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_without_an_address_there_is_no_master(operator: Operator) -> None:
    with pytest.raises(InputError, match="needs the key `url`"):
        read(operator, "builds: 1\n")


def test_mistakes_of_the_machines_file_are_told_with_it(operator: Operator) -> None:
    (operator.folder / "machine.yaml").write_text("stor: /srv\n")
    with pytest.raises(InputError) as caught:
        read(operator, MASTER + "machine: machine.yaml\n")
    assert [mistake.path for mistake in caught.value.mistakes] == [operator.folder / "machine.yaml"]
