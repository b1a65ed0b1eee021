"""Suggested rules go into a file of any layout, and nothing that a person wrote there is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.rules_file import add_rules, merged
from hermit_proxy.errors import InputError, UsageError
from hermit_proxy.rules.file import load_rules
from hermit_proxy.rules.suggest import SuggestedRule

END = SuggestedRule("end.example.org/.*", ("GET", "HEAD"), "keep", 2)
ITEM = "  # 2 requests\n  - pattern: 'end.example.org/.*'\n    action: ALLOW\n    method: [GET, HEAD]\n"


def above(index: int) -> SuggestedRule:
    return SuggestedRule(f"above{index}.example.org/x", ("GET",), "ignore", 1, above=index)


def dedented(item: str) -> str:
    return "".join(line[2:] for line in item.splitlines(keepends=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"rules:\n{ITEM}"),
        ("# ours", f"# ours\nrules:\n{ITEM}"),
        ("rules: []  # none\n# end\n", f"rules:  # none\n{ITEM}# end\n"),
        (
            "rules:\n- pattern: a.org/x\n  action: ALLOW  # why",
            f"rules:\n- pattern: a.org/x\n  action: ALLOW  # why\n{dedented(ITEM)}",
        ),
        (
            "# h\nrules:\n  -\n    pattern: >\n      a.org/x\n    action: ALLOW\n\n  # end\n",
            f"# h\nrules:\n  -\n    pattern: >\n      a.org/x\n    action: ALLOW\n{ITEM}\n  # end\n",
        ),
        (
            "rules:\n  - {action: ALLOW, pattern: a.org/x}\n# end\n",
            f"rules:\n  - {{action: ALLOW, pattern: a.org/x}}\n{ITEM}# end\n",
        ),
        (
            "rules:\r\n  - pattern: a.org/x\r\n    action: ALLOW\r\n",
            f"rules:\r\n  - pattern: a.org/x\r\n    action: ALLOW\r\n{ITEM.replace(chr(10), chr(13) + chr(10))}",
        ),
    ],
)
def test_rules_are_added_behind_the_last_one(text: str, expected: str) -> None:
    assert merged(text, [END]) == expected


def test_rules_stand_right_above_what_matched_already_and_its_comment(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    old = (
        "rules:\n  # never\n  - pattern: a.org/secret/.*\n    action: REJECT\n\n"
        "  # mirror\n  - pattern: a.org/.*\n    action: ALLOW\n  - pattern: b.org/.*\n    action: ALLOW\n"
    )
    path.write_text(old)
    path.chmod(0o640)
    add_rules(path, [above(1), above(2), END])
    assert [rule.pattern.text for rule in load_rules(path).rules] == [
        "a.org/secret/.*",
        "above1.example.org/x",
        "a.org/.*",
        "above2.example.org/x",
        "b.org/.*",
        "end.example.org/.*",
    ]
    kept = iter(path.read_text().splitlines())
    assert all(line in kept for line in old.splitlines())
    assert "query: ignore\n  # mirror\n  - pattern: a.org/.*\n" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["rules: [{pattern: a.org/x, action: ALLOW}]\n", "{rules: []}\n", "~\n"])
def test_a_layout_that_takes_no_lines_is_refused_and_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(UsageError):
        add_rules(path, [END])
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_with_mistakes_and_a_link_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rulez: []\n")
    with pytest.raises(InputError, match="rulez"):
        add_rules(path, [END])
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(UsageError, match="is a link"):
        add_rules(tmp_path / "link", [END])
