"""Tests how cargo is listened to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hermit_cli.init.registries.cargo import ask


def cargo(folder: Path, script: str) -> dict[str, str]:
    path = folder / "cargo"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}


def test_where_cargo_is_not_installed_a_person_fills_it_in(tmp_path: Path) -> None:
    assert ask({"PATH": str(tmp_path)}).unknown[0].startswith("cargo is not installed here")


def test_a_cargo_that_calls_nobody_is_told(tmp_path: Path) -> None:
    assert ask(cargo(tmp_path, "exit 0")).unknown[0].startswith("cargo did not say whom it asks")


# The fake stands for a cargo with another registry built in, which no real one can be made to have.
@pytest.mark.parametrize("line", ["CONNECT 127.0.0.1:9 HTTP/1.1", "CONNECT 127.0.0.1:9"])
def test_whom_cargo_calls_is_its_index_and_what_that_does_not_say_is_filled_in(line: str, tmp_path: Path) -> None:
    code = (
        "import os, socket\n"
        "proxy = socket.create_connection(os.environ['CARGO_HTTP_PROXY'][7:].split(':'))\n"
        f"proxy.sendall(b'{line}\\r\\n')\n"
        "proxy.recv(1)\n"
    )
    (tmp_path / "call.py").write_text(code)
    found = ask(cargo(tmp_path, f"exec python3 {tmp_path}/call.py"))
    assert [one.url for one in found.asked] == ["https://127.0.0.1:9/"]
    assert found.unknown == ("the host of the crates (https://127.0.0.1:9/config.json says it)",)


def test_what_the_user_puts_in_the_registrys_place_is_told_without_its_login(tmp_path: Path) -> None:
    home = tmp_path / ".cargo"
    home.mkdir()
    (home / "config.toml").write_text(
        '[source.crates-io]\nreplace-with = "mine"\n[source.mine]\n'
        'registry = "sparse+https://user:hunter2@crates.example.org/i/"\n'
    )
    notes = ask(cargo(tmp_path, "exit 0")).notes
    assert "hunter2" not in repr(notes)
    assert notes[0].startswith("cargo asks https://crates.example.org/i/ here")


@pytest.mark.registry
@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_the_real_cargo_calls_its_index(tmp_path: Path) -> None:
    found = ask(
        {
            **os.environ,
            "CARGO_HOME": str(tmp_path),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup")),
        }
    )
    assert found.asked[0].why == "cargo's own registry, its index"
