"""Builds wheels byte by byte, so that an index of the tests' own has packages of any size without a build tool."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import zipfile
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wheel:
    """Is a file name and its bytes."""

    name: str
    version: str
    data: bytes

    @property
    def file_name(self) -> str:
        """Give the name as PEP 427 has it."""
        return f"{self.name}-{self.version}-py3-none-any.whl"

    @property
    def sha256(self) -> str:
        """Give the digest that an index names."""
        return hashlib.sha256(self.data).hexdigest()


def make_wheel(name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), padding: int = 0) -> Wheel:
    """Make a wheel of one module; `padding` adds so many bytes that do not compress.

    A padded wheel is larger than what fast-deps and uv read for its metadata, so that they ask for ranges.
    """
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {f"{name}.py": f"VERSION = {version!r}\n".encode()}
    if padding:
        files[f"{name}_data.bin"] = random.Random(name).randbytes(padding)  # noqa: S311  the same bytes at each run
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = _record(files, info)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), data)
    return Wheel(name, version, buffer.getvalue())


def _record(files: dict[str, bytes], info: str) -> bytes:
    lines = []
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(data)}\n")
    return "".join([*lines, f"{info}/RECORD,,\n"]).encode()
