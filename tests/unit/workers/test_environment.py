"""Looks at the environment as tools would."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.environment import CELL_ROOT, Wire, cache_folders, cell_environment, java_options

BUNDLE = "/run/hermit/ca-bundle.crt"
PROXY = "http://127.0.0.1:3128"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http_proxy", PROXY),
        ("https_proxy", PROXY),
        ("HTTPS_PROXY", PROXY),
        ("PIP_PROXY", PROXY),
        ("npm_config_https_proxy", PROXY),
        ("CARGO_HTTP_PROXY", PROXY),
        ("SSL_CERT_FILE", BUNDLE),
        ("REQUESTS_CA_BUNDLE", BUNDLE),
        ("CURL_CA_BUNDLE", BUNDLE),
        ("PIP_CERT", BUNDLE),
        ("CARGO_HTTP_CAINFO", BUNDLE),
        ("GIT_SSL_CAINFO", BUNDLE),
        ("AWS_CA_BUNDLE", BUNDLE),
        ("npm_config_cafile", "/run/hermit/ca.pem"),
        ("SSL_CERT_DIR", "/etc/ssl/certs"),
        ("NODE_EXTRA_CA_CERTS", "/run/hermit/ca.pem"),
        ("NODE_USE_SYSTEM_CA", "1"),
        ("NODE_USE_ENV_PROXY", "1"),
        ("npm_config_audit", "false"),
    ],
)
def test_tools_get_proxy_and_trust_whatever_the_user_had(name: str, value: str) -> None:
    assert cell_environment({}, Wire())[name] == value
    assert cell_environment({name: "/somewhere/else"}, Wire())[name] == value


@pytest.mark.parametrize(
    "name", ["SSH_AUTH_SOCK", "DOCKER_HOST", "DBUS_SESSION_BUS_ADDRESS", "gopher_proxy", "DISPLAY"]
)
def test_ways_out_are_dropped(name: str) -> None:
    assert name not in cell_environment({name: "anything"}, Wire())


def test_only_the_cells_own_loopback_goes_around_the_proxy() -> None:
    environment = cell_environment({"no_proxy": "*", "NO_PROXY": ".example.org"}, Wire())
    assert {environment["no_proxy"], environment["NO_PROXY"]} == {"localhost,127.0.0.1,::1"}


def test_everything_else_of_the_user_stays() -> None:
    user = {"PATH": "/usr/bin", "LANG": "de_DE.UTF-8", "MY_TOKEN_FILE": "/home/user/x", "EMPTY": ""}
    assert cell_environment(user, Wire()).items() >= user.items()


@pytest.mark.parametrize("form", ["{}", "unix://{}"])
def test_a_variable_that_names_a_dead_socket_is_dropped(tmp_path: Path, form: str) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        user = {"SOME_AGENT": form.format(path)}
        assert "SOME_AGENT" not in cell_environment(user, Wire(), dead=[str(path)])
        assert "SOME_AGENT" in cell_environment(user, Wire())


def test_every_cache_is_empty_unless_the_user_keeps_theirs() -> None:
    fresh = cell_environment({"PIP_CACHE_DIR": "/home/user/pip"}, Wire())
    assert fresh["PIP_CACHE_DIR"] == "/run/hermit/cache/pip"
    folders = {PurePosixPath(v).name for v in fresh.values() if PurePosixPath(v).parent == CELL_ROOT / "cache"}
    assert folders | {"m2-repository"} == set(cache_folders())
    kept = cell_environment({"PIP_CACHE_DIR": "/home/user/pip"}, Wire(keep_caches=True))
    assert kept["PIP_CACHE_DIR"] == "/home/user/pip"
    assert not [value for value in kept.values() if "/run/hermit/cache" in value]


def test_the_jvm_gets_options_after_the_users_own() -> None:
    value = cell_environment({"JAVA_TOOL_OPTIONS": '-Dmine="a b" -Dhttp.proxyHost=x'}, Wire())["JAVA_TOOL_OPTIONS"]
    assert value.startswith('-Dmine="a b" -Dhttp.proxyHost=x -Dhttp.proxyHost=127.0.0.1 ')
    assert "-Djavax.net.ssl.trustStore=/run/hermit/ca.jks" in value


def test_the_jvm_options_hold_no_spaces() -> None:
    assert not [option for option in java_options(Wire()) if " " in option]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_takes_our_proxy_over_the_users_and_keeps_their_other_settings(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[http]\n\tproxy = http://proxy.example.org:1\n")
    user = {
        "PATH": "/usr/bin:/bin",
        "GIT_CONFIG_GLOBAL": str(tmp_path / "config"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Me",
    }
    environment = cell_environment(user, Wire())
    said = [
        subprocess.run(["git", "config", key], env=environment, capture_output=True, text=True, check=True).stdout
        for key in ("http.proxy", "user.name")
    ]
    assert said == [f"{PROXY}\n", "Me\n"]
