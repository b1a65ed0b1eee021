"""Says what a build is told before it starts, and what is known of it when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hermit_cli.build.kept import Kept
from hermit_cli.build.report import StepDone
from hermit_proxy.errors import HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.settings import VmSettings
from hermit_steps.plan import Plan
from hermit_workers.artifacts import Artifact
from hermit_workers.cell import Limits
from hermit_workers.making import Wish
from hermit_workers.source.worktree import Source


@dataclass(frozen=True, slots=True)
class Order:
    """Is everything that a build needs to know before it starts.

    `cell` is `sandbox` or `vm`, of which `vm` has what the settings say.
    `project` is the folder that has `.hermit`, `out` where artifacts go (None: the build is a part, and has none).
    `environment` is the user's own, for Hermit's folders; nothing of it reaches the build. `kept` is the place of what
    a failed build leaves, and `keep` says whether this one leaves it.
    """

    mode: Mode
    cell: str
    proxy: ProxySettings
    rundir: Path
    project: Path
    source: Source
    plan: Plan
    limits: Limits
    out: Path | None
    kept: Kept
    keep: bool
    environment: Mapping[str, str]
    quiet: bool
    vm: VmSettings

    @property
    def layer(self) -> Path:
        """Give the folder that has what the cell writes."""
        return self.rundir / "cell"

    @property
    def wish(self) -> Wish:
        """Give what the cell has to be."""
        return Wish(self.cell, self.mode, self.layer, self.limits, self.proxy.clock, self.vm, self.environment)


@dataclass(frozen=True, slots=True)
class Built:
    """Is how a build ended: its steps as far as they went, the proxy's counts by name, and what interrupted it.

    `image` and `source` are digests (`sha256:<hex>`; empty where it did not come to that), `kept` the bytes of a layer
    that stays, `last_lines` what the last step printed at its end. `failure` is why artifacts could not be taken.
    """

    steps: tuple[StepDone, ...]
    planned: int
    counts: dict[str, int]
    signal: str | None
    artifacts: tuple[Artifact, ...] | None
    image: str
    source: str
    kept: int | None
    last_lines: str
    failure: HermitError | None = None

    @property
    def status(self) -> int:
        """Give the status of the step that failed, else 0."""
        return next((step.status for step in self.steps if step.status), 0)

    @property
    def good(self) -> bool:
        """Tell whether everything went as a recording must, to be worth keeping."""
        failed = self.status or self.signal or self.failure or self.counts["broken"]
        return len(self.steps) == self.planned and not failed
