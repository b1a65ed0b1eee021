"""Finds the package registries that this machine's tools are set up for; none of their hosts stands in a file."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urljoin, urlsplit

import pytest

from hermit_proxy.upstream.guard import parse_allow, refusal

_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Registry:
    """Is a registry as a tool is set up for it: the URL that the tool starts at and every host that it then needs."""

    url: str
    hosts: tuple[str, ...]

    @property
    def rules(self) -> str:
        """Give one ALLOW rule for each host."""
        return rules_for(self.hosts)

    @property
    def allow(self) -> tuple[str, ...]:
        """Give what `upstream.allow` must name: hosts with private addresses, and special addresses as such."""
        needed: dict[str, None] = {}
        for authority in self.hosts:
            host = authority.partition(":")[0]
            for address in map(ipaddress.ip_address, _addresses(authority)):
                for item in (host, str(address)):
                    if refusal(address, parse_allow(needed), frozenset(), host=host):
                        needed[item] = None
        return tuple(needed)


@dataclass(frozen=True, slots=True)
class AptSource:
    """Is one suite of apt's configuration."""

    uri: str
    suite: str
    component: str

    @property
    def line(self) -> str:
        """Give the source as one line of a sources.list."""
        return f"deb {self.uri} {self.suite} {self.component}\n"


def rules_for(hosts: Iterable[str], action: str = "ALLOW") -> str:
    """Give the text of a rules file that treats every path of these authorities alike."""
    lines = [f'  - pattern: "{host}/.*"\n    action: {action}\n' for host in hosts]
    return "".join(["rules:\n", *lines])


@cache
def pip_registry() -> Registry:
    """Find pip's index and the host of its files."""
    code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    url = os.environ.get("PIP_INDEX_URL") or _said([sys.executable, "-m", "pip", "config", "get", "global.index-url"])
    url = (url or _said([sys.executable, "-c", code])).rstrip("/") + "/"
    files = {_host(urljoin(url, link)) for link in re.findall(r'href="([^"]+)"', _get(f"{url}six/").decode())}
    return _reachable(url, _host(url), *sorted(files))


@cache
def npm_registry() -> Registry:
    """Find npm's registry and the host of its tarballs."""
    url = _said(["npm", "config", "get", "registry"]).rstrip("/") + "/"
    versions = json.loads(_get(f"{url}is-number"))["versions"]
    return _reachable(url, _host(url), _host(versions["7.0.0"]["dist"]["tarball"]))


@cache
def cargo_registry() -> Registry:
    """Find cargo's sparse index by listening to whom cargo calls, and the host of the crates in its config.json."""
    with TemporaryDirectory() as folder, _note_taker() as (proxy, noted):
        project = Path(folder)
        (project / "src").mkdir()
        (project / "src/lib.rs").touch()
        manifest = '[package]\nname = "p"\nversion = "0.1.0"\n[dependencies]\nitoa = "1"\n'
        (project / "Cargo.toml").write_text(manifest)
        environment = {**os.environ, "CARGO_HTTP_PROXY": proxy, "CARGO_NET_RETRY": "0"}
        subprocess.run(["cargo", "fetch"], cwd=project, env=environment, capture_output=True, check=False)
    if not noted:
        pytest.skip("cargo asks no registry")
    url = f"https://{noted[0]}/"
    return _reachable(url, noted[0], _host(json.loads(_get(f"{url}config.json"))["dl"]))


@cache
def go_registry() -> Registry:
    """Find go's module proxy; the sum database is asked through it, as go itself does where the proxy offers that."""
    first = re.split(r"[,|]", _said(["go", "env", "GOPROXY"]))[0]
    if not first.startswith("http"):
        pytest.skip("go is set up without a module proxy")
    return _reachable(first, _host(first))


@cache
def maven_registry() -> Registry:
    """Find Maven's central repository: a mirror of the user's settings, or what Maven's own super POM names."""
    settings = Path.home() / ".m2/settings.xml"
    mirrors = re.findall(r"<mirror>.*?<url>(.*?)</url>", settings.read_text(), re.DOTALL) if settings.exists() else []
    if mirrors:
        return _reachable(mirrors[0], _host(mirrors[0]))
    home = re.search(r"Maven home: (.*)", _said(["mvn", "-v"]))
    jars = sorted(Path(home.group(1).strip()).glob("lib/maven-model-builder*.jar")) if home else []
    if not jars:
        pytest.skip("Maven is not installed")
    model = zipfile.ZipFile(jars[0]).read("org/apache/maven/model/pom-4.0.0.xml").decode()
    url = re.findall(r"<id>central</id>.*?<url>(.*?)</url>", model, re.DOTALL)[0]
    return _reachable(url, _host(url))


@cache
def apt_sources() -> tuple[AptSource, ...]:
    """Give the suites of apt's configuration whose hosts resolve; archives whose Release expires come first."""
    fields = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    lines = sorted(set(_said(["apt-get", "indextargets", "--format", fields]).splitlines()))
    found = [AptSource(*line.split("|")) for line in lines]
    reached = [source for source in found if source.uri.startswith("http") and _addresses(_host(source.uri))]
    if not reached:
        pytest.skip("apt is set up without a reachable archive")
    return tuple(sorted(reached, key=lambda source: "security" not in source.uri))


def apt_registry(source: AptSource) -> Registry:
    """Give the registry that one suite is on."""
    return _reachable(source.uri, _host(source.uri))


def _reachable(url: str, *hosts: str) -> Registry:
    for authority in dict.fromkeys(hosts):
        host, _, port = authority.partition(":")
        try:
            socket.create_connection((host, int(port or urlsplit(url).port or 443)), _TIMEOUT).close()
        except OSError as error:
            try:
                socket.create_connection((host, 80), _TIMEOUT).close()
            except OSError:
                pytest.skip(f"a registry is out of reach: {error}")
    return Registry(url, tuple(dict.fromkeys(hosts)))


def _host(url: str) -> str:
    parts = urlsplit(url)
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return parts.netloc.rpartition("@")[2].removesuffix(default)


def _addresses(authority: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(authority.partition(":")[0], None)]
    except OSError:
        return []


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")


def _get(url: str, accept: str = "text/html;q=0.9, */*;q=0.8") -> bytes:
    try:
        request = urllib.request.Request(url, headers={"accept": accept, "user-agent": "hermit-tests"})  # noqa: S310  see below
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310  a URL of the tool's own
            found: bytes = answer.read()
            return found
    except OSError as error:
        pytest.skip(f"a registry is out of reach: {error}")


@contextlib.contextmanager
def _note_taker() -> Iterator[tuple[str, list[str]]]:
    """Be a proxy that notes whom its clients want and refuses: so a tool tells the hosts that it is built with."""
    noted: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.settimeout(_TIMEOUT)
                    wanted = client.recv(4096).split(b" ")
                    if len(wanted) > 1:
                        noted.append(wanted[1].decode().removesuffix(":443"))
                    client.sendall(b"HTTP/1.1 403 noted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", noted
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
