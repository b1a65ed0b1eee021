"""Looks from inside of real builds: what they see is the same for every caller, and their trust outlives an upgrade."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import registries
from tests.support.buildhome import OTHER, BuildHome
from tests.support.hermit import need_namespaces

MARK = "what-only-the-caller-knows"
# What docs/determinism.md says is the same, printed; limits are not, for the caller's own hard limits hold.
PROBE = r"""
exec 2>&1
echo "== environment"; env | sort
echo "== identity"; id; umask; pwd; hostname; getent passwd "$(id -u)"; getent hosts localhost hermit || true
cat /etc/machine-id /etc/hosts /etc/hostname /etc/resolv.conf
echo "== process"; grep -E '^(Uid|Gid|Groups|Umask|Sig(Blk|Ign)|Cap|NoNewPrivs|Seccomp)' /proc/self/status
ps 2>/dev/null || true; tty || true; ls /proc/self/fd; cut -d' ' -f5,6 /proc/self/stat; cat /proc/self/cgroup
echo "== mounts"; sed -E 's/[ug]id=[0-9]+/id/g' /proc/mounts
echo "== files"
find / /build /run/hermit /home/build /dev /sys -maxdepth 1 | LC_ALL=C sort | xargs stat -c '%A %U %G %N'
find . -type f ! -name '*.txt' | LC_ALL=C sort | xargs stat -c '%n %a %u %g %s %Y'
echo "== draws"; perl -e 'my %h = map { $_ => 1 } "a" .. "z"; print join(",", keys %h), "\n"'
date +%Z%z; date -d @0; printf 'b\na\nB\nA\n' | sort | tr '\n' ' '; sleep 0 & wait; sh -c 'echo process $$'
echo "== archive"; tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --exclude='*.txt' . | sha256sum
"""
SPEC = """\
image: debian-12
steps:
  - run: sh probe.sh > build.txt
  - run: sh probe.sh > root.txt
    user: root
artifacts: ["*.txt"]
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user may enter, as pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="hermit-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.registry
def test_a_caller_with_another_environment_gets_the_same_bytes(open_folder: Path) -> None:
    need_namespaces()
    seen = _seen(BuildHome(open_folder / "first"))
    assert b"uid=1000(build) gid=1000(build)" in seen["build.txt"]
    assert b"uid=0(root)" in seen["root.txt"]
    odd = {"PATH": os.environ["PATH"], "TZ": "Asia/Tokyo", "LANG": "de_DE.UTF-8", "LC_ALL": "C", "COLUMNS": "40"}
    odd |= {"HOME": "/nonexistent", "SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "7", "OWN": MARK, "CI": "false"}
    odd |= {"http_proxy": f"http://{MARK}.example.org:1", "JAVA_TOOL_OPTIONS": f"-D{MARK}", "GIT_CONFIG_COUNT": "0"}
    strange = ["sh", "-c", 'umask 077; ulimit -c 0; exec nohup setsid --wait nice -n 3 "$@"', "sh"]
    again = _seen(BuildHome(open_folder / "second"), environment=odd, prefix=strange, cwd=Path("/"))
    _same(seen, again)
    assert MARK not in str(again)


@pytest.mark.long  # another user has images of its own, and makes this one first
@pytest.mark.registry
def test_root_and_an_ordinary_user_get_the_same_bytes(open_folder: Path) -> None:
    need_namespaces()
    _same(_seen(BuildHome(open_folder / "first")), _seen(BuildHome(open_folder / "other", uid=OTHER)))


def _seen(user: BuildHome, **options: Any) -> dict[str, bytes]:
    """Build the probe; give what it printed for either user."""
    built = user.record(user.project("hello", SPEC, {"probe.sh": PROBE, "sub/file": "text\n"}), **options)
    assert {"build.txt", "root.txt"} <= built.artifacts.keys()
    return {name: text for name, text in built.artifacts.items() if name.endswith(".txt")}


def _same(expected: dict[str, bytes], found: dict[str, bytes]) -> None:
    for name, text in expected.items():
        assert found[name].decode().splitlines() == text.decode().splitlines(), name


# Clients that say nothing of trust find the system's own: the bundle, and the folder of hashes.
ASK = """\
for name in $(env | sed -nE 's/^(\\w*(CERT|CA_BUNDLE|CAINFO|CAFILE|cafile|CA_CERT)\\w*)=.*/\\1/p'); do unset $name; done
curl -sSf -o /dev/null -w '%{http_code} bundle\\n' "$1"
python3 - "$1" <<'PYTHON'
import ssl, sys, urllib.request
context = ssl.create_default_context(capath="/etc/ssl/certs")
print(urllib.request.urlopen(sys.argv[1], context=context).status, "hashes")
PYTHON
"""


@pytest.mark.registry
def test_installing_certificates_anew_in_a_step_leaves_the_proxy_trusted(tmp_path: Path) -> None:
    need_namespaces()
    index = registries.pip_registry()
    sources = [registries.apt_registry(source) for source in registries.apt_sources()]
    user = BuildHome(tmp_path / "user", [index, *sources])
    spec = f"""\
image: debian-12
steps:
  - apt: [curl, python3-minimal, libpython3-stdlib]
  - run: |
      apt-get -qy install --reinstall ca-certificates
      update-ca-certificates --fresh
      grep -c BEGIN /etc/ssl/certs/ca-certificates.crt > count.txt
    user: root
    network: proxy
  - run: sh ask.sh {index.url}six/ > asked.txt
    network: proxy
artifacts: ["*.txt"]
"""
    project = user.project("trust", spec, {"ask.sh": ASK})
    recorded = user.record(project)
    assert int(recorded.artifacts["count.txt"]) > 100
    assert recorded.artifacts["asked.txt"].decode().split() == ["200", "bundle", "200", "hashes"]
    replayed = user.hermetic(project)
    assert replayed.artifacts["asked.txt"] == recorded.artifacts["asked.txt"]
