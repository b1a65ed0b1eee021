"""The user's settings: defaults where nothing is said, and mistakes with file and line where something wrong is."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hermit_proxy.errors import InputError
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.settings import Settings, VmSettings, load_settings


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_settings(path, {"HOME": str(tmp_path)})


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_settings(None, {"HOME": str(tmp_path)}) == Settings()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == Settings(source=tmp_path / "config.yaml")


def test_the_users_file_is_found_where_xdg_says(tmp_path: Path) -> None:
    folder = tmp_path / "xdg" / "hermit"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("pool: mine\n")
    (folder / "credentials.yaml").write_text("")
    found = load_settings(None, {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "XDG_RUNTIME_DIR": str(tmp_path / "run")})
    assert found == Settings(
        pool="mine",
        credentials=folder / "credentials.yaml",
        source=folder / "config.yaml",
    )
    assert load_settings(None, {"XDG_CONFIG_HOME": "relative", "HOME": str(tmp_path)}) == Settings()


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "mine.yaml").touch()
    found = read(
        tmp_path,
        "store: redis://cache.example.org:6379/0?password_file=/run/redis-password\n"
        "pool: org/project\n"
        "observers: 2\n"
        "upstream:\n"
        "  allow: [mirror.example.org, '10.0.0.0/8', 127.0.0.1:8443]\n"
        "  trust: ca.pem\n"
        "credentials: mine.yaml\n"
        "upload_limit: 10 MiB\n"
        "limits: {memory: 4 GiB, processes: 500, time: 2h}\n"
        "cell: vm\n"
        "vm: {kind: qemu, processors: 4, memory: 12 GiB}\n",
    )
    assert found == Settings(
        store="redis://cache.example.org:6379/0?password_file=/run/redis-password",
        pool="org/project",
        observers=2,
        upstream_allow=("mirror.example.org", "10.0.0.0/8", "127.0.0.1:8443"),
        upstream_trust=tmp_path / "ca.pem",
        credentials=tmp_path / "mine.yaml",
        upload_limit=10 << 20,
        limits={"memory": 4 << 30, "processes": 500, "time": 7200.0},
        cell="vm",
        vm=VmSettings("qemu", 4, 12 << 30),
        source=tmp_path / "config.yaml",
    )
    assert found.allow.admits("mirror.example.org", 443, ipaddress.ip_address("192.168.0.1"))


@pytest.mark.parametrize("store", ["/var/store", "~/store", "file:///var/store", "unix:///run/redis.sock?db=1"])
def test_a_store_is_a_path_or_a_url(tmp_path: Path, store: str) -> None:
    assert read(tmp_path, f"store: {store}\n").store == store


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[]", 1, "expected the settings as a mapping"),
        ("stroe: /x", 1, "unknown key 'stroe' in the settings; did you mean `store`?"),
        ("store: [x]", 1, "expected store as a text"),
        ("store: relative/path", 1, "expected store as an absolute path"),
        ("store: redis://:hunter2@cache.example.org/0", 1, "a password in store"),
        ("store: redis://cache.example.org/0?password=hunter2", 1, "a password in store"),
        ("store: 'http://[x'", 1, "expected store"),
        ("pool: ../x", 1, "expected pool as letters"),
        ("pool: ''", 1, "found nothing"),
        ("observers: 0", 1, "whole number of at least 1"),
        ("observers: two", 1, "found 'two'"),
        ("upload_limit: big", 1, "as a size"),
        ("limits: {memory: lots}", 1, "limits.memory as a size"),
        ("limits:\n  processes: 0", 2, "at least 1"),
        ("limits:\n  disk: 0", 2, "would end every build"),
        ("limits: {cpu: 2}", 1, "unknown key 'cpu' in limits"),
        ("cell: container", 1, "expected cell as one of sandbox, vm; found 'container'"),
        ("vm:\n  kind: xen", 2, "expected vm.kind as one of auto, kvm, qemu; found 'xen'"),
        ("vm:\n  kind: auto\n  processors: 0", 3, "vm.processors as a whole number of at least 1"),
        ("vm:\n  processors: 65", 2, "at most 64, found 65"),
        ("vm:\n  memory: 100 MiB", 2, "no machine starts in less than 256 MiB"),
        ("vm:\n  memory: much", 2, "vm.memory as a size"),
        ("vm:\n  disk: 1 GiB", 2, "unknown key 'disk' in vm"),
        ("vm: kvm", 1, "expected vm as a mapping"),
        ("upstream: x", 1, "expected upstream as a mapping"),
        ("upstream:\n  alow: []", 2, "did you mean `allow`?"),
        ("upstream:\n  allow: x", 2, "expected upstream.allow as a list"),
        ("upstream:\n  allow:\n  - 10.0.0.0/8\n  - '*'", 4, "'*' is no host"),
        ("upstream:\n  allow:\n  - 0.0.0.0/0", 3, "no off switch"),
        ("upstream:\n  allow:\n  - {a: b}", 3, "found a mapping"),
        ("upstream:\n  trust: absent.pem", 2, "there is no file"),
        ("credentials: absent.yaml", 1, "there is no file"),
        ("credentials: ~nobody-of-this-name/x", 1, "credentials"),
        ("pool: a\npool: b", 2, "second time"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'config.yaml'}:{line}: ")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_proxy_is_started_with_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").touch()
    text = "store: /store\nobservers: 2\nupload_limit: 5\nupstream: {allow: [10.0.0.0/8], trust: bundle.pem}\n"
    assert read(tmp_path, text).proxy(Path("r"), Path("n"), "p", (1.5,), refresh=True) == ProxySettings(
        Path("r"), Path("n"), "/store", "p", clock=(1.5,), observers=2, upstream_allow=("10.0.0.0/8",), upload_limit=5,
        upstream_trust=tmp_path / "bundle.pem", refresh=True, settings_file=str(tmp_path / "config.yaml"),
    )  # fmt: skip
    assert Settings().proxy(Path("r"), Path("n"), "p", ()) == ProxySettings(Path("r"), Path("n"), "", "p")


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_settings(tmp_path / "absent.yaml", {})


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["store", "pool", "observers", "upstream", "credentials", "upload_limit", "x"]),
        st.text("ab/:.~[]{}-,'1 @?=\n\t\0é", max_size=16),
        max_size=4,
    )
)
def test_no_text_crashes_it(tmp_path: Path, values: dict[str, str]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in values.items())
    try:
        found = read(tmp_path, text)
    except InputError:
        return
    assert found.observers >= 1
    assert found.pool is None or not set(found.pool) - set("ab/.-1")
    assert "@" not in found.store or "://" not in found.store
    assert found.allow is not None
