"""Sets up one user of `hermit build` for each fault, over a tiny image of the tests' own, and says what has to hold."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import yaml

from hermit_proxy.snapshot.tree import read_tree
from hermit_workers.image import tree
from hermit_workers.image.bill import bill, installed_packages
from hermit_workers.image.library import BILL, DESCRIPTION, Image, Library, describe
from hermit_workers.image.maker import architecture
from hermit_workers.image.moving import verify_image
from hermit_workers.image.recipe import load_recipe
from hermit_workers.sandbox.limits import groupfiles
from hermit_workers.sandbox.namespaces.mapped import run_mapped
from tests.integration.faults import processes
from tests.integration.faults.bench import LEFT, Bench, Running, Site
from tests.support import sandbox

# Not the cell's own loopback to its tools, and so a matter for the proxy.
ADDRESS = "127.0.0.2"
NAME = "debian-12"
LEFT_OF_BUILDS = LEFT | {"steps.log"}
# What a killed hermit leaves besides, until the next command; its cell's folder goes with the cell's holder.
LEFT_OF_KILLED = LEFT_OF_BUILDS | {"lock", "ca.pem", "ca-key.pem", "settings.json", "proxy.err", "store.json"}
MARK, HELD = "standing here", "hold"
_EPOCH = 1_700_000_000
_SOURCES = {"suites": [{"uri": "http://mirror.example.org/debian/", "name": "bookworm"}], "keyrings": []}
# A request to the proxy by hand, where there is no client.
_FETCH = r"""
fetch() {
    rest=${1#*//}
    exec 3<>/dev/tcp/127.0.0.1/3128 || return 7
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" "${rest%%/*}" >&3
    read -r _ code _ <&3
    cat <&3
    exec 3>&-
    [ "$code" = 200 ]
}
"""
# Puts the tree's programs in place, and a tar before the real one that waits when it has unpacked a marked project.
_TREE = """
cp -a "$1" root
ln -s ../usr/bin/bash root/bin/bash
mv root/usr/bin/tar root/usr/bin/tar.real
install -d root/var/lib/dpkg
printf 'Package: hello\\nStatus: install ok installed\\nVersion: 1\\nArchitecture: all\\n' >root/var/lib/dpkg/status
cat >root/usr/bin/tar <<'END'
#!/bin/sh
/usr/bin/tar.real "$@"
status=$?
[ -e /build/project/hold ] && sleep 1000
exit $status
END
chmod 755 root/usr/bin/tar
"""


class BuildRunning(Running):
    """Is a build under way."""

    def victim(self, name: str) -> int | None:
        """Find one of its processes; see `find`."""
        return find(self.popen.pid, name)


def find(hermit: int, name: str) -> int | None:
    """Find one: hermit, proxy, keeper, holder, bubblewrap, init, command, counter, taker (see docs/faults.md)."""
    if name == "hermit":
        return hermit
    below = _Tree(processes.parents())
    if name == "proxy":
        return below.first(hermit, "--control-fd")
    keeper = below.first(hermit, "inside", script=True)
    holder = below.first(keeper, "inside", script=True)
    if name in {"keeper", "holder"}:
        return keeper if name == "keeper" else holder
    if name in {"counter", "taker"}:
        return below.first(holder, "inside", script=True)
    outer = below.first(holder, "infinity", without=name in {"bubblewrap", "command"})
    return outer if name == "bubblewrap" else below.first(outer)


def stands(state: Path) -> bool:
    """Tell whether a step of a build has printed the mark: a line of its own, and not the one that names the step."""
    logs = state.glob("hermit/runs/*/steps.log")
    return any(MARK in log.read_text(errors="replace").splitlines() for log in logs)


class _Tree:
    def __init__(self, parents: Mapping[int, int]) -> None:
        self._parents = parents

    def first(self, parent: int | None, word: str = "", *, script: bool = False, without: bool = False) -> int | None:
        """Find a child whose command line has a word; `script` looks into words, `without` wants a bwrap without it."""
        for pid in sorted(pid for pid, above in self._parents.items() if above == parent):
            words = processes.argv(pid)
            if without:
                found = word not in words and "--args" in words
            elif script:
                found = any(f"import {word}" in each for each in words)
            else:
                found = not word or word in words
            if found:
                return pid
        return None


class BuildBench(Bench):
    """Is one user with a project that has a spec, an image and a snapshot, copied from `seed`."""

    def __init__(
        self,
        folder: Path,
        web: Site,
        seed: BuildBench | None = None,
        *,
        library: Path | None = None,
        store: str | None = None,
        steps: Sequence[str | dict[str, str]] = ("true",),
        artifacts: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Make the user; `library` has the tests' image, `store` is the setting where it is no folder of its own."""
        super().__init__(folder, web, seed, store=store)
        settings = yaml.safe_load(self.hermit.settings.read_text())
        settings["upstream"] = {"allow": [f"{ADDRESS}:{web.port}"]}
        self.hermit.settings.write_text(yaml.safe_dump(settings))
        self.hermit.allow_only(f"rules:\n  - {{pattern: '{ADDRESS}:{web.port}/.*', action: ALLOW}}\n")
        images = folder / "data/hermit/images"
        images.parent.mkdir(parents=True)
        images.symlink_to(library) if library else images.mkdir(mode=0o700)
        self.library = Library(images)
        self.spec(*steps, artifacts=artifacts, files=files)

    def spec(
        self,
        *steps: str | dict[str, str],
        artifacts: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Write the spec; a step that is a text is one with network and `fetch`."""
        listed = [
            {"run": _FETCH + step, "shell": "bash", "network": "proxy"} if isinstance(step, str) else step
            for step in steps
        ]
        spec = {"image": NAME, "steps": listed, **({"artifacts": list(artifacts)} if artifacts else {})}
        project = self.hermit.project
        texts = {".hermit/build.yaml": yaml.safe_dump(spec, sort_keys=False, width=10_000), **(files or {})}
        for name, text in texts.items():
            (project / name).write_text(text)
        self.before = self.tree()

    def start(
        self,
        mode: str,
        *command: str,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        trace: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> BuildRunning:
        """Start `hermit build` in the project's folder, or another of its commands with `mode` empty."""
        words = ["build", "--mode", mode, *options] if mode else list(command)
        known = processes.below(os.getpid())
        said = self.folder / f"said-{len(self._running)}"
        user = {"TMPDIR": str(self.folder / "tmp"), "XDG_CACHE_HOME": str(self.folder / "cache"), **(env or {})}
        with said.open("wb") as file:
            popen = subprocess.Popen(
                [*prefix, *trace, *self.hermit.command_line(*words)],
                cwd=self.hermit.project,
                env=self.hermit.environment(user),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if stdout is None else stdout,
                stderr=file if stderr is None else stderr,
            )
        running = BuildRunning(popen, said, known)
        self._running.append(running)
        return running

    def fetching(self, *paths: str) -> str:
        """Give the line of a step that fetches paths, one after the other."""
        return " && ".join(f"fetch {self.web.url(path)} >/dev/null" for path in paths) or "true"

    def stands(self) -> bool:
        """Tell whether a step has printed the mark."""
        return stands(self.folder / "state")

    def check_image(self) -> None:
        """Fail where a byte of the image is another one, or something unfinished lies beside it."""
        for image in self.library.images():
            asyncio.run(verify_image(image))
        assert not self.library.broken()
        assert not [path.name for path in self.library.folder.iterdir() if path.name.startswith(".")]

    def check_swept(self) -> None:
        """Fail where more than logs and results are left of any build."""
        assert {name for names in self.runs().values() for name in names} <= LEFT_OF_BUILDS, self.runs()
        assert not [name for name in self.runs() if name.startswith(".")]
        assert not list((self.folder / "tmp").iterdir())
        assert groups({running.popen.pid for running in self._running}) == set()

    def check_next(self, mode: str, *paths: str) -> None:
        """Build again without the fault, and fail unless it works and leaves everything in order."""
        self.web.go()
        (self.hermit.project / HELD).unlink(missing_ok=True)
        self.spec(self.fetching(*paths), {"run": "echo fine >out"}, artifacts=("out",))
        self.run(mode)
        assert (self.hermit.project / ".hermit/out/out").read_text() == "fine\n"
        if mode == "record" and paths:
            assert {entry.url for entry in read_tree(self.hermit.snapshot)} == {self.web.url(path) for path in paths}
        assert not list(self.hermit.project.rglob("*~*"))
        self.check_swept()


def groups(hermits: Collection[int]) -> set[Path]:
    """Give the control groups of these processes' cells, where the next Hermit would find them."""
    parents = {parent for found in groupfiles.hierarchies(Path("/proc")) for parent in found.own_and_above()}
    folders = (folder for parent in parents for folder in parent.glob("hermit-cell-*"))
    return {folder for folder in folders if int(folder.name.split("-")[2]) in hermits}


def make_library(folder: Path) -> Path:
    """Make a library that has the tiny image under the stock image's name; a build over it takes a second."""
    library = Library(folder)
    asyncio.run(_add(library, sandbox.image()))
    return folder


async def _add(library: Library, root: Path) -> None:
    recipe = load_recipe(NAME, library.folder)
    async with library.workshop() as workshop:
        place = workshop / "image"
        (place / "hermit/network").mkdir(parents=True)
        place.chmod(0o755)
        (place / "hermit/recorded").write_text("2023-11-14T22:13:20Z\n")
        assert await run_mapped(["sh", "-euc", _TREE, "sh", str(root)], folder=place) == 0
        await tree.clamp_times(place, _EPOCH)
        packed = await tree.pack(place)
        packages = installed_packages(place / "root")
        image = Image(NAME, packed.digest, recipe.digest, architecture(), _EPOCH, len(packages), packed.size, place)
        (place / BILL).write_bytes(bill(NAME, packed.digest, packages))
        (place / DESCRIPTION).write_bytes(describe(image, _SOURCES))
        await library.add(place)
