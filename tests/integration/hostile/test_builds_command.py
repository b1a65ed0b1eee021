"""Attacks of a build on `hermit build` itself: its wire, rules, authority, output and the user's project."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermit_workers.image.library import DESCRIPTION, Image, describe
from hermit_workers.image.lock import write_lock
from hermit_workers.image.maker import architecture
from hermit_workers.image.making import lock_path, pin
from hermit_workers.image.recipe import load_recipe
from hermit_workers.sandbox.namespaces.mapped import remove_tree
from tests.integration.hostile.bastion import TOOL_ENVIRONMENT, TOOLS, program, tree
from tests.integration.hostile.rows import attack
from tests.support.hermit import PRIVATE, Hermit, need_namespaces
from tests.support.origin import Origin

GOOD = "good.example.org"
_RULES = f"rules:\n- {{pattern: '{GOOD}:[0-9]+/good', action: ALLOW}}\n- {{pattern: '{GOOD}/good', action: ALLOW}}\n"
_DIGEST = "sha256:" + "5a" * 32
_SPEC = """\
image: debian-12
steps:
  - {run: "sh .hermit/attack online", network: proxy, user: root}
  - {run: "sh .hermit/attack offline", user: root}
  - {run: "sh .hermit/attack again", network: proxy, user: root}
artifacts: ["left/*"]
"""
_ATTACK = r"""
set -e
client() { PYTHONHOME=%(home)s LD_LIBRARY_PATH=%(library)s %(client)s "$@"; }
mkdir -p left
case $1 in
online)
    printf '\033]0;title\007\033[2Jprinted\033[8m\n\302\233 2J\n'
    client leave %(good)s
    client step online %(good)s
    # The rules, the spec and the snapshot of this very build, where the source has them.
    all='rules:\n- {pattern: ".*/.*", action: ALLOW}\n- {pattern: ".*:[0-9]+/.*", action: ALLOW}\n'
    printf "$all" > .hermit/rules.yaml
    echo 'image: other' > .hermit/build.yaml; mkdir -p .hermit/network; echo x > .hermit/network/%(host)s.yaml
    client ask left/statuses %(good)s %(evil)s http://hermit.internal/health http://hermit.internal/control
    # The user's project, by the path that it has on the host.
    mkdir -p %(project)s; echo taken > %(project)s/taken; echo taken > %(project)s/.hermit/rules.yaml || true
    cp /run/hermit/%(certificate)s left/authority.pem
    client trust left/trust %(host)s $(test -e old.pem && echo old.pem) /run/hermit/%(certificate)s
    printf -- '-----BEGIN PRIVATE KEY-----\n' > /build/planted
    find / -xdev -type f -size -200k -not -path '*/perl*' -not -path '/opt/*' -not -name attack \
        -exec grep -l 'BEGIN .*PRIVATE KEY' {} + > left/keys || true
    env | grep -c 'PRIVATE KEY' >> left/keys || true
    ;;
offline) client step offline %(good)s ;;
again) client step again %(good)s; client found left/log ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Built:
    """Is one build: its exit code, what it showed, and its artifacts."""

    code: int
    shown: str
    left: dict[str, str]


