"""Tests what is read from Maven and its settings."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from hermit_cli.init.registries.maven import ask

MODEL = """<project xmlns="http://maven.apache.org/POM/4.0.0"><repositories><repository><id>central</id>
<url>https://central.example.org/maven2</url></repository></repositories></project>"""


def install(folder: Path, model: str) -> dict[str, str]:
    for name in ("maven/bin", "maven/lib", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "maven/bin/mvn").write_text("#!/bin/sh\nexit 1\n")
    (folder / "maven/bin/mvn").chmod(0o755)
    (folder / "bin/mvn").symlink_to(folder / "maven/bin/mvn")
    with zipfile.ZipFile(folder / "maven/lib/maven-model-builder-3.x.jar", "w") as archive:
        archive.writestr("org/apache/maven/model/pom-4.0.0.xml", model)
    return {"PATH": f"{folder / 'bin'}:{os.defpath}", "HOME": str(folder)}


def test_the_central_repository_is_read_from_the_super_pom(tmp_path: Path) -> None:
    found = ask(install(tmp_path, MODEL))
    assert [one.url for one in found.asked] == ["https://central.example.org/maven2"]


@pytest.mark.parametrize("model", ["<broken", "<project/>"])
def test_a_maven_that_names_none_is_filled_in(model: str, tmp_path: Path) -> None:
    assert ask(install(tmp_path, model)).unknown


def test_a_mirror_is_told_without_its_login_for_no_variable_makes_maven_use_it(tmp_path: Path) -> None:
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2/settings.xml").write_text(
        "<settings><mirrors><mirror><url>https://user:hunter2@m.example.org/x</url></mirror></mirrors></settings>"
    )
    found = ask(install(tmp_path, MODEL))
    assert "hunter2" not in repr(found)
    assert found.notes[0].startswith("Maven asks the mirror https://m.example.org/x here")
    assert found.environment == {}
