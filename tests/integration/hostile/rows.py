"""Lists the attacks that docs/threat-model.md speaks of, and ties tests to them; `python -m` of `threats` writes the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

CLIENT = "a build's command"
SERVER = "a server"
NAMESERVER = "a name server"
CELL = "a command in `hermit run`"
EDITOR = "who can edit the branch"
MACHINE = "another user or run"


@dataclass(frozen=True, slots=True)
class Row:
    """Is one attack: who tries what, and what stops it."""

    who: str
    attack: str
    barrier: str


ROWS: dict[str, Row] = {}
Test = TypeVar("Test", bound=Callable[..., object])


def attack(name: str) -> Callable[[Test], Test]:
    """Mark a test as the proof of a row."""
    if name not in ROWS:
        raise ValueError(f"no row of the threat model: {name}")

    def mark(test: Test) -> Test:
        test.__dict__["attack"] = name
        return test

    return mark


def _rows(who: str, **rows: tuple[str, str]) -> None:
    for name, (what, barrier) in rows.items():
        ROWS[name.replace("_", "-")] = Row(who, what, barrier)


_GUARD = "the guard judges each address before it is dialled (`guard.py`, `dialer.py`)"
_HEAD = "one strict reader for both modes (`recorder/head.py`) before anything else reads the request"

_rows(
    CLIENT,
    loopback_spellings=("asks for the host's loopback by 31 spellings: short, octal, hexadecimal, mapped, zoned, full-width", f"{_GUARD}; `target.py` takes one spelling of an address"),
    loopback_without_us=("(control) asks mitmproxy itself for loopback: it is fetched", "nothing: this is why there is a guard"),
    own_addresses=("asks for the addresses of the host's interfaces", _GUARD),
    own_public_address=("asks for the host by a public address of its own, behind its firewall", f"{_GUARD}; `ownaddresses.py` reads the interfaces"),
    private_ranges=("asks for private, shared, link-local, documentation, benchmark and reserved addresses", _GUARD),
    disguised_ipv4=("asks for loopback inside NAT64, 6to4, Teredo, ISATAP and IPv4-compatible forms", _GUARD),
    metadata=("asks for the metadata addresses of six clouds", f"{_GUARD}; open only by their very address"),
    connect_ports=("opens a tunnel to a port of the host and speaks another protocol in it", "a tunnel is not dialled: it carries judged requests or nothing (`next_layer.py`)"),
    connect_literals=("opens a TLS tunnel to a literal address", _GUARD),
    reserved_host_connect=("asks for a tunnel to `hermit.internal`", "refused at CONNECT"),
    reserved_host_rule=("asks for another port or a child of `hermit.internal`, with rules that admit it", "rules never match the reserved host; children are ordinary names"),
    answer_engine=("finds the port of the recorder's answer engine on loopback", "a path with 256 random bits for each run (`internal_server.py`)"),
    hermetic_dials_nothing=("asks a hermetic proxy for addresses that the operator has opened", "no upstream code in the process; import-linter holds it to that"),
)
_rows(
    NAMESERVER,
    name_to_loopback=("lets a public name lead to loopback", _GUARD),
    metadata_by_name=("points a name that the operator has opened at the metadata service", "a name opens private ranges only, metadata by address only (`addressranges.py`)"),
    dns_rebinding=("answers the check with an allowed address and the connection with loopback", "resolved once; the judged address is the one dialled (`dialer.py`)"),
    dns_rebinding_later=("answers the second request with loopback", "every connection is judged anew"),
    dns_mixed=("mixes an allowed address with loopback", "one refused address refuses the name"),
    reserved_host_dns=("answers for `hermit.internal`", "the proxy answers itself and never asks"),
)
_rows(
    SERVER,
    redirect_inward=("redirects the client to loopback", f"a redirect is a new request: {_GUARD}"),
    redirect_inward_folded=("redirects to loopback where the rule folds redirects, so that the proxy follows", _GUARD),
    redirect_past_rules=("redirects a folded request to where no rule leads", "the target is judged by the rules as well (`redirects.py`)"),
    redirect_inward_signed=("redirects to a signed URL on loopback, whose signature the proxy keeps", _GUARD),
    reserved_host_redirect=("redirects a folded request to `hermit.internal`", "rules never match the reserved host"),
)
_rows(
    CLIENT,
    length_and_chunks=("smuggles: Content-Length and Transfer-Encoding at once", _HEAD),
    odd_lengths=("smuggles: several lengths, signs, hexadecimal, lists, overflows", _HEAD),
    odd_codings=("smuggles: spellings of Transfer-Encoding that one reader takes and the next does not", _HEAD),
    odd_chunks=("smuggles: chunk sizes that are signed, prefixed, too long or wrong", "chunks are read exactly and written anew with a length (`replayer/body.py`, `addons/headers.py`)"),
    bare_line_ends=("smuggles: lines that end with LF or CR alone", _HEAD),
    folded_lines=("smuggles: folded headers, headers without a colon or with a space in the name", _HEAD),
    nul=("puts NUL or CR LF, raw and escaped, into host, path, query and headers", f"{_HEAD}; `target.py`"),
    huge_heads=("sends a head of 70 KB, 200 headers, a path of 20 KB", "64 KiB, 100 headers, 16 KiB"),
    endless_head=("sends a head of 32 MB that does not end", "cut at 64 KiB, at bounded memory"),
    host_missing=("sends no Host, or two", _HEAD),
    host_disagrees=("names one host in the target and another in Host", _HEAD),
    host_disagrees_tunnel=("names one host in CONNECT and another in Host", _HEAD),
    sni_disagrees=("names one host in CONNECT and another in TLS (domain fronting)", "SNI is held against CONNECT (`next_layer.py`, `replayer/tls.py`)"),
    origin_form=("asks in origin-form outside of a tunnel", _HEAD),
    absolute_form_in_tunnel=("asks in absolute-form, or for another tunnel, inside a tunnel", _HEAD),
    connect_nowhere=("opens tunnels without a port, to port 0 or 65536, to a path or URL", _HEAD),
    odd_schemes=("asks for ftp, file, gopher, unix and https in absolute form", _HEAD),
    user_info=("hides the host behind user info, fragment or backslash", "`target.py` takes none of them"),
    odd_hosts=("asks for host names with slashes, dots, NUL, escapes, non-ASCII, shell and half addresses", "`target.py`; a host becomes a file name only after that"),
    dot_segments=("leaves a rule's folder by `..`, twenty ways of writing it", "resolved once before rule, key and wire; what hides deeper is refused (`target.py`)"),
    encoded_slash=("passes a rule by `%2F` in place of a slash", "both readings must meet the same rule ([decision](decisions/encoded-slashes.md))"),
    websocket=("asks for a websocket or another upgrade", _HEAD),
    h2c=("asks for HTTP/2 by upgrade and by preface", "the offer is taken off, the preface refused"),
    odd_request_lines=("sends request lines of other versions, shapes and alphabets", _HEAD),
    hop_by_hop=("names Content-Length and Host in Connection, so that a proxy takes them off", "the head for upstream is written anew (`addons/headers.py`)"),
    body_is_a_request=("puts a whole request into a body", "framed anew with one length; upstream hears one request"),
    trailers=("changes Host and length in trailers", "a request with such trailers is refused"),
    pipelined=("sends a good request behind a refused one", "a refused head ends the connection"),
)
_rows(
    CLIENT,
    request_bomb=("sends a gzip body that unpacks to a gigabyte", "unpacked for the key only, to 64 MiB at most: 413 (`bodykey.py`)"),
    endless_request_body=("sends a chunked body without end", "64 MiB, then 413"),
    slow_writers=("opens 200 connections and never finishes a head", "no thread or task waits with them; idle connections end"),
    slow_bodies=("begins 50 bodies and never ends them", "held within one budget; each is logged when it ends"),
    slow_readers=("asks 20 times for 64 MiB and reads nothing", "bodies stream against the client's window, at bounded memory"),
    connection_flood=("opens 1100 connections", "1024 at once, the rest are closed"),
    hang_up=("resets its connection in the middle of an answer", "logged once, the connection upstream ends too, nothing is recorded"),
    upload_forged=("uploads what is not its digest, half of it, too much of it, or to a path of its own", "hashed while it comes, published only when it is what it says (`internal_host.py`)"),
    upload_endless=("uploads without end, in one body or in many", "all uploads of a run share `upload_limit`"),
    offline_step=("leaves a process and an open connection for a step without network", "decided for each request by the step that runs; nothing between steps (`session.py`)"),
)