class Site:
    """Is a user with a hostile project, whose folder's name is an option as well."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        """Write settings, image and project."""
        self.user = Hermit(folder / "user", names=[GOOD], rules=_RULES)
        self.project = folder / "-rf"
        shutil.move(self.user.project, self.project)
        words = {
            "home": TOOLS,
            "library": TOOL_ENVIRONMENT["LD_LIBRARY_PATH"],
            "client": " ".join(f"'{word}'" for word in program("client")),
            "good": origin.url(GOOD, "/good"),
            "evil": origin.url(GOOD, "/evil"),
            "host": GOOD,
            "project": str(self.project),
            "certificate": "ca.pem",
        }
        (self.project / ".hermit/attack").write_text(_ATTACK % words)
        (self.project / ".hermit/build.yaml").write_text(_SPEC)
        (self.project / "--help").write_text("a name\n")
        recipe = load_recipe("debian-12", self.project)
        place = folder / "user/data/hermit/images" / _DIGEST.removeprefix("sha256:")
        image = Image("debian-12", _DIGEST, recipe.digest, architecture(), 1, 1, 1, place)
        place.mkdir(parents=True)
        (place / "root").symlink_to(tree())
        (place / DESCRIPTION).write_bytes(describe(image, {}))
        write_lock(lock_path(self.project), pin(recipe, image))

    def build(self, mode: str = "record") -> Built:
        """Build."""
        done = subprocess.run(
            [
                *(*PRIVATE, "sh", "-ec", 'mount --bind "$1" /etc/hosts; shift; exec "$@"', "sh"),
                str(self.user.folder / "hosts"),
                *self.user.command_line("build", "--mode", mode, str(self.project)),
            ],
            cwd=self.user.folder,
            env=self.user.environment({"HOST_SECRET": "only-the-host"}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        out = self.project / ".hermit/out/left"
        left = {path.name: path.read_text() for path in out.iterdir()} if out.exists() else {}
        return Built(done.returncode, (done.stdout + done.stderr).decode(errors="replace"), left)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_namespaces()
    folder = tmp_path_factory.mktemp("site")
    with Origin() as origin:
        origin.route("/good", b"good")
        origin.route("/evil", b"evil")
        yield Site(folder, origin)
    asyncio.run(remove_tree(folder / "user/state"))


@pytest.fixture(scope="module")
def first(site: Site) -> Built:
    """Give the first build, with the project as it was before."""
    built = site.build()
    assert built.code in {0, 3}, built.shown
    assert built.left, built.shown
    return built


@attack("build-offline-step")
def test_a_step_without_network_has_none_and_neither_has_what_an_earlier_step_left(first: Built) -> None:
    said: dict[str, set[object]] = {}
    for line in first.left["log"].splitlines():
        step, *statuses = json.loads(line)
        said.setdefault(step, set()).update(statuses)
    assert said["offline"] == {403}
    # The control: before and after it is the same process on the same connections that is answered.
    assert 200 in said["online"]
    assert 200 in said["again"]


@attack("build-edits-rules")
def test_rules_that_a_build_edits_admit_nothing_and_stay_in_the_cell(site: Site, first: Built) -> None:
    good, evil, *_ = json.loads(first.left["statuses"])
    assert (good, evil) == (200, 403)
    assert site.user.folder.joinpath("hosts").exists()
    assert (site.project / ".hermit/rules.yaml").read_text() == _RULES
    assert (site.project / ".hermit/build.yaml").read_text() == _SPEC


@attack("build-edits-project")
def test_the_users_own_project_is_out_of_reach(site: Site, first: Built) -> None:
    assert not (site.project / "taken").exists()
    names = {path.name for path in site.project.iterdir()}
    assert names == {".hermit", "--help"}
    assert first.left  # it was written to by that very path in the cell, and that was no error


@attack("build-asks-for-control")
def test_the_reserved_host_gives_no_control(first: Built) -> None:
    _, _, health, control = json.loads(first.left["statuses"])
    assert health == 200  # the control: the host is there
    assert control in {403, 404}


@attack("build-keeps-authority")
def test_the_authority_of_one_build_is_worth_nothing_in_the_next_and_its_key_is_in_none(
    site: Site, first: Built
) -> None:
    assert first.left["authority.pem"].startswith("-----BEGIN CERTIFICATE")
    # The one that was planted, and none in the environment.
    assert first.left["keys"].split() == ["/build/planted", "0"]
    assert json.loads(first.left["trust"]) == ["trusted"]
    (site.project / "old.pem").write_text(first.left["authority.pem"])
    try:
        second = site.build()
    finally:
        (site.project / "old.pem").unlink()
    old, own = json.loads(second.left["trust"])
    assert own == "trusted"
    assert old != "trusted"


@attack("build-escapes")
def test_what_a_build_prints_reaches_the_screen_as_plain_text(first: Built) -> None:
    assert "printed" in first.shown
    assert not {"\x1b", "\x07", "\x9b", "\x08"} & set(first.shown)
    assert "only-the-host" not in first.shown
