"""Tests what is found in JavaScript projects, as a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hermit_cli.init.detectors.node import detect
from tests.unit.cli.init.projects import asked, make, steps

BUILT = json.dumps({"name": "x", "scripts": {"build": "tsc", "test": "jest"}})
LIBRARY = json.dumps({"name": "x", "scripts": {"test": 'echo "Error: no test specified" && exit 1'}})

CASES: dict[str, tuple[dict[str, str], list[str]]] = {
    "npm with a lock file": (
        {"package.json": BUILT, "package-lock.json": "{}"},
        ["+fetch: npm ci", "build: npm run build", "test: npm run test", "pack: npm pack"],
    ),
    "npm without": ({"package.json": LIBRARY}, ["+fetch: npm install", "pack: npm pack"]),
    "a private package": ({"package.json": '{"name": "x", "private": true}'}, ["+fetch: npm install"]),
    "workspaces": (
        {"package.json": '{"name": "x", "workspaces": ["a"], "scripts": {"build": "b"}}'},
        ["+fetch: npm install", "build: npm run build"],
    ),
    "pnpm by its lock file": (
        {"package.json": BUILT, "pnpm-lock.yaml": "lockfileVersion: '6.0'\n"},
        [
            "#+pnpm: npm install --global pnpm@8",
            "+fetch: pnpm install --frozen-lockfile",
            "build: pnpm run build",
            "test: pnpm run test",
            "pack: pnpm pack",
        ],
    ),
    "pnpm by its exact version": (
        {"package.json": '{"packageManager": "pnpm@9.1.2+sha256.abc"}'},
        ["#+pnpm: npm install --global pnpm@9.1.2", "+fetch: pnpm install"],
    ),
    "a version that is none": (
        {"package.json": '{"packageManager": "pnpm@9; touch /tmp/owned"}', "pnpm-lock.yaml": ""},
        ["#+pnpm: npm install --global pnpm@9", "+fetch: pnpm install --frozen-lockfile"],
    ),
    "yarn 1": (
        {"package.json": BUILT, "yarn.lock": "# yarn lockfile v1\n"},
        [
            "+fetch: yarnpkg install --frozen-lockfile",
            "build: yarnpkg --offline run build",
            "test: yarnpkg --offline run test",
            "pack: yarnpkg pack",
        ],
    ),
    "yarn that the project brings": (
        {"package.json": "{}", "yarn.lock": "", ".yarnrc.yml": "", ".yarn/releases/yarn-4.1.0.cjs": ""},
        ["+fetch: node .yarn/releases/yarn-4.1.0.cjs install --immutable"],
    ),
    "yarn by its version": (
        {"package.json": '{"packageManager": "yarn@4.1.0"}', "yarn.lock": ""},
        ["#+yarn: npm install --global @yarnpkg/cli-dist@4.1.0", "+fetch: yarn install --immutable"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_steps_are_what_its_people_would_type(name: str, tmp_path: Path) -> None:
    files, expected = CASES[name]
    assert steps(detect(make(tmp_path, files))) == expected


@pytest.mark.parametrize(
    ("workspaces", "artifacts"),
    [
        (["packages/*", "./tools/one/"], ("packages/*/dist/**", "tools/one/dist/**")),
        ({"packages": ["apps/*", "!apps/old"]}, ("apps/*/dist/**",)),
        (["../elsewhere"], ("dist/**",)),
        (["packages/{a,b}"], ("dist/**",)),
        ([], ()),
    ],
)
def test_workspaces_leave_what_they_build_in_folders_of_their_own(
    workspaces: object, artifacts: tuple[str, ...], tmp_path: Path
) -> None:
    package = {"private": True, "workspaces": workspaces, "scripts": {"build": "b"} if workspaces else {}}
    part = detect(make(tmp_path, {"package.json": json.dumps(package)}))
    assert part is not None
    assert part.artifacts == artifacts


def test_without_package_json_there_is_none(tmp_path: Path) -> None:
    assert detect(make(tmp_path, {"package-lock.json": "{}"})) is None


def test_a_broken_package_json_is_a_project_that_is_told(tmp_path: Path) -> None:
    tree = make(tmp_path, {"package.json": "{"})
    assert steps(detect(tree)) == ["+fetch: npm install"]
    assert tree.troubles[0].startswith("package.json: not JSON")


def test_servers_that_the_project_names_are_asked_once_each(tmp_path: Path) -> None:
    packages = {
        "a": {"resolved": "https://npm.example.org/a.tgz"},
        "b": {"resolved": "https://npm.example.org/b.tgz"},
        "c": {"resolved": "git+ssh://git@git.example.org/c.git#0"},
        "d": {"link": True},
    }
    files = {
        "package.json": "{}",
        "package-lock.json": json.dumps({"packages": packages}),
        ".npmrc": "registry=https://own.example.org/\n@s:registry = https://scope.example.org/\n; registry=no\n",
    }
    part = detect(make(tmp_path, files))
    assert asked(part) == [
        "https://own.example.org/ .npmrc",
        "https://scope.example.org/ .npmrc",
        "https://npm.example.org/a.tgz package-lock.json",
    ]
    assert part is not None
    assert any("git over ssh" in note for note in part.notes)


def test_yarns_lock_file_names_servers(tmp_path: Path) -> None:
    lock = 'a@1:\n  version "1"\n  resolved "https://yarn.example.org/a.tgz#0"\n'
    part = detect(make(tmp_path, {"package.json": "{}", "yarn.lock": lock}))
    assert asked(part) == ["https://yarn.example.org/a.tgz#0 yarn.lock"]


@pytest.mark.parametrize(
    ("wanted", "noted"), [(">=16", False), (">=18 <23", False), (">=20", True), ("18 || 20", False), ("^22.1", True)]
)
def test_a_newer_node_than_the_image_has_is_told(wanted: str, noted: bool, tmp_path: Path) -> None:
    part = detect(make(tmp_path, {"package.json": json.dumps({"engines": {"node": wanted}})}))
    assert part is not None
    assert any("wants Node" in note for note in part.notes) == noted


def test_a_native_addon_gets_a_compiler(tmp_path: Path) -> None:
    part = detect(make(tmp_path, {"package.json": "{}", "binding.gyp": "{}"}))
    assert part is not None
    assert part.apt == ("nodejs", "npm", "build-essential", "python3")
