"""Makes images: a proxy of its own, the packages, the recipe's files and commands, and a place in the library."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hermit_proxy.errors import HermitError, NotHermeticError
from hermit_proxy.policy import Mode
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.control import Message
from hermit_proxy.run.events import read_log
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.session import LOG_NAME, Counts
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.settings import config_dir, load_settings
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_tree, write_tree
from hermit_proxy.snapshot.update import updated
from hermit_proxy.upstream import openings
from hermit_proxy.upstream.guard import own_addresses
from hermit_workers.image import listing, tree
from hermit_workers.image.beside import compared, describe_tree
from hermit_workers.image.bootstrap import bootstrap
from hermit_workers.image.dressing import dress
from hermit_workers.image.errors import ImageError
from hermit_workers.image.installer import SETUP, Job, prepare
from hermit_workers.image.library import Image, Library
from hermit_workers.image.recipe import Recipe
from hermit_workers.image.running import LimitError
from hermit_workers.image.sources import Sources, find_sources

# Gets one line for people (`installing 112 packages`) each time that the making of an image gets further.
Progress = Callable[[str], None]

# Whose observations count: images belong to a user and not to a repository.
POOL = "hermit/images"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Is what making an image again gave: the digest, what the proxy counted, and files that differ, in words."""

    digest: str
    counts: Counts
    changes: tuple[str, ...] = ()


def architecture() -> str:
    """Give Debian's name of this machine; raise ImageError where it is no Debian or like one."""
    try:
        done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageError("dpkg does not run, and images are made with it", hint="apt-get install dpkg") from error
    return done.stdout.strip()


async def make_image(recipe: Recipe, *, environ: Mapping[str, str], progress: Progress) -> Image:
    """Make an image from what the archives have now, record what that took, and put it into the library."""
    library = Library.of(environ)
    sources = find_sources(recipe.release, environ)
    machine = architecture()
    async with library.workshop() as workshop:
        folder = workshop / "image"
        (folder / "hermit").mkdir(parents=True)
        job = Job(recipe, sources, folder, hermetic=False, architecture=machine)
        epoch, counts = await _install(job, workshop, environ, progress, now=time.time())
        _keep_record(workshop, job, epoch)
        image = await _finish(job, epoch, progress)
        progress(f"packed {image.digest} (requests recorded: {counts.requests})")
        return await library.add(image.folder)


async def rebuild_image(image: Image, recipe: Recipe, *, environ: Mapping[str, str], progress: Progress) -> Rebuilt:
    """Make an image again from its record alone, without any network, and give the digest.

    Where it is the same, it takes the place of one that is damaged; else nothing is kept.
    """
    library = Library.of(environ)
    async with library.workshop() as workshop:
        folder = workshop / "image"
        folder.mkdir()
        with library.use(image):
            _, fields = library.sources(image.folder)
            shutil.copytree(image.folder / "hermit", folder / "hermit")
        job = Job(recipe, Sources.from_json(fields), folder, hermetic=True, architecture=image.architecture)
        epoch, counts = await _install(job, workshop, environ, progress, now=float(image.made))
        rebuilt = await _finish(job, epoch, progress)
        if rebuilt.digest == image.digest:
            await library.add(folder)
            return Rebuilt(rebuilt.digest, counts)
        return Rebuilt(rebuilt.digest, counts, tuple(compared(image, listing.read(rebuilt.files) or {})))


async def _install(
    job: Job, workshop: Path, environ: Mapping[str, str], progress: Progress, *, now: float
) -> tuple[int, Counts]:
    """Install the packages behind a proxy, give the archives' time; raise NotHermeticError for what a rebuild lacked.

    `now` is the time that the proxy's certificates have to be valid at.
    """
    rules = workshop / "rules.yaml"
    rules.write_text(job.sources.rules())
    authority = RunCA.create((now,), run=workshop.name)
    prepare(job, authority)
    await tree.make_root(job.folder)
    rundir = workshop / "run"
    mode = Mode.HERMETIC if job.hermetic else Mode.RECORD
    proxy = await ProxyProcess.start(
        mode, _proxy_settings(job, rules, environ, now), rundir, ca=authority, environ=environ, on_event=_told(progress)
    )
    try:
        epoch = await bootstrap(job, proxy, progress)
        counts = await proxy.finish()
    except LimitError:
        raise  # whatever was refused before
    except ImageError as error:
        raise _explained(error, rundir, job, environ) from error
    finally:
        await proxy.stop()
    if counts.broken or counts.failed:
        raise ImageError(f"requests of the image that failed: {counts.failed or counts.broken}", hint="run it again")
    return epoch, counts


def _proxy_settings(job: Job, rules: Path, environ: Mapping[str, str], now: float) -> ProxySettings:
    settings = load_settings(None, environ)
    return ProxySettings(
        rules=rules,
        snapshot=job.folder / "hermit" / "network",
        store=settings.store,
        pool=settings.pool or POOL,
        clock=(now,),
        observers=settings.observers,
        upstream_allow=settings.upstream_allow,
        upstream_trust=settings.upstream_trust,
        upload_limit=settings.upload_limit,
        settings_file=str(settings.source or config_dir(environ) / "config.yaml"),
    )


def _told(progress: Progress) -> Callable[[Message], None]:
    """Give what tells a refusal at once: it is why the installer fails in a moment."""
    seen: set[str] = set()

    def on_event(message: Message) -> None:
        refusal = message.get("last_refusal")
        if refusal and refusal not in seen:
            seen.add(str(refusal))
            progress(f"refused {refusal}")

    return on_event


def _explained(error: ImageError, rundir: Path, job: Job, environ: Mapping[str, str]) -> HermitError:
    """Say what the proxy refused, where that is why the installer failed."""
    log = rundir / LOG_NAME
    events = [event for event in read_log(log) if event.status >= 400] if log.exists() else []  # noqa: PLR2004  HTTP
    refused = [event for event in events if event.outcome.value == "refused"]
    if not refused:
        return error
    told = "\n".join(f"  {event.method} {event.url}: {event.reason}" for event in refused[:10])
    kind = NotHermeticError if job.hermetic else ImageError
    hint = next((event.hint for event in refused if event.hint), error.hint)
    if to_open := openings.gathered(event.hint for event in refused):
        hosts = [urlsplit(suite.uri).hostname or "" for suite in job.sources.suites]
        allow = load_settings(None, environ).allow
        hint = openings.told(*to_open, openings.needed(hosts, allow, own_addresses()))
    return kind(f"{error}\nwhat was refused:\n{told}", hint=hint)


def _keep_record(workshop: Path, job: Job, epoch: int) -> None:
    """Write what was asked and answered beside the image, with the time that its files have."""
    update = updated(Snapshot(), read_log(workshop / "run" / LOG_NAME))
    network = job.folder / "hermit" / "network"
    write_tree(network, update.snapshot, time=float(epoch))
    if not len(read_tree(network)):
        raise ImageError("nothing of the image's packages went through the proxy")


async def _finish(job: Job, epoch: int, progress: Progress) -> Image:
    """Put the recipe's own things into the tree, give everything one time, and name it."""
    folder = job.folder
    shutil.rmtree(folder / SETUP)
    await dress(job.recipe, folder, epoch, progress)
    await tree.clamp_times(folder, epoch)
    recipe = job.recipe
    image = Image(recipe.name, "", recipe.digest, job.architecture, epoch, packages=0, size=0, folder=folder)
    return await describe_tree(image, job.sources.to_json())
