"""Reads command lines of `hermit shell`."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from hermit_cli.build import shell
from hermit_proxy.errors import UsageError


def read(*arguments: str) -> shell.Options:
    parser = argparse.ArgumentParser()
    shell.add_parser(parser.add_subparsers())
    return shell.read_options(parser.parse_args(["shell", *arguments]))


@pytest.mark.parametrize(
    ("arguments", "project", "network", "command"),
    [
        ((), ".", "proxy", None),
        (("there",), "there", "proxy", None),
        (("--", "ls", "-l"), ".", "proxy", ("ls", "-l")),
        (("there", "--", "ls"), "there", "proxy", ("ls",)),
        (("--network", "none", "there", "--", "ls"), "there", "none", ("ls",)),
        (("there", "--network", "none"), "there", "none", None),
        (("there", "--network=none", "--", "ls", "--network", "x"), "there", "none", ("ls", "--network", "x")),
    ],
)
def test_path_network_and_command_may_all_be_left_out(
    tmp_path: Path, arguments: tuple[str, ...], project: str, network: str, command: tuple[str, ...] | None
) -> None:
    (tmp_path / "there/.hermit").mkdir(parents=True)
    options = read(*arguments)
    assert options.project.root == (tmp_path / project).resolve()
    assert options.network == network
    assert options.command == command or (command is None and options.command[0] == "/bin/sh")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "there is no folder nowhere"),
        ((".", "ls"), "hermit shell knows no ls"),
        ((".", "--network", "all"), "hermit shell knows no --network"),
        ((".", "--network"), "hermit shell knows no --network"),
    ],
)
def test_what_makes_no_sense_is_named(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(*arguments)
