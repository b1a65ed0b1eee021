"""Has a real master build in a VM, by one setting of the worker that builds in sandboxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.faults.processes import below
from tests.integration.vm.test_build_vm import library, project  # noqa: F401  fixtures
from tests.support import master as masters
from tests.support.builds import BuildProject
from tests.support.repository import git

pytestmark = [pytest.mark.long, pytest.mark.registry, pytest.mark.timeout(600)]


def test_a_master_records_a_commit_in_a_vm_and_leaves_no_machine(
    project: BuildProject,  # noqa: F811  the fixture
    tmp_path: Path,
) -> None:
    git(project.root, "init", "-q", "-b", "main")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-q", "-m", "x")
    made = git(project.root, "rev-parse", "HEAD")
    masters.create(tmp_path / "template")
    with masters.running(tmp_path / "template", tmp_path / "master", cell="vm", patience=300) as master:
        (build,) = master.ended(master.force("record", project.root, "main", made))
        assert build.result == "success", (build, master.said)
        assert "booting a machine: emulated" in build.logs["prepare"]
        out = Path(build.properties["hermit_kept"], "artifacts")
        assert (out / "thing").read_text() == "content\n"
        masters.until("the machine to go", lambda: not below(master.process.pid))
