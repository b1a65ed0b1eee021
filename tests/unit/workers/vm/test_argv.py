"""Runs what a step is called by: the same rights and limits as in a sandbox."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess

import pytest

from hermit_workers.cell import Limits, User
from hermit_workers.sandbox.limits.rlimits import rlimits
from hermit_workers.vm.argv import step_argv

LIMITS = Limits(processes=777, disk=1 << 30)
TELLS = "id -u; id -g; grep -E '^(CapPrm|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status; cat /proc/self/limits"


@pytest.mark.skipif(
    os.geteuid() != 0 or not (shutil.which("setpriv") and shutil.which("prlimit")), reason="only root gives rights away"
)
@pytest.mark.parametrize(("user", "uid", "rights"), [("build", "1000", 0), ("root", "0", 0x800400FB)])
def test_a_step_is_its_user_with_the_rights_and_limits_of_a_sandbox(user: User, uid: str, rights: int) -> None:
    argv = step_argv(["/bin/sh", "-c", TELLS], user, LIMITS)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 65536:  # this machine's root may not raise it; a guest's may
        argv.remove("--nofile=1024:65536")
    said = subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/").stdout.splitlines()
    assert said[:2] == [uid, uid]
    told = dict(line.split(":\t") for line in said[2:6])
    assert int(told["CapPrm"], 16) == int(told["CapAmb"], 16) == rights
    assert int(told["CapBnd"], 16) == rights
    assert told["NoNewPrivs"] == "1"
    limits = {line[:26].strip(): line[26:].split()[:2] for line in said[7:]}
    assert limits["Max processes"] == ["777", "777"]
    assert limits["Max file size"] == [str(1 << 30)] * 2
    assert limits["Max stack size"] == ["8388608", "unlimited"]
    assert limits["Max core file size"] == ["1", "1"]


def test_every_limit_of_a_sandbox_has_its_option() -> None:
    argv = step_argv(["true"], "build", LIMITS)
    assert len([word for word in argv if word.startswith("--") and "=" in word and ":" in word]) == len(rlimits(LIMITS))
    assert "--nofile=1024:65536" in argv
    assert argv[-2:] == ["--", "true"]
    assert resource.RLIMIT_AS not in rlimits(LIMITS)
