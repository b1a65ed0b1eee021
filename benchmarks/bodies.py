"""Makes the bodies that the replay benchmark asks for, and has Hermit and mitmproxy record them."""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import contenders
import load
import origin

from hermit_proxy.run.settings import ProxySettings

HERMIT = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "hermit"
SMALL, TIMES, LARGE = 1000, 10, 4
LARGE_BYTES = 64 << 20
_MIB = 1 << 20


@dataclass(frozen=True)
class Bodies:
    """Is what is asked for, as curl's configurations, and as paths for the lean client.

    `once` names many small bodies, `often` the same ten times over, `large` a few large ones, `huge` a single one.
    """

    once: Path
    often: Path
    large: Path
    huge: Path
    paths: Path
    small_bytes: int
    huge_bytes: int

    def small(self, contender: contenders.Contender, *, again: bool) -> load.Load:
        """Ask for every small body with curl, eight at a time: once, or ten times over."""
        urls, times = (self.often, TIMES) if again else (self.once, 1)
        return load.curl(contender, urls, parallel=8, requests=SMALL * times, size=self.small_bytes * times)

    def large_ones(self, contender: contenders.Contender) -> load.Load:
        """Ask for the large bodies, all at once."""
        return load.curl(contender, self.large, parallel=LARGE, requests=LARGE, size=LARGE * LARGE_BYTES)

    def huge_one(self, contender: contenders.Contender) -> load.Load:
        """Ask for the huge body."""
        return load.curl(contender, self.huge, parallel=1, requests=1, size=self.huge_bytes)


def make(served: origin.Origin, folder: Path, huge_bytes: int) -> Bodies:
    """Write 1,000 files of 0.8 to 60 KB, four of 64 MiB, a huge one, and what names them to the clients."""
    numbers = random.Random(1)  # noqa: S311  the same sizes in each run
    sizes = [numbers.randint(800, 60_000) for _ in range(SMALL)]
    for number, size in enumerate(sizes):
        (served.files / f"small-{number}").write_bytes(numbers.randbytes(size))
    for number in range(LARGE):
        (served.files / f"large-{number}").write_bytes(os.urandom(LARGE_BYTES))
    block = os.urandom(_MIB)
    with (served.files / "huge").open("wb") as file:
        for index in range(huge_bytes // _MIB):
            file.write(index.to_bytes(8, "big") + block[8:])
    small = [f"{served.url}/small-{number}" for number in range(SMALL)]
    paths = folder / "paths.txt"
    paths.write_text("".join(f"/small-{number}\n" for number in range(SMALL)))
    return Bodies(
        load.configuration(folder / "once.txt", small),
        load.configuration(folder / "often.txt", small * TIMES),
        load.configuration(folder / "large.txt", [f"{served.url}/large-{number}" for number in range(LARGE)]),
        load.configuration(folder / "huge.txt", [f"{served.url}/huge"]),
        paths,
        sum(sizes),
        huge_bytes,
    )


def record(served: origin.Origin, bodies: Bodies, folder: Path) -> ProxySettings:
    """Record everything with `hermit run`; give the settings of a replay."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    environment |= {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    config = folder / "config/hermit/config.yaml"
    config.parent.mkdir(parents=True)
    allow = f"127.0.0.1:{served.port}"
    config.write_text(f"pool: bench\nupstream:\n  allow: ['{allow}']\n  trust: {served.certificate}\n")
    project = folder / "project"
    (project / ".hermit").mkdir(parents=True)
    (project / ".hermit/rules.yaml").write_text(f"rules:\n  - pattern: '{allow}/.*'\n    action: ALLOW\n")
    fetch = f'curl -fsS --no-progress-meter -Z --parallel-max 8 --noproxy "" -K {bodies.once}'
    fetch += "".join(f' && curl -fsS --noproxy "" -K {one}' for one in (bodies.large, bodies.huge))
    command = [str(HERMIT), "run", "--quiet", "--mode", "record", "--", "sh", "-c", fetch]
    subprocess.run(command, cwd=project, env=environment, check=True)
    store = str(folder / "data/hermit/store")
    return ProxySettings(project / ".hermit/rules.yaml", project / ".hermit/network", store, "bench")


def record_flows(served: origin.Origin, bodies: Bodies, folder: Path) -> Path:
    """Record all but the huge body, which mitmproxy would hold in memory, with mitmdump; give its file of flows."""
    flows = folder / "flows"
    with contenders.mitmproxy(folder / "mitm", flows, record=True, trust=served.certificate) as recorder:
        bodies.small(recorder, again=False)
        bodies.large_ones(recorder)
    return flows
