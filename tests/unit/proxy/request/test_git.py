"""Two gits that want the same must have the same key, and nothing that differs may share one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.request.git import NotPacketsError, ResultDigest, normalise_request, packets, result_digest

OID = b"1" * 40


def line(data: bytes) -> bytes:
    return b"%04x" % (len(data) + 4) + data


def fetch(*capabilities: bytes, have: bytes = b"") -> bytes:
    head = b"".join(line(c) for c in (b"command=fetch\n", *capabilities))
    tail = line(b"have " + have + b"\n") if have else b""
    return head + b"0001" + line(b"thin-pack") + line(b"want " + OID + b"\n") + tail + line(b"done\n") + b"0000"


def test_packets_are_split_and_special_ones_told_apart() -> None:
    assert list(packets(b"0006a\n" + b"0001" + b"0004" + b"0002" + b"0000")) == [b"a\n", 1, b"", 2, 0]


@pytest.mark.parametrize("raw", [b"0", b"000", b"0003", b"0005", b"zzzz", b"+005a", b"0x5a", b"fff1" + b"a" * 65517])
def test_bytes_that_are_no_packets_are_refused(raw: bytes) -> None:
    with pytest.raises(NotPacketsError):
        list(packets(raw))


@pytest.mark.parametrize(
    "named",
    [
        (b"agent=git/2.39.5", b"object-format=sha1"),
        (b"agent=git/2.50.1-Linux\n", b"object-format=sha1"),
        (b"agent=git/2.39.5", b"session-id=3fe0c7e4", b"object-format=sha1"),
        (b"object-format=sha1",),
    ],
)
def test_a_version_2_request_does_not_depend_on_who_asks(named: tuple[bytes, ...]) -> None:
    assert normalise_request(fetch(*named)) == fetch(b"object-format=sha1")


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        (
            line(b"want " + OID + b" ofs-delta agent=git/2.39.5 session-id=a side-band-64k\n") + b"0000",
            line(b"want " + OID + b" ofs-delta side-band-64k\n") + b"0000",
        ),
        (line(b"want " + OID + b" agent=git/2.39.5") + b"0000", line(b"want " + OID) + b"0000"),
        # Only the first line has capabilities.
        (
            line(b"want " + OID + b"\n") + line(b"want " + OID + b" agent=x\n"),
            line(b"want " + OID + b"\n") + line(b"want " + OID + b" agent=x\n"),
        ),
    ],
)
def test_a_version_0_request_does_not_depend_on_who_asks(raw: bytes, normal: bytes) -> None:
    assert normalise_request(raw) == normal


def test_what_is_wanted_and_had_stays_in_the_key() -> None:
    assert len({normalise_request(fetch(have=have)) for have in (b"", b"2" * 40, b"3" * 40)}) == 3
    # An argument that looks like a capability is an argument.
    asked = line(b"command=ls-refs\n") + b"0001" + line(b"ref-prefix agent=x") + line(b"agent=y") + b"0000"
    assert normalise_request(asked) == asked


@given(st.binary(max_size=200))
def test_any_bytes_are_normalised_once_and_for_all(raw: bytes) -> None:
    once = normalise_request(raw)
    assert normalise_request(once) == once


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"agent=a", b"session-id=b", b"object-format=sha1"])))
def test_any_lines_keep_all_but_agent_and_session(lines: list[bytes]) -> None:
    raw = b"".join(line(data) for data in [b"command=x", *lines]) + b"0000"
    kept = [data for data in lines if not data.startswith((b"agent=", b"session-id="))]
    assert list(packets(normalise_request(raw))) == [b"command=x", *kept, 0]


def result(*cuts: int, pack: bytes = b"PACK" + b"x" * 100, progress: bytes = b"") -> bytes:
    parts = [line(b"packfile\n")]
    at = 0
    for cut in (*cuts, len(pack)):
        parts.append(line(b"\x01" + pack[at:cut]))
        if progress:
            parts.append(line(b"\x02" + progress))
        at = cut
    return b"".join([*parts, b"0000"])


def test_the_same_pack_in_other_packets_has_the_same_digest() -> None:
    whole = result_digest([result()])
    assert whole is not None
    assert result_digest([result(1, 5, 50)]) == whole
    assert result_digest([result(10, progress=b"Counting objects: 3\n")]) == whole


def test_another_pack_or_other_acknowledgements_have_another_digest() -> None:
    told = {
        result_digest([result()]),
        result_digest([result(pack=b"PACK" + b"y" * 100)]),
        result_digest([line(b"acknowledgments\n") + line(b"NAK\n") + b"0001" + result()]),
        result_digest([line(b"shallow-info\n") + line(b"shallow " + OID) + b"0001" + result()]),
    }
    assert len(told) == 4
    assert None not in told


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"0000",
        b"0008NAK\n" + b"PACKxxxx",
        line(b"ERR access denied"),
        result()[:-5],
        result() + line(b"\x03fatal"),
        line(b"version 2\n") + b"0000",
        b"<html>",
    ],
)
def test_a_body_that_is_no_whole_banded_result_has_no_digest(body: bytes) -> None:
    assert result_digest([body]) is None


@given(st.binary(max_size=300) | st.just(result(3, 9)), st.lists(st.integers(1, 7), max_size=200))
def test_how_a_result_arrives_does_not_matter(body: bytes, sizes: list[int]) -> None:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    assert result_digest([*pieces, body[at:]]) == result_digest([body])


def test_a_result_is_digested_at_bounded_memory() -> None:
    digest = ResultDigest()
    digest.feed(line(b"packfile\n"))
    block = line(b"\x01" + b"x" * 60_000) * 50
    for _ in range(10):
        digest.feed(memoryview(block))
        assert len(digest._pending) < 65_520
    digest.feed(b"0000")
    assert digest.hexdigest() is not None


def test_a_real_fetch_is_understood(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(repo)]
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    (repo / "file").write_text("content\n" * 100)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    oid = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True).stdout.strip()
    asked = line(b"command=fetch") + line(b"agent=git/9") + b"0001" + line(b"want " + oid) + line(b"done") + b"0000"
    answers = [
        subprocess.run(
            ["git", "upload-pack", "--stateless-rpc", str(repo)],
            input=request,
            check=True,
            capture_output=True,
            env={"GIT_PROTOCOL": "version=2", "PATH": "/usr/bin:/bin"},
        ).stdout
        for request in (asked, normalise_request(asked))
    ]
    digests = {result_digest([answer]) for answer in answers}
    assert len(digests) == 1
    assert None not in digests
