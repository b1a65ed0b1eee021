"""A package is known by the shape of its URL on any mirror."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.snapshot.packages import Package, package_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("packages/ab/cd/Foo_Bar-1.2.3-py3-none-any.whl", Package("wheel", "foo-bar", "1.2.3")),
        ("foo-1.0+local.1-1-cp311-cp311-manylinux_2_17_x86_64.whl", Package("wheel", "foo", "1.0+local.1")),
        ("packages/foo-bar-1.2.3.tar.gz", Package("sdist", "foo-bar", "1.2.3")),
        ("v1/foo_bar-1.2.3rc1.zip?x=1", Package("sdist", "foo-bar", "1.2.3rc1")),
        ("gnu/hello/hello-2.12.1.tar.xz", Package("sdist", "hello", "2.12.1")),
        ("left-pad/-/left-pad-1.3.0.tgz", Package("npm", "left-pad", "1.3.0")),
        ("@scope/name/-/name-1.0.0-beta.1.tgz", Package("npm", "@scope/name", "1.0.0-beta.1")),
        ("@scope%2Fname/-/name-1.0.0.tgz", Package("npm", "@scope/name", "1.0.0")),
        ("crates/serde/serde-1.0.200.crate", Package("crate", "serde", "1.0.200")),
        ("api/v1/crates/serde_json/1.0.1/download", Package("crate", "serde_json", "1.0.1")),
        ("pool/main/g/gcc-12/g++-12_12.2.0-14_amd64.deb", Package("deb", "g++-12", "12.2.0-14")),
        ("pool/main/a/apt_2.6.1%7erc1_all.deb", Package("deb", "apt", "2.6.1~rc1")),
        ("pool/v/vim_2%3a9.0.1378-2_amd64.deb", Package("deb", "vim", "2:9.0.1378-2")),
        ("Packages/b/bash-5.2.15-3.fc38.x86_64.rpm", Package("rpm", "bash", "5.2.15-3.fc38")),
        ("maven2/org/example/lib/1.2/lib-1.2.jar", Package("maven", "org.example:lib", "1.2")),
        ("maven2/org/example/lib/1.2/lib-1.2-sources.jar", Package("maven", "org.example:lib", "1.2")),
        ("example.org/!big!mod/@v/v1.2.3.zip", Package("go", "example.org/BigMod", "v1.2.3")),
        (
            "example.org/mod/v2/@v/v2.0.0-20200101-abcdef.info",
            Package("go", "example.org/mod/v2", "v2.0.0-20200101-abcdef"),
        ),
        ("gems/rails-7.1.0.gem", Package("gem", "rails", "7.1.0")),
        ("simple/foo/", None),
        ("", None),
        ("index.html", None),
        ("archive.tar.gz", None),
    ],
)
def test_a_package_is_read_from_the_url(path: str, expected: Package | None) -> None:
    assert package_of(f"https://mirror.example.org/{path}") == expected


@pytest.mark.parametrize(
    ("path", "endings"),
    [
        ("pool/a/apt_2.6.1_amd64", ".deb .udeb"),
        ("example.org/mod/@v/v1.0.0", ".zip .mod .info"),
        ("org/example/lib/1.2/lib-1.2", ".jar .pom .war .aar .module .zip"),
        ("foo-1.0", ".tar.gz .tar.bz2 .tar.xz .tar.zst .tar.lzma .tgz .tbz2 .txz .zip"),
    ],
)
def test_each_ending_of_a_kind_is_known(path: str, endings: str) -> None:
    found = {package_of(f"https://mirror.example.org/{path}{ending}") for ending in endings.split()}
    assert len(found) == 1
    assert None not in found


@given(st.text(max_size=60))
def test_any_url_is_a_package_or_none(text: str) -> None:
    package_of(f"https://mirror.example.org/{text}")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tail", ["a-" * 8000, "1." * 8000, "a/" * 8000, "-1" * 8000 + ".tar", "a" * 16000 + "_1_"])
def test_a_long_hostile_url_does_not_hang(tail: str) -> None:
    assert package_of(f"https://mirror.example.org/{tail}") is None
