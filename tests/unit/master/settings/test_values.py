"""Values of several places: secrets that are never told, addresses without tricks."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_master.settings import values
from hermit_proxy.closedyaml.file import Scalar
from hermit_proxy.closedyaml.reader import Reader


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "hermit.yaml")


def node(text: str) -> Scalar:
    return Scalar(3, text, plain=True)


def secret(path: Path, value: bytes, mode: int = 0o600) -> None:
    path.write_bytes(value)
    path.chmod(mode)


def test_a_secret_is_one_line_and_its_repr_says_nothing_of_it(reader: Reader, tmp_path: Path) -> None:
    secret(tmp_path / "token", b"not-to-be-seen\r\n")
    found = values.read_secret(reader, node("token"), "token", least=8)
    assert found == values.Secret(tmp_path / "token", b"not-to-be-seen")
    assert "not-to-be-seen" not in repr(found)
    assert reader.mistakes == []


@pytest.mark.parametrize(
    ("value", "mode", "told"),
    [
        (b"short\n", 0o600, "at least 8"),
        (b"two-lines\nof-them-here\n", 0o600, "one line"),
        (b"with a space\n", 0o600, "without spaces"),
        ("geheimnisvöll\n".encode(), 0o600, "ASCII"),
        (b"", 0o600, "at least 8"),
        (b"x" * 9000, 0o600, "larger than"),
        (b"open-to-others\n", 0o644, "other users"),
        (b"open-to-a-group\n", 0o640, "other users"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_without_it(
    reader: Reader, tmp_path: Path, value: bytes, mode: int, told: str
) -> None:
    secret(tmp_path / "token", value, mode)
    assert values.read_secret(reader, node("token"), "token", least=8) is None
    (mistake,) = reader.mistakes
    assert (mistake.path, mistake.line) == (reader.path, 3)
    assert told in mistake.message
    assert value.decode().strip() == "" or value.decode().strip() not in mistake.message


def test_a_secret_that_is_not_there_is_a_mistake_in_the_file_that_names_it(reader: Reader) -> None:
    assert values.read_secret(reader, node("nowhere"), "token", least=8) is None
    assert [mistake.line for mistake in reader.mistakes] == [3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://user:password@forge.example.org/", "password in a URL"),
        ("https://forge.example.org/?token=x", "without `\\?`"),
        ("https://forge.example.org/#x", "without `\\?`"),
        ("https://forge.example.org:0/", "no port 0"),
        ("https://forge.example.org:99999/", "Port out of range"),
        ("https://forge.example.org/ --upload-pack=x", "printable ASCII"),
        ("https://förge.example.org/", "printable ASCII"),
        ("https://[forge/", "Invalid IPv6"),
        ("ftp://forge.example.org/", "expected `https://host/`"),
        ("https:///path", "expected `https://host/`"),
        ("https://user@forge.example.org/", "expected `https://host/`"),
    ],
)
def test_an_address_has_no_secrets_and_no_tricks(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        values.parse_address(text)


def test_an_address_ends_with_one_slash() -> None:
    assert values.parse_address("https://ci.example.org") == values.parse_address("https://ci.example.org/")


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://forge.example.org/a/b", True),
        ("ssh://git@forge.example.org/a/b", True),
        ("http://127.0.0.1:3000/a/b", True),
        ("http://localhost/a/b", True),
        ("http://forge.example.org/a/b", False),
        ("http://localhost.example.org/a/b", False),
        ("file:///a/b", False),
    ],
)
def test_a_secret_goes_out_encrypted_or_not_at_all(url: str, safe: bool) -> None:
    assert values.is_safe(values.split_url(url)) == safe
