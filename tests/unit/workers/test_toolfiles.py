"""Reads the tools' settings files back, by the tools where they are there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from hermit_workers.environment import Wire
from hermit_workers.toolfiles import apt_configuration, maven_settings, write_tool_files

SPACE = "{http://maven.apache.org/SETTINGS/1.0.0}"
OWN = f"""<?xml version="1.0"?>
<settings xmlns="{SPACE[1:-1]}">
  <mirrors><mirror><id>m</id><url>https://mirror.example.org</url><mirrorOf>*</mirrorOf></mirror></mirrors>
  <proxies><proxy><id>theirs</id><host>proxy.example.org</host></proxy></proxies>
</settings>"""


def parsed(text: bytes) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  what this very test had written


@pytest.mark.parametrize("installed", [None, b"", b"<settings", OWN.encode()])
def test_maven_gets_our_proxy_as_its_only_one(installed: bytes | None) -> None:
    root = parsed(maven_settings(installed, Wire()))
    proxies = root.findall(f"{SPACE}proxies/{SPACE}proxy")
    assert [proxy.findtext(f"{SPACE}host") for proxy in proxies] == ["127.0.0.1", "127.0.0.1"]
    assert [proxy.findtext(f"{SPACE}protocol") for proxy in proxies] == ["http", "https"]


def test_mavens_other_settings_stay() -> None:
    root = parsed(maven_settings(OWN.encode(), Wire()))
    assert root.findtext(f"{SPACE}mirrors/{SPACE}mirror/{SPACE}url") == "https://mirror.example.org"


def test_settings_without_a_namespace_keep_none() -> None:
    assert parsed(maven_settings(b"<settings/>", Wire())).find("proxies/proxy/host") is not None


def test_a_proxy_in_the_users_maven_settings_is_covered(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "cell"
    (home / ".m2").mkdir(parents=True)
    (home / ".m2/settings.xml").write_text(OWN)
    folder.mkdir()
    binds = write_tool_files(folder, {"HOME": str(home), "PATH": ""}, Wire(keep_caches=True))
    assert [bind.target for bind in binds] == [home / ".m2/settings.xml"]
    root = parsed(binds[0].source.read_bytes())
    assert root.find(f"{SPACE}proxies") is None
    assert root.find(f"{SPACE}mirrors") is not None


def test_caches_beside_what_a_user_must_keep_are_covered(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "cell"
    for name in (".cargo/registry", ".cargo/bin", "go/pkg/sumdb"):
        (home / name).mkdir(parents=True)
    folder.mkdir()
    binds = write_tool_files(folder, {"HOME": str(home), "PATH": ""}, Wire())
    assert {bind.target for bind in binds} == {home / ".cargo/registry", home / "go/pkg/sumdb"}
    assert all(bind.writable and not list(bind.source.iterdir()) for bind in binds)


def test_gradle_gets_a_home_with_the_users_settings_and_ours(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "cell"
    (home / ".gradle").mkdir(parents=True)
    (home / ".gradle/gradle.properties").write_text("org.gradle.parallel=true")
    (home / ".gradle/init.gradle").write_text("")
    folder.mkdir()
    write_tool_files(folder, {"HOME": str(home), "PATH": ""}, Wire())
    lines = (folder / "cache/gradle/gradle.properties").read_text().splitlines()
    assert lines[0] == "org.gradle.parallel=true"
    assert "systemProp.https.proxyHost=127.0.0.1" in lines
    assert (folder / "cache/gradle/init.gradle").resolve() == home / ".gradle/init.gradle"


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="apt is not installed")
@pytest.mark.parametrize(("hermetic", "date_check"), [(True, "false"), (False, "")])
def test_apt_reads_our_file_and_the_users(tmp_path: Path, hermetic: bool, date_check: str) -> None:
    own, ours = tmp_path / "own.conf", tmp_path / "apt.conf"
    own.write_text('Hermit::Test "theirs";\n')
    ours.write_text(apt_configuration(str(own), hermetic=hermetic))
    names = ["Hermit::Test", "APT::Sandbox::User", "Acquire::Check-Valid-Until"]
    command = ["apt-config", "shell", *[word for name in names for word in (name.replace(":", "_"), name)]]
    environment = {"APT_CONFIG": str(ours), "PATH": "/usr/bin:/bin"}
    # The machine's own configuration must not answer for ours.
    empty = tmp_path / "none"
    empty.mkdir()
    command[1:1] = ["-o", f"Dir::Etc::parts={empty}", "-o", f"Dir::Etc::main={empty}/none"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "Hermit__Test='theirs'" in said
    assert "APT__Sandbox__User='root'" in said
    assert f"Acquire__Check-Valid-Until='{date_check}'" in said or not date_check
