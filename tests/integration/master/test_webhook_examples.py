"""Every payload that GitHub's webhooks are documented with, signed and sent: accepted or refused as it should be."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from hermit_master.hooks.delivery import GITHUB, RefusedDeliveryError, open_delivery
from hermit_master.hooks.events import Event, Ignored, Push
from hermit_master.hooks.fields import BadPayloadError
from hermit_master.hooks.payload import read_event
from hermit_master.names import parse_project
from tests.support.deliveries import SECRET, Example, encoded, examples, signed

pytestmark = pytest.mark.registry

_DELETED = "a branch or tag was deleted"
_NO_COMMIT = "a pull request without a new commit"
_INSIDE = "its branch is of this repository, and built when it is pushed"
# What is expected of the package's pushes and pull requests, by edition, and how many there are.
EXPECTED = {
    ("api.github.com", "push"): {"branch": 2, "tag": 1, _DELETED: 4},
    ("api.github.com", "pull_request"): {_INSIDE: 7, _NO_COMMIT: 22},
    ("ghes-31", "push"): {_DELETED: 1},
    ("ghes-31", "pull_request"): {_INSIDE: 1},
    ("ghes-32", "push"): {_DELETED: 1},
    ("ghes-32", "pull_request"): {_INSIDE: 1},
    ("ghes-33", "push"): {"tag": 1},
    ("ghes-33", "pull_request"): {_INSIDE: 1},
    ("ghes-34", "push"): {"tag": 2},
    ("ghes-34", "pull_request"): {_INSIDE: 2, _NO_COMMIT: 5},
    ("ghes-35", "push"): {"tag": 2},
    ("ghes-35", "pull_request"): {_INSIDE: 2, _NO_COMMIT: 5},
}
_ALL = 726


def opened(example: Example) -> Event:
    delivery = signed(encoded(example.payload), example.event)
    found = open_delivery(GITHUB, delivery, SECRET)
    assert found.payload == example.payload
    return read_event(found.event, found.payload, parse_project(example.project))


def outcome(event: Event) -> str:
    if isinstance(event, Push):
        return event.kind.value
    return event.reason if isinstance(event, Ignored) else "pull request"


def test_pushes_are_built_and_nothing_else_is() -> None:
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for example in examples():
        found[example.source, example.event][outcome(opened(example))] += 1
    assert sum(counted.total() for counted in found.values()) == _ALL
    for (source, event), counted in found.items():
        expected = EXPECTED.get((source, event), {f"{event} asks for no build": counted.total()})
        assert counted == expected, (source, event)
    assert EXPECTED.keys() <= found.keys()


def test_every_example_is_refused_with_another_signature() -> None:
    for example in examples():
        body = encoded(example.payload)
        for delivery in (
            signed(body, example.event, secret=b"another-secret-here"),
            signed(body, example.event, x_hub_signature_256="", x_hub_signature="sha1=" + "0" * 40),
            signed(body, example.event, content_type="application/x-www-form-urlencoded"),
        ):
            with pytest.raises(RefusedDeliveryError):
                open_delivery(GITHUB, delivery, SECRET)


def test_every_push_and_pull_request_is_refused_at_the_hook_of_another_repository() -> None:
    for example in examples():
        if example.event in {"push", "pull_request"}:
            with pytest.raises(BadPayloadError, match="told of another"):
                read_event(example.event, example.payload, parse_project("org/other"))


def test_the_pull_requests_that_bring_something_new_are_built_where_they_come_from_a_fork() -> None:
    found = []
    for example in examples():
        if example.event == "pull_request":
            payload = copy.deepcopy(example.payload)
            payload["pull_request"]["head"]["repo"]["full_name"] = "stranger/fork"
            found.append(outcome(opened(replace(example, payload=payload))))
    assert Counter(found) == {"pull request": 14, _NO_COMMIT: 32}
