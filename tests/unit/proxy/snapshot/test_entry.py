"""An entry's identity must change with any part of it: an observation vouches for the whole."""

from __future__ import annotations

from dataclasses import fields, replace

from hermit_proxy.snapshot.entry import Entry

ENTRY = Entry(
    "GET",
    "https://registry.example.org/a",
    200,
    None,
    (("accept", "a/b"),),
    "ab" * 32,
    7,
    (("content-type", "a/b"), ("etag", '"x"')),
)
EDITS = {
    "method": "HEAD",
    "url": "https://registry.example.org/b",
    "status": 404,
    "body": "cd" * 32,
    "vary": (),
    "sha256": "cd" * 32,
    "size": 8,
    "headers": (("content-type", "a/b"), ("location", "/evil")),
    "stand_in": "token",
}


def test_editing_any_field_changes_the_identity() -> None:
    assert set(EDITS) == {field.name for field in fields(Entry)}
    edited = [replace(ENTRY, **{name: value}) for name, value in EDITS.items()]
    assert len({entry.id for entry in [ENTRY, *edited]}) == len(EDITS) + 1


def test_moving_text_between_fields_changes_the_identity() -> None:
    one = replace(ENTRY, vary=(("accept", "a"),), headers=())
    other = replace(ENTRY, vary=(), headers=(("accept", "a"),))
    assert one.id != other.id


def test_the_identity_is_stable_across_versions_of_this_code() -> None:
    # Stores hold observations by it: a change here makes every recording unobserved.
    assert ENTRY.id == "a9bc3f7366e1312fb3708b3e0d34b4306206bd36fb3d2b8485d851c822cdb8cb"


def test_a_kept_header_is_found_by_name() -> None:
    assert ENTRY.header("etag") == '"x"'
    assert ENTRY.header("location") is None
