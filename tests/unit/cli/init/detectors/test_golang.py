"""Tests what is found in Go modules, and when a newer Go is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.init.detectors.golang import detect
from tests.unit.cli.init.projects import make, steps

MODULE = "module example.org/x\n\ngo 1.19\n"
NEEDS = "\nrequire example.org/y v1.0.0\n"
MAIN = "package main\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"go.mod": MODULE}, ["build: go build ./...", "test: go test ./..."]),
        (
            {"go.mod": MODULE + NEEDS, "go.sum": "", "cmd/a/main.go": MAIN},
            ["+fetch: go mod download", "build: go build -o bin/ ./...", "test: go test ./..."],
        ),
        (
            {"go.mod": MODULE + NEEDS},
            ["+fetch: go mod tidy", "+fetch: go mod download", "build: go build ./...", "test: go test ./..."],
        ),
        (
            {"go.mod": MODULE + NEEDS, "vendor/modules.txt": "", "vendor/a/main.go": MAIN},
            ["build: go build ./...", "test: go test ./..."],
        ),
    ],
)
def test_the_steps_are_what_its_people_would_type(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    assert steps(detect(make(tmp_path, files))) == expected


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("go 1.20", ""),
        ("go 1.21", "1.21.0"),
        ("go 1.22.3", "1.22.3"),
        ("go 1.22\n\ntoolchain go1.24.1", "1.24.1"),
        ("go 1.23rc1", "1.23.0"),
        ("", ""),
        ("go 1.22 ; rm", "1.22.0"),
    ],
)
def test_a_newer_go_is_fetched_as_a_module(said: str, version: str, tmp_path: Path) -> None:
    found = steps(detect(make(tmp_path, {"go.mod": f"module x\n\n{said}\n"})))
    if version:
        assert f"golang.org/toolchain@v0.0.1-go{version}.linux-$(go env GOARCH)" in found[0]
        assert found[0].startswith("+toolchain: cd / && ")
    telemetry = version[:4] in {"1.23", "1.24"}
    assert any("telemetry/mode" in line for line in found) == telemetry
    assert found[-1] == f"test: {'~/sdk/bin/go' if version else 'go'} test ./..."


def test_without_go_mod_there_is_none(tmp_path: Path) -> None:
    assert detect(make(tmp_path, {"main.go": MAIN})) is None


def test_cgo_gets_a_compiler(tmp_path: Path) -> None:
    part = detect(make(tmp_path, {"go.mod": MODULE, "a.go": 'package a\nimport "C"\n'}))
    assert part is not None
    assert part.apt == ("build-essential", "golang-go")
