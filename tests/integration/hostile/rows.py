"""Lists the attacks that docs/threat-model.md speaks of, and ties tests to them (see threats)."""

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
BUILD = "a build's step, as root in the sandbox"


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


_GUARD = "the guard judges each address before it is dialled (`upstream/guard.py`, `dialer.py`)"
_HEAD = "one strict reader for both modes (`recorder/head.py`) before anything else reads the request"

_rows(
    CLIENT,
    loopback_spellings=(
        "asks for the host's loopback by 31 spellings: short, octal, hexadecimal, mapped, zoned, full-width",
        f"{_GUARD}; `request/target.py` takes one spelling of an address",
    ),
    loopback_without_us=(
        "(control) asks mitmproxy itself for loopback: it is fetched",
        "nothing: this is why there is a guard",
    ),
    own_addresses=("asks for the addresses of the host's interfaces", _GUARD),
    own_public_address=(
        "asks for the host by a public address of its own, behind its firewall",
        f"{_GUARD}; `upstream/own.py` reads the interfaces",
    ),
    private_ranges=("asks for private, shared, link-local, documentation, benchmark and reserved addresses", _GUARD),
    disguised_ipv4=("asks for loopback inside NAT64, 6to4, Teredo, ISATAP and IPv4-compatible forms", _GUARD),
    metadata=("asks for the metadata addresses of six clouds", f"{_GUARD}; open only by their very address"),
    connect_ports=(
        "opens a tunnel to a port of the host and speaks another protocol in it",
        "a tunnel is not dialled: it carries judged requests or nothing (`next_layer.py`)",
    ),
    connect_literals=("opens a TLS tunnel to a literal address", _GUARD),
    reserved_host_connect=("asks for a tunnel to `hermit.internal`", "refused at CONNECT"),
    reserved_host_rule=(
        "asks for another port or a child of `hermit.internal`, with rules that admit it",
        "rules never match the reserved host; children are ordinary names",
    ),
    answer_engine=(
        "finds the port of the recorder's answer engine on loopback",
        "a path with 256 random bits for each run (`internal_server.py`)",
    ),
    hermetic_dials_nothing=(
        "asks a hermetic proxy for addresses that the operator has opened",
        "no upstream code in the process; import-linter holds it to that",
    ),
)
_rows(
    NAMESERVER,
    name_to_loopback=("lets a public name lead to loopback", _GUARD),
    metadata_by_name=(
        "points a name that the operator has opened at the metadata service",
        "a name opens private ranges only, metadata by address only (`upstream/ranges.py`)",
    ),
    dns_rebinding=(
        "answers the check with an allowed address and the connection with loopback",
        "resolved once; the judged address is the one dialled (`dialer.py`)",
    ),
    dns_rebinding_later=("answers the second request with loopback", "every connection is judged anew"),
    dns_mixed=("mixes an allowed address with loopback", "one refused address refuses the name"),
    reserved_host_dns=("answers for `hermit.internal`", "the proxy answers itself and never asks"),
)
_rows(
    SERVER,
    redirect_inward=("redirects the client to loopback", f"a redirect is a new request: {_GUARD}"),
    redirect_inward_folded=("redirects to loopback where the rule folds redirects, so that the proxy follows", _GUARD),
    redirect_past_rules=(
        "redirects a folded request to where no rule leads",
        "the target is judged by the rules as well (`redirects.py`)",
    ),
    redirect_inward_signed=("redirects to a signed URL on loopback, whose signature the proxy keeps", _GUARD),
    reserved_host_redirect=("redirects a folded request to `hermit.internal`", "rules never match the reserved host"),
)
_rows(
    CLIENT,
    length_and_chunks=("smuggles: Content-Length and Transfer-Encoding at once", _HEAD),
    odd_lengths=("smuggles: several lengths, signs, hexadecimal, lists, overflows", _HEAD),
    odd_codings=("smuggles: spellings of Transfer-Encoding that one reader takes and the next does not", _HEAD),
    odd_chunks=(
        "smuggles: chunk sizes that are signed, prefixed, too long or wrong",
        "chunks are read exactly and written anew with a length (`replayer/body.py`, `addons/headers.py`)",
    ),
    bare_line_ends=("smuggles: lines that end with LF or CR alone", _HEAD),
    folded_lines=("smuggles: folded headers, headers without a colon or with a space in the name", _HEAD),
    nul=("puts NUL or CR LF, raw and escaped, into host, path, query and headers", f"{_HEAD}; `request/target.py`"),
    huge_heads=("sends a head of 70 KB, 200 headers, a path of 20 KB", "64 KiB, 100 headers, 16 KiB"),
    endless_head=("sends a head of 32 MB that does not end", "cut at 64 KiB, at bounded memory"),
    host_missing=("sends no Host, or two", _HEAD),
    host_disagrees=("names one host in the target and another in Host", _HEAD),
    host_disagrees_tunnel=("names one host in CONNECT and another in Host", _HEAD),
    sni_disagrees=(
        "names one host in CONNECT and another in TLS (domain fronting)",
        "SNI is held against CONNECT (`next_layer.py`, `replayer/tls.py`)",
    ),
    origin_form=("asks in origin-form outside of a tunnel", _HEAD),
    absolute_form_in_tunnel=("asks in absolute-form, or for another tunnel, inside a tunnel", _HEAD),
    connect_nowhere=("opens tunnels without a port, to port 0 or 65536, to a path or URL", _HEAD),
    odd_schemes=("asks for ftp, file, gopher, unix and https in absolute form", _HEAD),
    user_info=("hides the host behind user info, fragment or backslash", "`request/target.py` takes none of them"),
    odd_hosts=(
        "asks for host names with slashes, dots, NUL, escapes, non-ASCII, shell and half addresses",
        "`request/target.py`; a host becomes a file name only after that",
    ),
    dot_segments=(
        "leaves a rule's folder by `..`, twenty ways of writing it",
        "resolved once before rule, key and wire; what hides deeper is refused (`request/target.py`)",
    ),
    encoded_slash=(
        "passes a rule by `%2F` in place of a slash",
        "both readings must meet the same rule ([decision](decisions/encoded-slashes.md))",
    ),
    websocket=("asks for a websocket or another upgrade", _HEAD),
    h2c=("asks for HTTP/2 by upgrade and by preface", "the offer is taken off, the preface refused"),
    odd_request_lines=("sends request lines of other versions, shapes and alphabets", _HEAD),
    hop_by_hop=(
        "names Content-Length and Host in Connection, so that a proxy takes them off",
        "the head for upstream is written anew (`addons/headers.py`)",
    ),
    body_is_a_request=("puts a whole request into a body", "framed anew with one length; upstream hears one request"),
    trailers=("changes Host and length in trailers", "a request with such trailers is refused"),
    pipelined=("sends a good request behind a refused one", "a refused head ends the connection"),
)
_rows(
    CLIENT,
    request_bomb=(
        "sends a gzip body that unpacks to a gigabyte",
        "unpacked for the key only, to 64 MiB at most: 413 (`request/body.py`)",
    ),
    endless_request_body=("sends a chunked body without end", "64 MiB, then 413"),
    slow_writers=(
        "opens 200 connections and never finishes a head",
        "no thread or task waits with them; idle connections end",
    ),
    slow_bodies=("begins 50 bodies and never ends them", "held within one budget; each is logged when it ends"),
    slow_readers=(
        "asks 20 times for 64 MiB and reads nothing",
        "bodies stream against the client's window, at bounded memory",
    ),
    connection_flood=("opens 1100 connections", "1024 at once, the rest are closed"),
    hang_up=(
        "resets its connection in the middle of an answer",
        "logged once, the connection upstream ends too, nothing is recorded",
    ),
    upload_forged=(
        "uploads what is not its digest, half of it, too much of it, or to a path of its own",
        "hashed while it comes, published only when it is what it says (`internal_host.py`)",
    ),
    upload_endless=("uploads without end, in one body or in many", "all uploads of a run share `upload_limit`"),
    offline_step=(
        "leaves a process and an open connection for a step without network",
        "decided for each request by the step that runs; nothing between steps (`run/session.py`)",
    ),
)
_rows(
    SERVER,
    answer_too_long=(
        "sends a second answer behind the first (response splitting)",
        "an answer is framed exactly; what follows belongs to nobody",
    ),
    answer_before_request=(
        "sends an answer before it was asked, for the next request on the connection",
        "unasked-for octets end the connection",
    ),
    answer_too_short=(
        "breaks off in the middle of length, chunk or head",
        "not recorded; the client's connection breaks too, so it is not taken for whole",
    ),
    answer_two_framings=("answers with two lengths, or with length and chunks", "not given, not recorded"),
    answer_split_head=("puts CR, NUL and folded lines into its head", "not given (`addons/headers.py`)"),
    garbage=("answers with what is no HTTP, or with statuses that mean nothing", "a failure that is logged"),
    switching_protocols=("switches protocols without being asked", "a failure"),
    endless_head_of_server=("sends head, line or interim answers without end", "bounded (`connection.py`)"),
    endless_answer=("sends a body without end", "`max_size` at the rule; nothing stays in the store"),
    answer_bomb=("sends 256 MiB compressed to 1 MiB", "answers are never unpacked ([decision](decisions/identity.md))"),
    lying_digest=("claims another digest in its headers", "the digest is the recorder's own, of the bytes that came"),
    lying_type=("claims a type or an encoding that is not true", "no byte depends on it"),
    lying_part=("answers a plain request with a part, or with 304", "neither is ever recorded"),
    body_where_none_is=(
        "sends a body behind HEAD and 204, to be the next answer",
        "framed by the request; the rest belongs to nobody",
    ),
    off_the_wire=("sends Alt-Svc, cookies, tokens", "Alt-Svc is cut; the record keeps an allow-list of headers"),
    slow_server=("drips its answer while 20 clients wait", "one fetches for all; others are served meanwhile"),
    false_certificate=(
        "shows a certificate of a stranger, or of another name",
        "verified by name before the request is sent (`endpoint.py`)",
    ),
    false_certificate_later=("speaks no TLS where TLS is due", "a failure"),
)
_rows(
    SERVER,
    secret_in_the_open=(
        "(and anybody) looks for the credential in logs, HAR, snapshot, store, process list, environment, core",
        "it is in the proxy's memory only; no core files, not dumpable",
    ),
    reflected_header=(
        "reflects the credential in header, cookie or reason phrase, plain and in base64",
        "the head is searched for every spelling (`credentials/scan.py`)",
    ),
    reflected_body=(
        "reflects the credential in the body, in eight spellings",
        "searched while it streams; the first octet of it is held back",
    ),
    reflected_in_pieces=(
        "splits the reflected credential over chunks",
        "what may be its beginning is held back across chunks",
    ),
    reflected_redirect=("reflects the credential in a redirect", "the head is searched before a signature is cut"),
    reflected_slices=(
        "(with a client) gives it back in slices of three octets",
        "upstream is asked for the whole, which is searched",
    ),
    reflected_compressed=(
        "gives it back compressed",
        "an answer for a credential must be unencoded, as it was asked for",
    ),
    reflected_trailer=(
        "gives it back in a trailer, an interim answer, a chunk's extension",
        "none of them is passed on",
    ),
)
_rows(
    EDITOR,
    secret_by_edited_rules=(
        "names a credential at another host, scheme or method",
        "the operator binds it; a rule that does not fit is an error at the start (`credentials/bindings.py`)",
    ),
    secret_by_wide_rules=(
        "names a credential at a rule for everything",
        "bound to https host, port, path and methods, judged for each request",
    ),
    secret_over_a_redirect=(
        "redirects the request that carries it",
        "added for the bound place only; not across redirects",
    ),
    edited_digest=(
        "edits a digest, of a body that the store has",
        "an observation covers the whole entry ([decision](decisions/observations-cover-entries.md)); exit 3, by name",
    ),
    edited_answer=("edits status, type or URL of an entry", "as above"),
    unobserved=("adds an entry that no recorder has seen", "as above"),
    uploaded_evidence=("uploads a body and adds its entry", "uploads are no observations"),
    other_pool=("uses what another repository has observed", "observations belong to a pool"),
    foreign_files=(
        "puts a host's entries under another name, or behind a link",
        "a file name is the host's, links are refused (`tree.py`)",
    ),
    forged_entry=("puts line ends into an entry's headers", "refused when read (`check.py`)"),
)
_rows(
    MACHINE,
    swapped_body=(
        "swaps a body in the store",
        "every body is hashed before it is served; the bad one is put aside, by name",
    ),
    swapped_body_later=(
        "swaps it after it was served once",
        "the verdict holds for device, inode, size and times only (`verdicts.py`)",
    ),
    linked_body=("puts a link in the place of a body", "links are not followed"),
    addon_fault=(
        "finds a fault in any of the recorder's addons",
        "a fault ends the request: nothing is forwarded, nothing recorded (`connection.py`)",
    ),
)
_rows(
    CELL,
    cell_loopback=(
        "connects to the host's loopback and addresses, by TCP and UDP",
        "a network namespace with nothing but its own loopback",
    ),
    cell_abstract=("connects to an abstract unix socket of the host", "abstract names belong to a network namespace"),
    cell_unix=(
        "connects to unix sockets in the file system that it shares with the host",
        "each one that exists at the start is covered (`sockets.py`, `view.py`)",
    ),
    cell_families=(
        "opens vsock, packet, crypto, CAN, Bluetooth, XDP sockets",
        "a system call filter knows four families (`seccomp.py`)",
    ),
    cell_hidden=("reads store, runs, settings and secret files", "they look empty and are read-only"),
    cell_control=(
        "looks for the control socket, inherited descriptors, the proxy's process",
        "the control channel has no name ([decision](decisions/control-by-inheritance.md)); own process namespace",
    ),
    cell_kernel=(
        "makes namespaces, io_uring, mounts, raw sockets; writes core_pattern",
        "no capabilities, the filter, a read-only /proc/sys",
    ),
    cell_wire=(
        "(control) asks the proxy, and lists the interfaces",
        "the proxy is reached, and lo is the only interface",
    ),
)
_rows(
    MACHINE,
    other_run=("uses the wire of another run", "each run has its own namespace, socket, authority and rules"),
)
_NAMESPACE = "a network namespace that has nothing but its loopback (`sandbox/namespaces/inside.py`)"
_NINE = "nine capabilities, of a user namespace (`sandbox/bwrap.py`)"
_FILTER = "the system call filter (`seccomp.py`)"
_UNMAPPED = "the cell's users are nobody on the host (`sandbox/namespaces/idmap.py`)"
_TREE = "its root is all that is mounted, and what was there before is away (`sandbox/bwrap.py`)"
_rows(
    BUILD,
    build_tcp=("connects to the host's loopback and addresses by TCP", _NAMESPACE),
    build_udp=("sends datagrams there", _NAMESPACE),
    build_dns=("asks a name server by UDP and TCP, and the system's resolver", f"{_NAMESPACE}; an empty resolv.conf"),
    build_ipv6=("connects and sends by IPv6, and to IPv4 inside of it", _NAMESPACE),
    build_raw=("opens raw sockets for IP, ICMP, packets", f"{_NINE}, and NET_RAW is none of them; {_FILTER}"),
    build_families=("opens sockets of twelve other families: vsock, XDP, crypto, Bluetooth, TIPC", _FILTER),
    build_protocols=("asks for protocols that are modules of the kernel: SCTP, DCCP, L2TP, UDP-Lite", _FILTER),
    build_netlink=("speaks netlink to audit, generic, sock_diag, netfilter and nine others", _FILTER),
    build_abstract=("connects to abstract sockets of the host and of another build", _NAMESPACE),
    build_unix=("connects to named sockets of the host", _TREE),
    build_wire=("gives lo an address, stops it, makes an interface, a route or a tunnel", _NINE),
    build_port=(
        "listens at the proxy's address by every way of sharing a port",
        "the port is the holder's socket, which shares it with nobody",
    ),
    build_mounts=("mounts, binds, remounts and unmounts, by mount(2) and by fsopen(2) and its kin", _NINE),
    build_namespaces=("makes namespaces by unshare, clone and clone3, and enters others", f"{_FILTER}; {_NINE}"),
    build_calls=(
        "sets the clock, swaps, loads modules and programs, reads the log, raises limits and priorities: 20 calls",
        f"{_NINE}, and most of the calls want the host's own; {_FILTER}; `sandbox/limits/rlimits.py`",
    ),
    build_names=("renames the machine", _NINE),
    build_keyrings=("adds, asks for and reads keys of the kernel", _FILTER),
    build_io_uring=("opens an io_uring, whose sockets no filter sees", _FILTER),
    build_keystrokes=("puts keystrokes into a terminal (TIOCSTI), also with bits that the kernel drops", _FILTER),
    build_line_disciplines=("gives its terminal a line discipline that is a module of the kernel (TIOCSETD)", _FILTER),
    build_secret_memory=("takes memory by memfd_secret, which is in no account of its own or shared memory", _FILTER),
    build_handles=("opens the host's first namespaces by their file handles", f"{_NINE}: they want the host's own"),
    build_devices=(
        "makes disks, null and whiteouts, opens disk, memory, KVM, FUSE, loops; changes the host's /dev/null",
        f"no MKNOD; a /dev of its own with six devices, which belong to nobody it is: {_UNMAPPED}",
    ),
    build_chroot=("leaves its root by chroot(2) and an open folder", _TREE),
    build_proc=(
        "writes core_pattern, sysctls, sysrq, interrupts; reads the log and slabs",
        f"read-only (`hostparts.py`); {_UNMAPPED}",
    ),
    build_kernel_memory=("reads the kernel's memory, addresses, timers, keys", f"hidden, or zeros: {_UNMAPPED}"),
    build_sys=("lists and writes /sys: control groups, blocks, modules, processors", "three folders of it, read-only"),
    build_neighbour=("connects to what another build's loopback offers", _NAMESPACE),
    build_processes=("signals, compares, slows and takes descriptors of processes of the host", "own pid namespace"),
    build_ptrace=("traces, reads and writes memory of processes of the host and of another build", "own pid namespace"),
    build_shared_memory=("opens shared memory, segments and queues of others", "own IPC namespace, own /dev/shm"),
    build_host_files=(
        "looks for a file and a variable of the host below every root, folder and descriptor of /proc",
        f"{_TREE}; no environment is passed on",
    ),
    build_store=("looks for bodies in the store", _TREE),
    build_layers=("looks for the image, its own layer and another build's, also by what the mount table says", _TREE),
    build_descriptors=(
        "goes up from each inherited descriptor, and looks for a socket among them",
        "all but three are closed (`sandbox/namespaces/launch.py`)",
    ),
    build_descriptors_on_their_way=(
        "sends as many descriptors as it may and receives none, so that the kernel lets no cell's root send any",
        "a holder may have more on their way than what it starts (`namespaces/launch.py`; [but](#what-is-not-stopped))",
    ),
    build_bubblewrap=("overwrites bubblewrap through /proc/1/exe, and follows its root", _UNMAPPED),
)
_rows(
    BUILD,
    build_base_tree=(
        "writes, truncates, links, moves, removes and chowns files of the image, for the next build to find",
        "the image is the lower layer, which nobody writes; the next build has another upper one",
    ),
    build_setuid=(
        "makes setuid files and gives files capabilities, to be root again as the build's user",
        "no_new_privs (`sandbox/bwrap.py`)",
    ),
    build_setuid_outside=(
        "leaves a setuid file on the host's disk for an accomplice there",
        f"{_UNMAPPED}, and the folder above is 0700",
    ),
    build_links_before_put=(
        "puts links to the host's paths where Hermit will put files",
        "the cell's own tar unpacks, in the cell (`sandbox/cell.py`)",
    ),
    build_next_step=(
        "leaves a process that looks into whatever sets up the next step: root, folder, descriptors, environment",
        "bubblewrap has more capabilities than a step until it has let go of the host ([but](#what-is-not-stopped))",
    ),
    build_kills_steps=(
        "leaves a process that kills each later step",
        "the step's status is 137, or the build ends with a sentence: never a success",
    ),
    build_kills_init=(
        "kills everything that it sees, the cell's first process too",
        "nothing of it is the host's; the next step gets a new one (`sandbox/steps.py`)",
    ),
    build_replaces_programs=(
        "replaces setpriv, which starts its later steps",
        "its steps are its own to spoil; ten capabilities at most, filter and no_new_privs stay",
    ),
)
_TAKING = "taken by one walk that follows no link, from a stopped cell (`sandbox/artifacts/taking.py`, `walk.py`)"
_COUNTED = "counted from outside, and the whole cell is ended with a sentence"
_rows(
    BUILD,
    artifact_dots=("names artifacts by `..`, `.`, `//` and from the root", "a pattern is plain names (`patterns.py`)"),
    artifact_links=("puts links in the place of artifacts, and of folders on the way to them", _TAKING),
    artifact_folder_link=("puts a link in the place of the project's folder", f"{_TAKING}; opened name by name"),
    artifact_kinds=("puts pipes and sockets in the place of artifacts, to be waited for", _TAKING),
    artifact_giants=(
        "leaves sparse files, one or many, that are more than they take",
        "counted as they read, against `limits: artifacts` (`sandbox/artifacts/taking.py`)",
    ),
    artifact_hard_links=("links artifacts to the image's own files", "what it can read is the image's, no secret"),
    artifact_screen=(
        "names artifacts with newlines, escapes, directions of writing, broken UTF-8, backslashes",
        "refused, and quoted where it is said",
    ),
    artifact_options=(
        "names artifacts like options and scripts, and makes them setuid",
        "names are never words of a command; modes are 0644 or 0755 (`hermit_workers/artifacts.py`)",
    ),
    artifact_own_names=("names artifacts SHA256SUMS and .gitignore", "refused by name (`hermit_workers/artifacts.py`)"),
    build_fills_disk=("fills the disk with bytes, empty files, folders in folders", f"{_COUNTED} (`disk.py`)"),
    build_hides_on_disk=(
        "fills it where a count does not look: files without a name, open or mapped, folders that always move",
        f"{_COUNTED} (`disk.py`, `openfiles.py`; [but](#what-is-not-stopped)); a gigabyte is left in any case",
    ),
    build_descriptor_flood=(
        "has hundreds of thousands of descriptors, so that looking at them takes for ever",
        f"{_COUNTED} at 500,000 (`openfiles.py`)",
    ),
    build_one_giant=("makes one file larger than the limit, with a hole or without", "RLIMIT_FSIZE (`limits.py`)"),
    build_fork_bomb=(
        "forks without end, in sessions of their own, as 60,000 users",
        f"control group, watchdog and RLIMIT_NPROC; {_COUNTED}",
    ),
    build_memory=(
        "takes memory in one process, in many, in shared memory",
        f"control group and watchdog; {_COUNTED}; /dev/shm has a quarter",
    ),
    build_hides_memory=(
        "takes memory that no process has touched, where there is no control group: memory files, segments",
        f"{_COUNTED} (`openfiles.py`; [but](#what-is-not-stopped)); segments have a quarter (`namespaces/inside.py`)",
    ),
    build_kernel_buffers=(
        "fills pipes, as several users",
        "control group; without one, what every build leaves to the machine ([but](#what-is-not-stopped))",
    ),
    build_time=("sleeps, spins, ignores signals, stops itself, leaves its session", "the build's time, and SIGKILL"),
    build_output_flood=(
        "prints without end, and terminal sequences",
        "cut at `limits: output`; what is shown and logged is plain (`build/printing.py`, `terminal.py`)",
    ),
)
_rows(
    BUILD,
    build_offline_step=(
        "leaves a process with open connections and half a request for a step without network",
        "decided for each request by the step that runs (`run/session.py`)",
    ),
    build_edits_rules=(
        "edits rules, spec and snapshot in its source while it runs",
        "what counts was read from the user's project before; nothing but artifacts comes back",
    ),
    build_edits_project=("writes to the user's project by its path on the host", _TREE),
    build_asks_for_control=(
        "asks `hermit.internal` for control over its proxy",
        "control is an inherited socket in another network ([decision](decisions/control-by-inheritance.md))",
    ),
    build_keeps_authority=(
        "keeps the authority's certificate for later builds, and looks for its key",
        "a new authority for each build (`run/ca.py`), whose key is in the proxy's memory only",
    ),
    build_escapes=("prints terminal sequences", "what is shown is plain (`build/terminal.py`)"),
)
