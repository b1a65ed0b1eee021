"""Asks pip for its index, and an index that is not pip's own for where its files are."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import urljoin

from hermit_cli.init.finding import Asked, Registry
from hermit_cli.init.registries.asking import fetched, not_installed, said, set_up
from hermit_cli.init.urls import site

# Printed by the pip that this machine has: what it is set up for, and what it is made with.
_CODE = """
import json
from pip._internal.commands import create_command
from pip._internal.models.index import PyPI
found, _ = create_command("install").parse_args([])
print(json.dumps({"index": found.index_url, "extra": found.extra_index_urls, "links": found.find_links,
                  "standard": PyPI.simple_url, "files": PyPI.file_storage_domain}))
"""
# A project that an index of Python packages has, if it has any.
_PROBE = "pip"


def ask(environ: Mapping[str, str]) -> Registry:
    """Give the index, the host of its files, and indexes besides it."""
    text = said(["python3", "-c", _CODE], environ) or said([sys.executable, "-c", _CODE], environ)
    if text is None:
        return not_installed("pip", "the hosts of the package index and of its files")
    told = json.loads(text.splitlines()[-1])
    index, environment, notes = set_up("pip", "PIP_INDEX_URL", told["index"] or told["standard"], told["standard"])
    asked, unknown = [index], []
    if index.url == told["standard"]:
        asked.append(Asked(f"https://{told['files']}/", "pip's own registry, its files"))
    else:
        hosts = _file_hosts(index.url) if site(told["index"]) and "@" not in told["index"] else []
        asked += [Asked(url, "the same registry, its files") for url in hosts]
        if not hosts:
            unknown.append(f"the host of the files, if it is another one than that of {index.url}")
    more = [where for url in told["extra"] if (where := site(url))]
    asked += [Asked(where.url, "pip's extra index, as this machine is set up") for where in more]
    if more:
        environment = {**environment, "PIP_EXTRA_INDEX_URL": " ".join(where.url for where in more)}
    if more and any(where.login for where in more):
        notes = (*notes, "an extra index of pip wants a login: bind a credential to it (docs/rules.md)")
    if told["links"]:
        links = ", ".join(map(_plain, told["links"]))
        notes = (*notes, f"pip takes files from {links} here; a cell does not have them")
    return Registry("pip", tuple(asked), environment, tuple(unknown), notes)


def ask_for_uv(environ: Mapping[str, str]) -> Registry:
    """Give the same for uv, which has a variable of its own and takes no notice of pip's."""
    found = ask(environ)
    index = found.environment.get("PIP_INDEX_URL")
    return replace(found, tool="uv", environment={"UV_DEFAULT_INDEX": index} if index else {}, unknown=(), notes=())


def _plain(link: str) -> str:
    where = site(link)
    return where.url if where else link


def _file_hosts(index: str) -> list[str]:
    """Give one URL for each host that an index sends pip to (PEP 503)."""
    page = f"{index.rstrip('/')}/{_PROBE}/"
    links = _Links()
    links.feed(fetched(page) or "")
    found = {where.authority: where for link in links.found if (where := site(urljoin(page, link)))}
    return [f"{where.scheme}://{where.authority}/" for where in found.values()]


class _Links(HTMLParser):
    """Collects where a page's links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the links of one element."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]
