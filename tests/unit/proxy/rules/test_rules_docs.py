"""The examples in docs/rules.md are files that load."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from hermit_proxy.credentials.file import load_bindings
from hermit_proxy.rules.file import load_rules
from hermit_proxy.settings import load_settings

TEXT = (Path(__file__).parents[4] / "docs" / "rules.md").read_text()


def example(first_line: str) -> str:
    (found,) = re.findall(rf"^    {first_line}.*\n(?:(?:    .*)?\n)*", TEXT, re.MULTILINE)
    return textwrap.dedent(str(found))


def test_the_example_of_rules_loads(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(example("rules:"))
    assert len(load_rules(path).rules) == 4


def test_the_example_of_a_rule_goes_with_the_example_of_credentials(tmp_path: Path) -> None:
    path, token, rules = tmp_path / "credentials.yaml", tmp_path / "index-token", tmp_path / "rules.yaml"
    for file, text in ((path, example("credentials:\n")), (token, "made-up-token\n")):
        file.touch(mode=0o600)
        file.write_text(text)
    rules.write_text("rules:\n" + example(r'- pattern: "index'))
    assert load_bindings(path).check(load_rules(rules)) == []


def test_the_example_of_settings_loads(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    (tmp_path / "credentials.yaml").touch()
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    path.write_text(example("store:").replace("/etc/hermit/ca.pem", str(bundle)))
    settings = load_settings(path, {})
    assert len(settings.upstream_allow) == len(settings.allow.hosts) + len(settings.allow.networks) == 4
