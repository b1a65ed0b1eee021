"""Every way a request can go, from the empty case up: what nothing admits is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from hermit_proxy.policy import Decision, Fetch, Mode, Reason, Refuse, Replay, decide
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import Action, Rule, Rules
from hermit_proxy.rules.pattern import compile_pattern
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot

URL = "https://registry.example.org/a/b"
ENTRY = Entry("GET", URL, 200, sha256="ab" * 32, size=1)
TOKEN = Entry("GET", URL, 200, stand_in="token")
CHALLENGE = Entry("GET", URL, 401)


@dataclass
class Known:
    """Is evidence as a store would give it."""

    observations: bool = True
    bodies: bool = True

    def observed(self, _entry: Entry) -> bool:
        return self.observations

    def has_body(self, _entry: Entry) -> bool:
        return self.bodies


def rule(action: Action, pattern: str = "registry.example.org/.*") -> Rule:
    return Rule(compile_pattern(pattern), action)


def ask(
    *rules: Rule,
    entry: Entry | None = ENTRY,
    evidence: Known | None = None,
    mode: Mode = Mode.RECORD,
    online: bool = True,
    url: str = URL,
    method: str = "GET",
) -> Decision:
    snapshot = Snapshot([entry] if entry else [])
    return decide(Request(method, parse_url(url)), Rules(rules), snapshot, evidence or Known(), mode, online=online)


@pytest.mark.parametrize("mode", Mode)
def test_without_rules_everything_is_refused(mode: Mode) -> None:
    assert ask(mode=mode) == Refuse(Reason.NO_RULE)


REPLAYED, FETCHED = "replayed", "fetched"


@pytest.mark.parametrize(
    ("action", "mode", "entry", "evidence", "expected"),
    [
        (Action.REJECT, Mode.RECORD, ENTRY, Known(), Reason.REJECTED),
        (Action.REJECT, Mode.HERMETIC, ENTRY, Known(), Reason.REJECTED),
        *((action, Mode.HERMETIC, ENTRY, Known(), REPLAYED) for action in Action if action is not Action.REJECT),
        *((action, Mode.HERMETIC, None, Known(), Reason.NOT_RECORDED) for action in list(Action)[1:]),
        *((action, Mode.HERMETIC, ENTRY, Known(observations=False), Reason.UNOBSERVED) for action in list(Action)[1:]),
        (Action.NO_STORE, Mode.HERMETIC, TOKEN, Known(), REPLAYED),
        (Action.LOCKED, Mode.RECORD, ENTRY, Known(), REPLAYED),
        (Action.LOCKED, Mode.RECORD, None, Known(), Reason.NOT_RECORDED),
        (Action.LOCKED, Mode.RECORD, ENTRY, Known(observations=False), Reason.UNOBSERVED),
        (Action.ALLOW, Mode.RECORD, ENTRY, Known(), REPLAYED),
        (Action.ALLOW, Mode.RECORD, None, Known(), FETCHED),
        (Action.ALLOW, Mode.RECORD, ENTRY, Known(observations=False), FETCHED),
        (Action.ALLOW, Mode.RECORD, ENTRY, Known(bodies=False), FETCHED),
        (Action.ALLOW, Mode.RECORD, TOKEN, Known(), FETCHED),
        (Action.ALLOW, Mode.RECORD, CHALLENGE, Known(), FETCHED),
        (Action.ALLOW, Mode.RECORD, replace(CHALLENGE, status=404), Known(), REPLAYED),
        (Action.REFRESH, Mode.RECORD, ENTRY, Known(), FETCHED),
        (Action.NO_STORE, Mode.RECORD, ENTRY, Known(), FETCHED),
    ],
)
def test_action_mode_entry_and_evidence_decide(
    action: Action, mode: Mode, entry: Entry | None, evidence: Known, expected: str | Reason
) -> None:
    decision = ask(rule(action), entry=entry, evidence=evidence, mode=mode)
    if isinstance(expected, Reason):
        assert decision == Refuse(expected, rule(action))
        assert decision.broken == (expected is not Reason.REJECTED)
    elif expected == REPLAYED:
        assert entry is not None
        assert decision == Replay(entry, rule(action))
    else:
        assert decision == Fetch(rule(action), URL, keep=action is not Action.NO_STORE, known=entry)


@pytest.mark.parametrize(
    ("action", "mode", "replayed"),
    [
        (Action.ALLOW, Mode.RECORD, False),
        (Action.LOCKED, Mode.RECORD, True),
        (Action.ALLOW, Mode.HERMETIC, True),
    ],
)
def test_a_variant_for_other_headers_will_do_only_where_the_server_is_not_asked(
    action: Action, mode: Mode, replayed: bool
) -> None:
    full = replace(ENTRY, vary=(("accept", "application/json"),), headers=(("content-type", "application/json"),))
    headers = {"accept": "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"}
    request = Request("GET", parse_url(URL), headers)
    decision = decide(request, Rules((rule(action),)), Snapshot([full]), Known(), mode)
    assert isinstance(decision, Replay if replayed else Fetch), decision


@pytest.mark.parametrize(
    ("action", "mode", "fresh", "replayed"),
    [
        (Action.ALLOW, Mode.RECORD, (), False),
        (Action.ALLOW, Mode.RECORD, (ENTRY.id,), True),
        (Action.REFRESH, Mode.RECORD, (ENTRY.id,), False),
        (Action.LOCKED, Mode.RECORD, (), True),
        (Action.ALLOW, Mode.HERMETIC, (), True),
    ],
)
def test_a_refresh_asks_again_for_all_but_what_this_run_has_recorded(
    action: Action, mode: Mode, fresh: tuple[str, ...], replayed: bool
) -> None:
    request, rules = Request("GET", parse_url(URL)), Rules((rule(action),))
    decision = decide(request, rules, Snapshot([ENTRY]), Known(), mode, refresh=True, fresh=fresh)
    assert isinstance(decision, Replay if replayed else Fetch), decision


def test_the_first_rule_that_matches_decides() -> None:
    locked = rule(Action.LOCKED, "registry.example.org/a/.*")
    assert ask(locked, rule(Action.REJECT)) == Replay(ENTRY, locked)
    assert ask(rule(Action.REJECT), locked) == Refuse(Reason.REJECTED, rule(Action.REJECT))


def test_a_step_without_network_gets_nothing_in_either_mode() -> None:
    allow = rule(Action.ALLOW)
    for mode in Mode:
        assert ask(allow, mode=mode, online=False) == Refuse(Reason.STEP_OFFLINE, allow)
        # What the project itself rejects is an expected answer there too, and does not break the build.
        reject = rule(Action.REJECT)
        assert ask(reject, mode=mode, online=False) == Refuse(Reason.REJECTED, reject)


@pytest.mark.parametrize("spelling", ["a%2Fb", "a/%2Fb", "a%252Fb", "a%5Cb", "a%2F%2Fb"])
@pytest.mark.parametrize("mode", Mode)
def test_an_encoded_slash_does_not_get_around_a_rule(spelling: str, mode: Mode) -> None:
    rules = (rule(Action.REJECT, "registry.example.org/a/b.*"), rule(Action.ALLOW))
    assert ask(*rules, mode=mode) == Refuse(Reason.REJECTED, rules[0])
    assert ask(*rules, mode=mode, url=f"https://registry.example.org/{spelling}") == Refuse(Reason.AMBIGUOUS)


def test_an_encoded_slash_passes_where_both_readings_meet_one_rule() -> None:
    url = "https://registry.example.org/a%2Fb"
    assert ask(rule(Action.ALLOW), url=url, entry=None) == Fetch(rule(Action.ALLOW), url, keep=True, known=None)


def test_a_rule_that_drops_the_query_finds_the_entry_without_it() -> None:
    ignoring = replace(rule(Action.LOCKED), query="ignore")
    assert ask(ignoring, url=f"{URL}?session=1") == Replay(ENTRY, ignoring)
    assert ask(rule(Action.LOCKED), url=f"{URL}?session=1") == Refuse(Reason.NOT_RECORDED, rule(Action.LOCKED))


def test_the_reserved_host_is_admitted_by_no_rule() -> None:
    everything = rule(Action.ALLOW, ".*/.*")
    assert ask(everything, url="http://hermit.internal./health") == Refuse(Reason.NO_RULE)
