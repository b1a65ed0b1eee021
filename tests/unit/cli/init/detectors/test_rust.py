"""Tests what is found in Cargo packages and workspaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.init.detectors.rust import detect
from tests.unit.cli.init.projects import asked, make, steps

PACKAGE = '[package]\nname = "tool"\n'


def test_the_steps_are_what_its_people_would_type(tmp_path: Path) -> None:
    part = detect(make(tmp_path, {"Cargo.toml": PACKAGE, "Cargo.lock": ""}))
    assert steps(part) == [
        "+fetch: cargo fetch --locked",
        "build: cargo build --release --offline --locked",
        "test: cargo test --offline --locked",
    ]


def test_without_a_lock_file_the_first_fetch_makes_one(tmp_path: Path) -> None:
    assert steps(detect(make(tmp_path, {"Cargo.toml": PACKAGE})))[0] == "+fetch: cargo fetch"


def test_without_cargo_toml_there_is_none(tmp_path: Path) -> None:
    assert detect(make(tmp_path, {"Cargo.lock": ""})) is None


@pytest.mark.parametrize(
    ("files", "programs"),
    [
        ({"Cargo.toml": PACKAGE, "src/lib.rs": ""}, []),
        ({"Cargo.toml": PACKAGE, "src/main.rs": ""}, ["tool"]),
        ({"Cargo.toml": PACKAGE, "src/main.rs": "", "src/bin/other.rs": ""}, ["other", "tool"]),
        ({"Cargo.toml": f'{PACKAGE}[[bin]]\nname = "t"\npath = "src/main.rs"\n', "src/main.rs": ""}, ["t"]),
        ({"Cargo.toml": f"{PACKAGE}autobins = false\n", "src/main.rs": ""}, []),
        (
            {
                "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\n',
                "crates/a/Cargo.toml": '[package]\nname = "a"\n',
                "crates/a/src/main.rs": "",
                "other/Cargo.toml": '[package]\nname = "b"\n',
                "other/src/main.rs": "",
            },
            ["a"],
        ),
        ({"Cargo.toml": "[broken"}, []),
    ],
)
def test_artifacts_are_the_programs(files: dict[str, str], programs: list[str], tmp_path: Path) -> None:
    part = detect(make(tmp_path, files))
    assert part is not None
    assert list(part.artifacts) == [f"target/release/{name}" for name in programs]


def test_what_crates_need_of_debian_and_where_they_come_from_is_in_the_lock_file(tmp_path: Path) -> None:
    lock = """
[[package]]
name = "openssl-sys"
source = "registry+https://git.example.org/crates.io-index"
[[package]]
name = "own"
source = "git+https://git.example.org/own?branch=x#0123"
[[package]]
name = "other"
source = "sparse+https://index.example.org/i/"
"""
    part = detect(make(tmp_path, {"Cargo.toml": PACKAGE, "Cargo.lock": lock}))
    assert part is not None
    assert part.apt == ("build-essential", "cargo-web", "libssl-dev", "pkg-config")
    assert asked(part) == ["https://git.example.org/own Cargo.lock", "https://index.example.org/i/ Cargo.lock"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("rust-toolchain", "1.70.0\n"), ("rust-toolchain.toml", '[toolchain]\nchannel = "1.70.0"\n')],
)
def test_a_pinned_toolchain_is_told(name: str, text: str, tmp_path: Path) -> None:
    part = detect(make(tmp_path, {"Cargo.toml": PACKAGE, name: text}))
    assert part is not None
    assert part.notes == (f"{name} pins 1.70.0; Debian's cargo takes no notice of it",)
