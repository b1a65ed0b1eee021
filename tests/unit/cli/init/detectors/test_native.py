"""Tests what is found in C and C++ projects."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.init.detectors.native import detect_autotools, detect_cmake, detect_make, detect_meson
from tests.unit.cli.init.projects import asked, make, steps

CONFIGURE = "configure: cmake -S . -B build -D CMAKE_BUILD_TYPE=Release"
BUILD = "build: cmake --build build --parallel"


@pytest.mark.parametrize(
    ("text", "expected", "artifacts"),
    [
        ("add_executable(a a.c)\nadd_executable( b b.c)", [CONFIGURE, BUILD], ("build/a", "build/b")),
        ("# FetchContent_Declare(x)\nadd_executable(a)", [CONFIGURE, BUILD], ("build/a",)),
        ("fetchcontent_declare(x URL https://example.org/x)", [f"+{CONFIGURE}", BUILD], ()),
        ("ExternalProject_Add(x URL https://example.org/x)", [CONFIGURE, f"+{BUILD}"], ()),
        (
            "enable_testing()\ninstall(TARGETS a)",
            [
                CONFIGURE,
                BUILD,
                "test: ctest --test-dir build --output-on-failure",
                'install: cmake --install build --prefix "$PWD/dist"',
            ],
            ("dist/**",),
        ),
    ],
)
def test_cmake_has_network_only_where_it_fetches(
    text: str, expected: list[str], artifacts: tuple[str, ...], tmp_path: Path
) -> None:
    part = detect_cmake(make(tmp_path, {"CMakeLists.txt": text}))
    assert steps(part) == expected
    assert part is not None
    assert part.artifacts == artifacts


def test_cmake_names_what_it_fetches_also_in_folders_below(tmp_path: Path) -> None:
    files = {
        "CMakeLists.txt": "add_subdirectory(a)\nfind_package(OpenSSL)\nfind_package(Threads)\nfind_package(Odd)",
        "a/CMakeLists.txt": "FetchContent_Declare(x GIT_REPOSITORY https://git.example.org/a/b.git)",
        "cmake/deps.cmake": "FetchContent_Declare(y URL https://files.example.org/a.tgz URL https://files.example.org/b)",
    }
    part = detect_cmake(make(tmp_path, files))
    assert asked(part) == [
        "https://git.example.org/a/b.git its build files",
        "https://files.example.org/b its build files",
    ]
    assert part is not None
    assert part.apt == ("build-essential", "cmake", "libssl-dev")
    assert part.notes == ("find_package asks for Odd: add the Debian packages of these",)


@pytest.mark.parametrize(("wrap", "configure"), [(None, "configure"), ("[wrap-file]\n", "+configure")])
def test_meson_has_network_only_for_wraps(wrap: str | None, configure: str, tmp_path: Path) -> None:
    files = {"meson.build": ""} | ({"subprojects/x.wrap": wrap} if wrap else {})
    found = steps(detect_meson(make(tmp_path, files)))
    assert found[0] == f"{configure}: meson setup build"


@pytest.mark.parametrize(
    ("files", "first"),
    [
        ({"!configure": ""}, ["configure: ./configure"]),
        ({"configure.ac": ""}, ["configure: autoreconf --force --install", "configure: ./configure"]),
        ({"configure.ac": "", "!autogen.sh": ""}, ["configure: ./autogen.sh", "configure: ./configure"]),
    ],
)
def test_autotools_make_their_script_where_it_is_not_there(
    files: dict[str, str], first: list[str], tmp_path: Path
) -> None:
    found = steps(detect_autotools(make(tmp_path, files)))
    assert found == [*first, "build: make", "test: make check", 'install: make install DESTDIR="$PWD/dist"']


def test_a_makefile_is_made_and_its_tests_are_run(tmp_path: Path) -> None:
    assert steps(detect_make(make(tmp_path, {"Makefile": "all:\n\ttrue\ntest: all\n"}))) == [
        "build: make",
        "test: make test",
    ]


def test_other_folders_are_none(tmp_path: Path) -> None:
    tree = make(tmp_path, {"configure": "a note", "main.c": ""})
    assert [detect(tree) for detect in (detect_cmake, detect_meson, detect_autotools, detect_make)] == [None] * 4
