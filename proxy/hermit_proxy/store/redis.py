"""Bodies and observations in a Redis server that several machines share; every body is verified by who reads it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from hermit_proxy.errors import UsageError
from hermit_proxy.store import redis_scripts
from hermit_proxy.store.body import (
    BodyCorruptError,
    BodyMissingError,
    BodyWriter,
    DigestMismatchError,
    StoredBody,
    StoredObservation,
    StoreError,
    StoreFullError,
    StoreGoneError,
    StoreStats,
    check_digest,
)
from hermit_proxy.store.observation import Observation, escape_pool, read_observations

# Far below Redis' 512 MB for a value; it bounds the memory of reader and writer as well.
CHUNK = 4 << 20
# Chunks of an upload that never ended go by themselves, and so does what was put aside.
_UNFINISHED_SECONDS = 6 * 3600
_ASIDE_SECONDS = 7 * 24 * 3600
_POOLS = "hermit:pools"
_BODY = "hermit:body:"
_OPTIONS = {"db", "password_file", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}


class RedisBodies:
    """Is the shared layer behind a LayeredStore: bodies in chunks under a manifest that is written last."""

    def __init__(self, client: redis.Redis, where: str, *, chunk: int = CHUNK) -> None:
        """Take a connected client, the server's name without its password, and the size of chunks in bytes."""
        self._redis = client
        self._where = where
        self._chunk = chunk
        self._commit = client.register_script(redis_scripts.COMMIT)
        self._renew = client.register_script(redis_scripts.RENEW)
        self._delete = client.register_script(redis_scripts.DELETE)
        self._put_aside = client.register_script(redis_scripts.PUT_ASIDE)
        self._observe = client.register_script(redis_scripts.OBSERVE)
        self._forget = client.register_script(redis_scripts.FORGET)

    @classmethod
    def connect(cls, url: str) -> RedisBodies:
        """Connect to `redis://`, `rediss://` or `unix://` (see open_store) and ask whether the server is there."""
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        query = parse_qsl(parts.query)
        if unknown := sorted({name for name, _ in query} - _OPTIONS):
            raise UsageError(f"store {where}: unknown {unknown[0]!r}", hint=f"known: {', '.join(sorted(_OPTIONS))}")
        files = [Path(value) for name, value in query if name == "password_file"]
        rest = urlencode([(name, value) for name, value in query if name != "password_file"])
        options: dict[str, Any] = {"retry": Retry(NoBackoff(), 1), "socket_timeout": 30, "socket_connect_timeout": 5}
        try:
            if files:
                options["password"] = files[0].read_text(encoding="utf-8").strip()
            client = redis.Redis.from_url(url.partition("?")[0] + (f"?{rest}" if rest else ""), **options)
        except OSError as error:
            raise UsageError(f"the password file of the store {where}: {error.strerror}: {files[0]}") from error
        except (ValueError, TypeError):
            # Not from the cause: its message may hold the URL, and the URL a password.
            raise UsageError(f"not a Redis server: {where}", hint="redis://host:port/db, unix:///socket") from None
        bodies = cls(client, where)
        with bodies._translated("connecting"):
            client.ping()
        return bodies

    @property
    def where(self) -> str:
        """Name the server, without user and password."""
        return self._where

    def put(self, sha256: str, size: int, file: BinaryIO) -> None:
        """Store a body from a file that was verified; one that is there already only has its time renewed."""
        upload = secrets.token_hex(16)
        prefix = _chunks(sha256)
        with self._translated(f"storing body sha256:{sha256}"):
            if self._renew(keys=[_manifest(sha256)], args=[prefix, size]):
                return
            count = 0
            while piece := file.read(self._chunk):
                self._redis.set(f"{prefix}{upload}:{count}", piece, ex=_UNFINISHED_SECONDS)
                count += 1
            if not self._commit(keys=[_manifest(sha256)], args=[prefix, upload, count, size]):
                raise StoreError(f"{self.where}: storing body sha256:{sha256} took so long that its start has expired")

    def copy(self, sha256: str, writer: BodyWriter) -> None:
        """Copy a body into a local writer and commit it, so that nothing wrong gets out of here."""
        with self._translated(f"reading body sha256:{sha256}"):
            upload, pieces = self._open(sha256)
            try:
                for piece in pieces:
                    writer.write(piece)
                writer.commit(sha256)
            except DigestMismatchError as error:
                raise self._corrupt(sha256, upload, f"its content is sha256:{error.sha256}") from error
            finally:
                writer.abort()

    def has(self, sha256: str) -> bool:
        """Tell whether there is a manifest."""
        with self._translated("asking for a body"):
            return bool(self._redis.exists(_manifest(sha256)))

    def observe(self, pool: str, observation: Observation) -> None:
        """Add an observation; observers write fields of their own, so that none overwrites another's."""
        entry, index = _pool_keys(pool, observation.entry_id)
        with self._translated("storing an observation"):
            self._redis.sadd(_POOLS, escape_pool(pool))
            args = [observation.entry_id, observation.observer, observation.to_json()]
            self._observe(keys=[entry, index], args=args)

    def observations(self, pool: str, entry_id: str) -> tuple[Observation, ...]:
        """Read an entry's observations."""
        with self._translated("reading an observation"):
            lines: Any = self._redis.hvals(_pool_keys(pool, entry_id)[0])
        return read_observations(lines, entry_id)

    def observed(self, pool: str) -> Iterator[StoredObservation]:
        """List a pool's entries."""
        with self._translated("listing observations"):
            for entry_id, time in self._redis.hscan_iter(_pool_keys(pool, "")[1], count=1000):
                yield StoredObservation(entry_id.decode(), float(time))

    def pools(self) -> tuple[str, ...]:
        """Name the pools that hold observations."""
        with self._translated("listing pools"):
            members: Any = self._redis.smembers(_POOLS)
            names = sorted(unquote(name.decode()) for name in members)
            return tuple(name for name in names if self._redis.exists(_pool_keys(name, "")[1]))

    def bodies(self) -> Iterator[StoredBody]:
        """List the manifests."""
        with self._translated("listing bodies"):
            for key in self._redis.scan_iter(match=f"{_BODY}*", count=1000):
                found: Any = self._redis.hmget(key, ["size", "time"])
                if None not in found:
                    sha256 = key.decode().removeprefix(_BODY).strip("{}")
                    yield StoredBody(sha256, int(found[0]), float(found[1]))

    def delete(self, sha256: str, *, older_than: float = 0) -> bool:
        """Delete a body unless it was stored or renewed within `older_than` seconds of the server's clock."""
        with self._translated(f"deleting {sha256}"):
            return bool(self._delete(keys=[_manifest(sha256)], args=[_chunks(sha256), older_than]))

    def delete_observations(self, pool: str, entry_id: str, *, older_than: float = 0) -> bool:
        """Delete an entry's observations under the same condition."""
        with self._translated("deleting observations"):
            return bool(self._forget(keys=list(_pool_keys(pool, entry_id)), args=[entry_id, older_than]))

    def check(self, sha256: str) -> None:
        """Read a whole body and compare it."""
        with self._translated(f"reading body sha256:{sha256}"):
            upload, pieces = self._open(sha256)
            digest = hashlib.sha256()
            for piece in pieces:
                digest.update(piece)
            if digest.hexdigest() != sha256:
                raise self._corrupt(sha256, upload, f"its content is sha256:{digest.hexdigest()}")

    def stats(self) -> StoreStats:
        """Count what is there."""
        sizes = [body.size for body in self.bodies()]
        with self._translated("counting"):
            pools = {pool: self._entries(pool) for pool in self.pools()}
            aside = sum(1 for _ in self._redis.scan_iter(match="hermit:aside:*", count=1000))
        return StoreStats(where=self.where, bodies=len(sizes), bytes=sum(sizes), pools=pools, quarantined=aside)

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    def _entries(self, pool: str) -> int:
        count: Any = self._redis.hlen(_pool_keys(pool, "")[1])
        return int(count)

    def _open(self, sha256: str) -> tuple[str, Iterator[bytes]]:
        found: Any = self._redis.hmget(_manifest(sha256), ["upload", "chunks"])
        if None in found:
            raise BodyMissingError(sha256, self.where)
        upload = found[0].decode()
        return upload, self._pieces(sha256, upload, int(found[1]))

    def _pieces(self, sha256: str, upload: str, count: int) -> Iterator[bytes]:
        for number in range(count):
            piece: Any = self._redis.get(f"{_chunks(sha256)}{upload}:{number}")
            if piece is None:
                raise self._corrupt(sha256, upload, f"chunk {number} of {count} is gone")
            yield piece

    def _corrupt(self, sha256: str, upload: str, found: str) -> StoreError:
        keys = [_manifest(sha256), f"hermit:aside:{{{sha256}}}:{upload}"]
        if not self._put_aside(keys=keys, args=[_chunks(sha256), upload, _ASIDE_SECONDS]):
            return BodyMissingError(sha256, self.where)  # Deleted while it was read: nothing was wrong with it.
        return BodyCorruptError(sha256, f"{self.where} {keys[0]}", found)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except redis.AuthenticationError as error:
            hint = "?password_file=/path in the URL of the store"
            raise StoreError(f"store {self.where}: {doing}: it wants a password or another one", hint=hint) from error
        except (redis.ConnectionError, redis.TimeoutError) as error:
            hint = "start the server, or take another store (the setting `store`)"
            raise StoreGoneError(f"store {self.where} does not answer: {doing}: {error}", hint=hint) from error
        except redis.RedisError as error:
            # Scripts report it as an error of their own.
            if isinstance(error, redis.OutOfMemoryError) or "OOM" in str(error):
                hint = "hermit store gc, or a larger maxmemory"
                raise StoreFullError(f"store {self.where} is full: {doing}", hint=hint) from error
            raise StoreError(f"store {self.where}: {doing}: {error}") from error


def _manifest(sha256: str) -> str:
    return f"{_BODY}{{{check_digest(sha256)}}}"


def _chunks(sha256: str) -> str:
    return f"hermit:chunk:{{{check_digest(sha256)}}}:"


def _pool_keys(pool: str, entry_id: str) -> tuple[str, str]:
    name = escape_pool(pool)
    return f"hermit:pool:{{{name}}}:entry:{entry_id}", f"hermit:pool:{{{name}}}:index"
