"""Examines the settings of a machine; the parts that start something are in tests/integration/test_run_doctor.py."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from hermit_cli.examine import _PACKAGES, _vm, examine
from hermit_cli.findings import Level

ROOT = Path(__file__).resolve().parents[3]


def test_the_packages_that_are_looked_for_are_those_that_a_user_gets() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert list(_PACKAGES) == sorted(re.split(r"[^a-z0-9-]", name)[0] for name in wanted)


@pytest.mark.parametrize(("number", "told"), [(1, ", 1 secret"), (2, ", 2 secrets")])
def test_the_secrets_of_a_user_are_counted(tmp_path: Path, number: int, told: str) -> None:
    folder = tmp_path / "config/hermit"
    folder.mkdir(parents=True)
    lines = ["credentials:"]
    for name in ("one", "two")[:number]:
        lines += [f"  {name}: {{host: {name}.example.org, path: /, secret_file: {name}, as: bearer}}"]
        (folder / name).write_text("a-secret-of-a-test\n")
        (folder / name).chmod(0o600)
    (folder / "credentials.yaml").write_text("\n".join(lines) + "\n")
    (folder / "credentials.yaml").chmod(0o600)
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}
    found = next(one for one in examine({**os.environ, **own}) if one.name == "credentials")
    assert found.detail.endswith(told)


def test_what_a_vm_lacks_is_a_warning_and_kvm_is_not_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermit_workers.vm.layout.PATH", str(tmp_path))
    monkeypatch.setattr("hermit_workers.vm.link._PATH", str(tmp_path))
    lacking = _vm()
    assert (lacking.name, lacking.level) == ("vm", Level.WARN)
    assert lacking.detail.startswith("libvirtd is not installed, and VMs need it")
    assert "apt-get install" in str(lacking.mend)
    for name in ("libvirtd", "virtlogd", "virsh", "qemu-system-x86_64", "ip", "nft"):
        (tmp_path / name).touch(mode=0o755)  # that none of them runs is no matter: none is started
    there = _vm()
    assert (there.level, there.mend) == (Level.OK, None)
    assert "not probed" in there.detail
