"""What would stop a recording is told before its image is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_cli.build.beforehand import check_rules
from hermit_cli.main import main
from hermit_proxy.errors import InputError
from hermit_proxy.run.settings import ProxySettings

BROKEN = {
    "rules: [{pattern: example.org/.*, actoin: ALLOW}]\n": ":1:",
    "rules:\n  - {pattern: 'a.org/.*', action: ALLOW, credential: mine}\n": ":2:",
}


def settings(rules: Path) -> ProxySettings:
    return ProxySettings(rules, rules.parent / "network", "", "pool")


@pytest.mark.parametrize("text", BROKEN)
def test_a_mistake_in_the_rules_is_told_with_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        check_rules(settings(tmp_path / "rules.yaml"))
    assert f"rules.yaml{BROKEN[text]}" in str(caught.value)


def test_good_rules_and_none_are_no_mistake(tmp_path: Path) -> None:
    check_rules(settings(tmp_path / "rules.yaml"))
    (tmp_path / "rules.yaml").write_text("rules: [{pattern: 'example.org/.*', action: ALLOW}]\n")
    check_rules(settings(tmp_path / "rules.yaml"))


@pytest.mark.parametrize("command", [["build"], ["shell", "--", "true"]])
@pytest.mark.parametrize("text", BROKEN)
def test_no_image_is_made_for_rules_with_mistakes(
    command: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(*_: object, **_options: object) -> None:
        raise AssertionError("an image is made")

    monkeypatch.setattr("hermit_workers.image.making.make_image", make)
    (tmp_path / ".hermit").mkdir()
    (tmp_path / ".hermit/build.yaml").write_text("image: debian-12\nsteps: [{run: make, network: proxy}]\n")
    (tmp_path / ".hermit/rules.yaml").write_text(text)
    assert main(command) == 2
    assert f"rules.yaml{BROKEN[text]}" in capsys.readouterr().err
    assert not (Path(os.environ["XDG_DATA_HOME"]) / "hermit/images").exists()
