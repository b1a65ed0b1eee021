"""Finds Cargo packages and workspaces, and the programs that they make."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from hermit_cli.init.finding import Asked, Do, Part
from hermit_cli.init.tree import Table, Tree, string, strings, table
from hermit_cli.init.urls import site

# What crates that bind a C library look for.
_LIBRARIES = {
    "openssl-sys": ("libssl-dev", "pkg-config"),
    "libdbus-sys": ("libdbus-1-dev", "pkg-config"),
    "alsa-sys": ("libasound2-dev", "pkg-config"),
    "libudev-sys": ("libudev-dev", "pkg-config"),
    "pq-sys": ("libpq-dev",),
    "cmake": ("cmake",),
    "bindgen": ("libclang-dev",),
    "prost-build": ("protobuf-compiler",),
}
# That is crates.io's name in a lock file, wherever the crates come from.
_INDEX = "/crates.io-index"


def detect(tree: Tree) -> Part | None:
    """Look for Cargo.toml."""
    if not tree.has("Cargo.toml"):
        return None
    manifest, lock = tree.toml("Cargo.toml"), tree.toml("Cargo.lock")
    packages = [table(item) for item in _list(lock.get("package"))]
    names = {string(package.get("name")) for package in packages}
    locked = tree.has("Cargo.lock")
    fetch = Do("fetch", ("cargo fetch --locked" if locked else "cargo fetch",), network=True)
    programs = sorted({name for member in _members(tree, manifest) for name in _programs(member)})
    build = Do("build", ("cargo build --release --offline --locked",))
    test = Do("test", ("cargo test --offline --locked",))
    return Part(
        kind="cargo",
        title=f"Rust ({'workspace' if 'workspace' in manifest else 'Cargo.toml'}{', Cargo.lock' if locked else ''})",
        steps=(fetch, build, test),
        apt=("build-essential", "cargo-web", *sorted({p for name in names for p in _LIBRARIES.get(name, ())})),
        artifacts=tuple(f"target/release/{name}" for name in programs),
        tools=("cargo",),
        asked=tuple(_asked(packages)),
        notes=tuple(_notes(tree)),
    )


def _members(tree: Tree, manifest: Table) -> Iterable[Tree]:
    """Give the folder itself and the workspace's members."""
    yield tree
    wanted = [PurePosixPath(pattern) for pattern in strings(table(manifest, "workspace").get("members"))]
    if wanted:
        for folder in tree.folders(4):
            if any(folder.match(str(pattern)) for pattern in wanted) and tree.below(folder).has("Cargo.toml"):
                yield tree.below(folder)


def _programs(tree: Tree) -> Iterable[str]:
    manifest = tree.toml("Cargo.toml")
    package = table(manifest, "package")
    for target in _list(manifest.get("bin")):
        if name := string(table(target).get("name")):
            yield name
    if package.get("autobins") is False or not string(package.get("name")):
        return
    taken = {string(table(target).get("path")) for target in _list(manifest.get("bin"))}
    if tree.has("src/main.rs") and "src/main.rs" not in taken:
        yield string(package.get("name"))
    for name in tree.below(PurePosixPath("src/bin")).names("*.rs"):
        if f"src/bin/{name}" not in taken:
            yield name.removesuffix(".rs")


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _asked(packages: list[Table]) -> Iterable[Asked]:
    seen: set[str] = set()
    for package in packages:
        source = string(package.get("source")).partition("#")[0].partition("?")[0]
        where = site(source)
        if where and not source.endswith(_INDEX) and source not in seen:
            seen.add(source)
            yield Asked(where.url, "Cargo.lock", narrow=False)


def _notes(tree: Tree) -> Iterable[str]:
    for name in ("rust-toolchain.toml", "rust-toolchain"):
        if tree.has(name):
            pinned = string(table(tree.toml(name), "toolchain").get("channel")) if name.endswith("toml") else ""
            pinned = pinned or next(iter(tree.text(name).split()), "")
            yield f"{name} pins {pinned or 'a toolchain'}; Debian's cargo takes no notice of it"
            return


WHY_CARGO_WEB = "cargo-web: Debian 12's newer cargo; the one named cargo (1.63) clones the whole index"
DESCRIBED = "Cargo.toml"
