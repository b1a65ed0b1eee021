"""A real Debian is made through the recorder, made again without any network, and nothing is left of what fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hermit_proxy.snapshot.tree import read_tree
from hermit_workers.image.library import Image, Library
from tests.support.hermit import UNPLUGGED, need_namespaces
from tests.support.registries import apt_registry, apt_sources

pytestmark = [pytest.mark.registry, pytest.mark.timeout(600)]

RECIPE = """\
base: debian-12
packages: [make]
files:
  /etc/hello: hello.txt
  /opt/tool/run: run.sh
commands:
  - id -u; grep -H '' /etc/hello
  - grep CapEff /proc/self/status >/usr/share/seen; echo >>/usr/share/seen; ls / >>/usr/share/seen
  - touch /tmp/gone /run/gone; chown 1000:1000 /usr/share/seen; cd /opt/tool && ln -s run other
  - if (bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128') 2>/dev/null; then exit 9; fi
  - if echo x >/proc/sys/kernel/core_pattern; then exit 9; fi 2>/dev/null
  - date -u +%s >/usr/share/now; rm /usr/share/now
"""
# The numbers are those of capabilities(7).
CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_CHROOT": 18,
    "SETFCAP": 31,
}  # fmt: skip
_TIMEOUT = 570


@dataclass(frozen=True, slots=True)
class User:
    """Is a user of their own with one project, whose archives are those of this machine's apt."""

    folder: Path

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def environment(self) -> dict[str, str]:
        own = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        return {**os.environ, **own, "NO_COLOR": "1"}

    @property
    def library(self) -> Library:
        return Library.of(self.environment)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "hermit_cli.main", "image", *arguments]

    def run(self, *arguments: str, expect: int = 0, unplugged: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*(UNPLUGGED if unplugged else []), *self.command(*arguments)],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}"
        return done

    def lock(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((self.project / ".hermit" / "image.lock").read_text())
        return found

    def left(self) -> list[str]:
        """Name what lies in the library beside whole images."""
        folder = self.library.folder
        return sorted(name for name in os.listdir(folder) if name.startswith(".")) if folder.exists() else []


def make_user(folder: Path) -> User:
    need_namespaces()
    user = User(folder)
    allow = [item for source in apt_sources() for item in apt_registry(source).allow]
    settings = folder / "config" / "hermit" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(yaml.safe_dump({"upstream": {"allow": allow}} if allow else {"observers": 1}))
    user.project.mkdir()
    (user.project / "image.yaml").write_text(RECIPE)
    (user.project / "hello.txt").write_text("hello\n")
    (user.project / "run.sh").write_text("#!/bin/sh\n")
    (user.project / "run.sh").chmod(0o755)
    return user


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Have the image of a recipe made once."""
    user = make_user(tmp_path_factory.mktemp("images"))
    user.run("build", "image.yaml")
    return user


@pytest.fixture
def image(user: User) -> Image:
    found = user.library.get(user.lock()["digest"])
    assert found is not None
    return found


def test_the_image_has_the_recipes_packages_files_and_the_user_of_builds(image: Image) -> None:
    names = {component["name"] for component in json.loads(image.bill.read_bytes())["components"]}
    assert {"make", "git", "ca-certificates", "dpkg", "bash"} <= names
    assert len(names) == image.packages
    root = image.root
    assert (root / "etc" / "hello").read_text() == "hello\n"
    assert (root / "opt" / "tool" / "other").readlink() == Path("run")
    assert (root / "opt" / "tool" / "run").stat().st_mode & 0o777 == 0o755
    assert "\nbuild:x:1000:1000::/home/build:/bin/bash\n" in (root / "etc" / "passwd").read_text()
    owner = root.stat().st_uid
    assert owner not in {0, os.getuid()}
    for own in ("build", "home/build", "usr/share/seen"):
        assert (root / own).stat().st_uid == owner + 1000


def test_nothing_of_the_making_or_the_machine_is_in_the_image(image: Image) -> None:
    root = image.root
    gone = ["etc/resolv.conf", "etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap", "etc/passwd-", "tmp/gone"]
    gone += ["run/gone", "run/hermit", "var/log/dpkg.log", "var/log/bootstrap.log", "setup"]
    assert [path for path in gone if (root / path).exists()] == []
    assert list((root / "var" / "lib" / "apt" / "lists").iterdir()) == []
    assert (root / "etc" / "hostname").read_text() == "hermit\n"
    beside = ["files.gz", "hermit", "image.json", "packages.cdx.json", "root"]
    assert sorted(path.name for path in image.folder.iterdir()) == beside
    young = [path for path in root.rglob("*") if path.lstat().st_mtime > image.made]
    assert young == []


def test_a_command_has_a_cells_capabilities_and_sees_nothing_but_the_tree(image: Image) -> None:
    capabilities, _, *names = (image.root / "usr" / "share" / "seen").read_text().splitlines()
    assert int(capabilities.split()[1], 16) == sum(1 << number for number in CAPABILITIES.values())
    assert {"etc", "usr"} <= set(names)
    assert not {"image", "setup", "hermit"} & set(names)


def test_its_record_is_beside_it_and_names_only_the_archives(image: Image) -> None:
    entries = list(read_tree(image.network))
    uris = [source.uri for source in apt_sources()]
    assert len(entries) > image.packages
    assert [entry.url for entry in entries if not entry.url.startswith(tuple(uris))] == []


def test_made_again_unplugged_it_is_the_same_byte_for_byte(user: User, image: Image) -> None:
    done = user.run("build", "image.yaml", "--rebuild", "--json", unplugged=True)
    shown = json.loads(done.stdout)
    assert (shown["same"], shown["rebuilt"]) == (True, image.digest)
    assert shown["replayed"] == shown["requests"] > image.packages
    assert user.left() == []


def test_every_byte_of_it_is_as_its_digest_says(user: User) -> None:
    assert "right" in user.run("verify").stdout


def test_a_record_that_lacks_something_makes_no_image_and_is_named(user: User, image: Image) -> None:
    """The record is changed in place, and put back."""
    files = {path: path.read_text() for path in image.network.iterdir()}
    kept = {path: text.replace("/make_", "/mute_") for path, text in files.items()}
    assert kept != files
    try:
        for path, text in kept.items():
            path.write_text(text)
        done = user.run("build", "image.yaml", "--rebuild", expect=3, unplugged=True)
    finally:
        for path, text in files.items():
            path.write_text(text)
    assert "/mute_" in done.stderr
    assert user.left() == []


def test_a_package_that_is_nowhere_fails_with_the_installers_words(user: User) -> None:
    (user.project / "bad.yaml").write_text("base: debian-12\npackages: [no-such-package-anywhere]\n")
    done = user.run("build", "bad.yaml", expect=4)
    assert "no-such-package-anywhere" in done.stderr
    assert user.lock()["image"] == "image.yaml"
    assert user.left() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_of_a_making_that_is_killed_nothing_runs_on_and_the_next_one_sweeps(tmp_path: Path, number: int) -> None:
    user = make_user(tmp_path)
    with subprocess.Popen(
        user.command("build"), cwd=user.project, env=user.environment, stderr=subprocess.PIPE, text=True
    ) as making:
        assert making.stderr is not None
        for line in making.stderr:
            if "unpacking" in line:
                break
        making.send_signal(number)
        making.wait(60)
    until = time.monotonic() + 30
    while (running := processes_in(user.folder)) and time.monotonic() < until:
        time.sleep(0.1)
    assert running == []
    assert user.library.images() == []
    assert not (user.project / ".hermit").exists()
    if number == signal.SIGTERM:
        assert user.left() == []
    user.run("gc")
    assert [name for name in user.left() if not name.startswith(".turn-")] == []


def processes_in(folder: Path) -> list[str]:
    """Name the processes whose command line or working folder is in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = os.readlink(process / "cwd")
        except OSError:
            continue
        mine = int(process.name) == os.getpid()  # a test stands in its folder
        if not mine and (str(folder) in told or place.startswith(str(folder))):
            found.append(told)
    return found
