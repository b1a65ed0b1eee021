"""Attacks from inside `hermit run`: every other way out of the cell than its proxy, tried inside and outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hostile.rows import attack
from tests.integration.hostile.wire import Hostile
from tests.support.hermit import Hermit, need_namespaces
from tests.support.origin import Origin

PROBE = Path(__file__).with_name("probe.py")
ABSTRACT = f"\0hermit-hostile-{os.getpid()}"
SECRET = "the-token-that-no-command-sees"
GOOD = "good.example.org"


def _unix(stack: ExitStack, kind: int, name: str) -> None:
    listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
    listener.bind(name)
    if kind != socket.SOCK_DGRAM:
        listener.listen(8)


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Try everything once outside of a cell and once inside of each kind."""
    need_namespaces()
    folder = tmp_path_factory.mktemp("cell")
    user = Hermit(folder / "user", names=[GOOD])
    with ExitStack() as stack:
        origin = stack.enter_context(Origin())
        origin.route("/good", b"good")
        victim = stack.enter_context(Hostile(address="0.0.0.0"))  # noqa: S104  to be found at every address
        victim6 = stack.enter_context(Hostile(address="::", port=victim.port))
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        paths = [folder / "stream.sock", folder / "datagram.sock"]
        _unix(stack, socket.SOCK_STREAM, str(paths[0]))
        _unix(stack, socket.SOCK_DGRAM, str(paths[1]))
        _unix(stack, socket.SOCK_STREAM, ABSTRACT)
        hidden = folder / "user/config/hermit"
        (hidden / "token").write_text(SECRET + "\n")
        (hidden / "token").chmod(0o600)
        outside_token = folder / "token-elsewhere"
        outside_token.write_text(SECRET + "\n")
        outside_token.chmod(0o600)
        (hidden / "credentials.yaml").write_text(
            f"credentials:\n  a: {{host: 'https://{GOOD}', path: /, secret_file: token, as: bearer}}\n"
            f"  b: {{host: 'https://{GOOD}', path: /, secret_file: '{outside_token}', as: bearer}}\n"
        )
        (hidden / "credentials.yaml").chmod(0o600)
        task = {
            "tcp": victim.port,
            "udp": datagrams.getsockname()[1],
            "unix": [str(path) for path in paths],
            "abstract": ABSTRACT,
            "hidden": [str(folder / "user/store"), str(folder / "user/state/hermit"), str(hidden), str(outside_token)],
            "good": origin.url(GOOD, "/good"),
        }
        (folder / "task.json").write_text(json.dumps(task))
        command = [sys.executable, "-I", str(PROBE), str(folder / "task.json")]
        # A first run, so that there is a store to find; and what the host itself gets to see.
        recorded = user.record(*command)
        found = {"record": json.loads(recorded.out.splitlines()[-1])}
        reached = victim.connections + victim6.connections
        found["hermetic"] = json.loads(user.hermetic(*command).out.splitlines()[-1])
        reached += victim.connections + victim6.connections - reached
        found["reached"] = {"from inside": reached}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        found["outside"] = json.loads(done.stdout.splitlines()[-1])
        yield found


def barred(probes: dict[str, dict[str, Any]], name: str) -> None:
    """See that an attempt fails in both modes and succeeds where there is no cell."""
    for mode in ("record", "hermetic"):
        tried = {key: value for key, value in probes[mode].items() if key.startswith(name)}
        assert tried
        assert not any(value == "reached" for value in tried.values()), (mode, tried)
    assert any(value == "reached" for key, value in probes["outside"].items() if key.startswith(name)), probes[
        "outside"
    ]


@attack("cell-loopback")
def test_the_hosts_loopback_and_addresses_are_not_there(probes: dict[str, dict[str, Any]]) -> None:
    barred(probes, "tcp ")
    barred(probes, "udp ")
    assert probes["reached"]["from inside"] == 0


@attack("cell-abstract")
def test_abstract_sockets_of_the_host_are_not_there(probes: dict[str, dict[str, Any]]) -> None:
    barred(probes, "abstract")


@attack("cell-unix")
def test_named_sockets_of_the_host_lead_nowhere(probes: dict[str, dict[str, Any]]) -> None:
    barred(probes, "unix ")


@attack("cell-families")
def test_vsock_packet_and_other_families_do_not_exist(probes: dict[str, dict[str, Any]]) -> None:
    barred(probes, "family ")


@attack("cell-hidden")
def test_store_runs_settings_and_secret_files_are_not_there(probes: dict[str, dict[str, Any]]) -> None:
    barred(probes, "hidden ")


@attack("cell-control")
def test_no_descriptor_of_the_proxy_or_its_supervisor_is_inherited(probes: dict[str, dict[str, Any]]) -> None:
    for mode in ("record", "hermetic"):
        assert probes[mode]["sockets inherited"] == [], probes[mode]
        assert probes[mode]["processes of others"] == [], probes[mode]
    assert probes["outside"]["processes of others"]


@attack("cell-kernel")
def test_no_further_namespace_or_kernel_interface_opens_a_way(probes: dict[str, dict[str, Any]]) -> None:
    for mode in ("record", "hermetic"):
        tried = {key: value for key, value in probes[mode].items() if key.startswith("kernel ")}
        assert len(tried) >= 5
        assert not any(value == "reached" for value in tried.values()), (mode, tried)
    assert any(value == "reached" for key, value in probes["outside"].items() if key.startswith("kernel "))


@attack("cell-wire")
def test_the_proxy_is_the_one_thing_that_is_reached(probes: dict[str, dict[str, Any]]) -> None:
    assert probes["record"]["proxy"] == probes["hermetic"]["proxy"] == "good"
    assert probes["record"]["interfaces"] == probes["hermetic"]["interfaces"] == ["lo"]


@attack("other-run")
def test_another_run_has_another_wire_and_other_rules(tmp_path: Path) -> None:
    need_namespaces()
    with Origin() as origin:
        origin.route("/good", b"good")
        user = Hermit(tmp_path / "user", names=[GOOD])
        other = Hermit(tmp_path / "other", names=[GOOD], rules="rules: []\n")
        script = f"curl -s -o /dev/null -w '%{{http_code}} ' {origin.url(GOOD, '/good')}; "
        nested = other.command_line("run", "--mode", "record", "--rules", other.rules, "--snapshot", other.snapshot)
        assert user.record(script).out == "200 "
        run = other.record(script, expect=3)
        assert run.out == "403 "
        # Inside of a run there is no second one, and nothing of the first one's to take over.
        assert user.record(f"{script} {' '.join(nested)} -- true || echo none").out.startswith("200 none")
        # Nor does anything else listen in there: the first run's wire is in a namespace of its own.
        ask = "curl -s -o /dev/null -w '%{http_code} ' http://127.0.0.1:$port/ || true"
        ports = f"for port in 3127 3129 8080; do {ask}; done"
        assert other.record(ports, env={"no_proxy": "*", "NO_PROXY": "*"}).out == "000 000 000 "
