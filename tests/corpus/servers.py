"""Serves what no registry has: repositories for submodules, archives that a build fetches while it configures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.corpus.fetch import fetch, unpack
from tests.corpus.project import Project
from tests.support.gitserver import GitServer, git
from tests.support.origin import Origin

# A loopback address that clients ask a proxy for: 127.0.0.1 is the cell's own, and in NO_PROXY.
ADDRESS = "127.0.0.2"


@contextmanager
def served(project: Project, folder: Path, cache_folder: Path) -> Iterator[str]:
    """Serve on loopback what a project says is served, and give the URL; an empty text where there is nothing.

    Repositories are `/git/<name>.git`, with one commit of the fetched files; archives are `/<served_as>`.
    """
    wanted = [one for one in project.fetch if one.served_as or one.repository]
    if not wanted:
        yield ""
        return
    with Origin(address=ADDRESS) as origin:
        repositories = GitServer(origin, folder)
        for one in wanted:
            archive = fetch(one, cache_folder)
            if one.served_as:
                origin.route(f"/{one.served_as}", archive.read_bytes())
                continue
            tree = repositories.create(one.repository)
            unpack(one, archive, tree)
            git("add", "--all", "--force", cwd=tree)
            git("commit", "--quiet", "--message", f"{one.name} {one.version}", cwd=tree)
            git("push", "--quiet", "origin", "HEAD:main", cwd=tree)
        yield origin.url(ADDRESS).rstrip("/")
