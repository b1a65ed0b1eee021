"""The commands of steps, run by the real shells and the real tar: what they do, and that no name is an option."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from hermit_steps.commands import argv
from hermit_steps.spec import Action, Apt, Pack, Run, Unpack

EPOCH = 1_700_000_000
POLICY = "/usr/sbin/policy-rc.d"


def run(action: Action, folder: Path, *, update: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [part.replace(POLICY, f"{folder}/policy-rc.d") for part in argv(action, epoch=EPOCH, update=update)]
    return subprocess.run(
        command, cwd=folder, env=dict(os.environ) | environment, check=False, capture_output=True, text=True
    )


def pack(folder: Path, source: str, target: str) -> str:
    done = run(Pack(PurePosixPath(source), PurePosixPath(target)), folder)
    assert done.returncode == 0, done.stderr
    return hashlib.sha256((folder / target).read_bytes()).hexdigest()


def test_a_script_ends_with_the_first_command_that_fails(tmp_path: Path) -> None:
    done = run(Run("echo a\nfalse\necho b\n"), tmp_path)
    assert (done.returncode, done.stdout) == (1, "a\n")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_script_that_begins_like_an_option_is_a_command(tmp_path: Path, shell: str) -> None:
    done = run(Run("-x; echo never", "bash" if shell == "bash" else "sh"), tmp_path)
    assert done.returncode == 127
    assert "-x" in done.stderr
    assert not done.stdout


def test_bash_sees_a_failure_within_a_pipe_and_sh_does_not(tmp_path: Path) -> None:
    assert run(Run("false | true\n[[ a == a ]]", "bash"), tmp_path).returncode == 1
    assert run(Run("false | true"), tmp_path).returncode == 0


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """Give a folder with an apt-get that writes down how it is called."""
    program = tmp_path / "bin/apt-get"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nprintf "[%s]" "$@" >>{tmp_path}/calls\necho >>{tmp_path}/calls\nexit "${{STATUS:-0}}"\n'
    )
    program.chmod(0o755)
    return tmp_path


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_packages_stand_behind_the_last_option(apt: Path) -> None:
    done = run(Apt(("g++", "-y", "--download-only", "$(id)")), apt, PATH=f"{apt}/bin:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    (install,) = calls(apt)
    assert install.endswith("[-y][--no-install-recommends][install][--][g++][-y][--download-only][$(id)]")


def test_the_first_apt_step_fetches_the_lists_and_ends_where_it_cannot(apt: Path) -> None:
    path = f"{apt}/bin:{os.environ['PATH']}"
    run(Apt(("vim",)), apt, update=True, PATH=path)
    assert [line.rpartition("[update]")[1] for line in calls(apt)] == ["[update]", ""]
    assert run(Apt(("vim",)), apt, update=True, PATH=path, STATUS="100").returncode == 100
    assert len(calls(apt)) == 3


def test_no_package_starts_a_service_unless_the_image_has_a_policy_of_its_own(apt: Path) -> None:
    policy = apt / "policy-rc.d"
    run(Apt(("vim",)), apt, PATH=f"{apt}/bin:{os.environ['PATH']}")
    assert subprocess.run([policy], check=False).returncode == 101
    policy.write_text("its own")
    run(Apt(("vim",)), apt, PATH=f"{apt}/bin:{os.environ['PATH']}")
    assert policy.read_text() == "its own"


_ZSTD = pytest.param(".tar.zst", marks=pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed"))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.xz", _ZSTD])
def test_the_same_files_make_the_same_archive_in_any_order_and_at_any_time(tmp_path: Path, suffix: str) -> None:
    for name, order in (("one", "abc"), ("two", "cba")):
        (tmp_path / name / "d").mkdir(parents=True)
        for number, file in enumerate(order):
            path = tmp_path / name / "d" / file
            path.write_text(file)
            os.utime(path, (number, number))
    assert pack(tmp_path, "one", f"x/one{suffix}") == pack(tmp_path, "two", f"x/y/two{suffix}")


def test_an_archive_has_sorted_names_one_time_and_nobodys_owner(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b", "a", "-c"):
        (tmp_path / "in" / name).write_text(name)
    pack(tmp_path, "in", "out.tar")
    listed = subprocess.run(
        ["tar", "-tv", "--full-time", "--utc", "--numeric-owner", "-f", "out.tar"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert [line.split()[-1] for line in listed] == ["./", "./-c", "./a", "./b"]
    assert {tuple(line.split()[i] for i in (1, 3, 4)) for line in listed} == {("0/0", "2023-11-14", "22:13:20")}


@pytest.mark.parametrize(
    "name", ["host:x.tar", "-x.tar", "--to-command=touch pwned.tar", "a b'c.tar", "$(touch pwned).tar"]
)
def test_what_is_packed_is_unpacked_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "--in").mkdir()
    (tmp_path / "--in/f").write_text("content")
    pack(tmp_path, "--in", name)
    done = run(Unpack(PurePosixPath(name), PurePosixPath("-C/deep")), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "-C/deep/f").read_text() == "content"
    assert {path.name for path in tmp_path.iterdir()} == {"--in", "-C", name}


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = run(Pack(PurePosixPath("dist"), PurePosixPath("a.tar")), tmp_path)
    assert (done.returncode, done.stderr) == (1, "pack: there is no folder dist\n")


def test_a_program_that_the_image_lacks_is_told_with_its_package(tmp_path: Path) -> None:
    for action in (
        Pack(PurePosixPath("."), PurePosixPath("a.tar.zst")),
        Unpack(PurePosixPath("a.tar.zst"), PurePosixPath("b")),
    ):
        done = run(action, tmp_path, PATH=str(tmp_path))
        assert done.returncode == 127
        assert "needs zstd, which the image lacks" in done.stderr


def test_a_packing_program_that_fails_fails_the_step(tmp_path: Path) -> None:
    gzip = tmp_path / "bin/gzip"
    gzip.parent.mkdir()
    gzip.write_text("#!/bin/sh\ncat >/dev/null\nexit 1\n")
    gzip.chmod(0o755)
    done = run(
        Pack(PurePosixPath("bin"), PurePosixPath("a.tar.gz")), tmp_path, PATH=f"{gzip.parent}:{os.environ['PATH']}"
    )
    assert done.returncode != 0
