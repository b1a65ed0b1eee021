"""The layers of mitmproxy find every option that they ask for, at the value that keeps them on HTTP/1.1."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import mitmproxy.proxy
import pytest

from hermit_proxy.recorder.layeroptions import layer_options


def test_there_is_every_option_that_the_layers_of_this_version_name() -> None:
    folder = Path(mitmproxy.proxy.__file__).parent
    sources = [*folder.glob("layers/**/*.py"), folder / "server.py", folder / "context.py"]
    named = {name for path in sources for name in re.findall(r"context\.options\.([a-z0-9_]+)", path.read_text())}
    assert named >= {"rawtcp", "validate_inbound_headers"}
    made = layer_options()
    assert [name for name in named if name not in made and name != "proxyauth"] == []


@pytest.mark.parametrize("name", ["http2", "http3", "rawtcp", "websocket", "upstream_cert", "server"])
def test_what_is_not_for_this_wire_is_off(name: str) -> None:
    assert getattr(layer_options(), name) is False


def test_nothing_is_dialled_before_it_was_decided_on_and_heads_are_validated() -> None:
    made = layer_options()
    assert (made.connection_strategy, made.validate_inbound_headers) == ("lazy", True)
    assert (made.body_size_limit, made.stream_large_bodies) == (None, None)


def test_the_recorder_imports_none_of_mitmproxys_addons() -> None:
    script = "import sys, hermit_proxy.recorder.core; print(*(name for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "mitmproxy.http" in loaded
    assert not {"mitmproxy.addons", "mitmproxy.master", "flask", "ldap3", "tornado"} & set(loaded)
