"""Tests the first rules word for word, and that they admit no more than was named."""

from __future__ import annotations

from pathlib import Path

from hermit_cli.init.finding import Asked, Found, Part, Registry
from hermit_cli.init.rulestext import rules_text
from hermit_proxy.rules.file import load_rules

APT = Registry("apt", (Asked("http://apt.example.org/debian", "apt, as this machine is set up", narrow=True),))
TEXT = """\
rules:
  # apt, as this machine is set up
  - pattern: 'apt.example.org/debian/.*'
    action: ALLOW
  # named in .gitmodules
  - pattern: 'git.example.org/a/b\\.git/.*'
    action: ALLOW

  # FILL IN: npm is not installed here
  # - pattern: 'HOST/.*'
  #   action: ALLOW
"""


def part(*asked: Asked, kind: str = "node") -> Found:
    return Found((Part(kind, kind, (), asked=asked),))


def patterns(text: str, folder: Path) -> list[str]:
    path = folder / "rules.yaml"
    path.write_text(text)
    return [rule.pattern.text for rule in load_rules(path).rules]


def test_the_file_is_one_that_a_person_can_review() -> None:
    found = part(Asked("https://git.example.org/a/b.git", ".gitmodules", narrow=True))
    text = rules_text(found, [APT, Registry("npm", unknown=("npm is not installed here",))])
    assert text[text.index("rules:") :] == TEXT
    assert text[: text.index("rules:")].startswith("# Written by `hermit init`")


def test_what_a_whole_hosts_rule_admits_needs_no_rule_of_its_own(tmp_path: Path) -> None:
    found = part(Asked("https://a.example.org/x", "one", narrow=True), Asked("https://a.example.org/y", "two"))
    text = rules_text(found, [])
    assert patterns(text, tmp_path) == ["a.example.org/.*"]
    assert "# named in one; named in two" in text


def test_a_login_is_not_written_and_what_to_do_instead_is(tmp_path: Path) -> None:
    text = rules_text(part(Asked("https://user:hunter2@a.example.org/x", ".npmrc")), [])
    assert "hunter2" not in text
    assert "credential: NAME" in text
    assert patterns(text, tmp_path) == ["a.example.org/.*"]


def test_a_lock_files_host_that_npm_asks_another_one_for_is_not_admitted(tmp_path: Path) -> None:
    npm = Registry("npm", (Asked("https://mirror.example.org/", "npm"),), replaced="npm.example.org")
    found = part(Asked("https://npm.example.org/a.tgz", "package-lock.json"))
    assert patterns(rules_text(found, [npm]), tmp_path) == ["mirror.example.org/.*"]
    own = part(Asked("https://npm.example.org/", ".npmrc"))
    assert patterns(rules_text(own, [npm]), tmp_path) == ["mirror.example.org/.*", "npm.example.org/.*"]


def test_where_nobody_is_asked_nothing_is_admitted(tmp_path: Path) -> None:
    assert patterns(rules_text(part(), []), tmp_path) == []
