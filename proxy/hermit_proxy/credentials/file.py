"""Reads `credentials.yaml`, the user's own file that binds names of credentials to secrets and places."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from hermit_proxy.closedyaml.file import Node, Scalar, excerpt, loads, read_bytes
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.credentials.bindings import Binding, Bindings, CredentialError
from hermit_proxy.credentials.scan import SecretFoundError, SecretScanner
from hermit_proxy.errors import InputError
from hermit_proxy.request.target import BadTargetError, parse_authority, parse_target

__all__ = ["Binding", "Bindings", "CredentialError", "SecretFoundError", "SecretScanner", "load_bindings"]

# An answer is searched for the secret: what is shorter than this occurs by chance.
MIN_SECRET = 8
MAX_SECRET = 8192
_KEYS = ("host", "path", "methods", "secret_file", "as", "user")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METHOD = re.compile(r"[A-Z]{1,32}")
_AS = re.compile(r"(bearer|basic|header ([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}))")
_UNFIT_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization"}
)
_VISIBLE = re.compile(rb"[\x20-\x7e]+")


def load_bindings(path: Path | None) -> Bindings:
    """Read the bindings and their secrets; raise InputError. Without a file there are none.

    The file and the secret files have to be the user's own and closed to others.
    """
    if path is None or not path.exists():
        return Bindings()
    reader = Reader(path)
    node = loads(read_bytes(path, private=True), path)
    root = reader.expect_mapping(node, ("credentials",), "a credentials file", required=("credentials",))
    found: dict[str, Binding] = {}
    for key, value in reader.expect_free_mapping(root.get("credentials"), "credentials"):
        if not _NAME.fullmatch(key.text):
            reader.mistake(key, f"expected a name of letters, digits, `.`, `_`, `-`; found {excerpt(key.text)}")
        elif (binding := _read_binding(reader, key, value)) is not None:
            found[key.text] = binding
    reader.finish()
    return Bindings(found, path=path)


def _read_binding(reader: Reader, key: Scalar, node: Node) -> Binding | None:
    what = f"the credential `{key.text}`"
    before = len(reader.mistakes)
    fields = reader.expect_mapping(node, _KEYS, what, required=("host", "path", "secret_file", "as"))
    host, port = _read_host(reader, fields.get("host"))
    path = _read_path(reader, fields.get("path"))
    methods = _read_methods(reader, fields.get("methods"))
    scheme, header = _read_as(reader, fields.get("as"))
    user = reader.expect_str(fields.get("user"), "user")
    if (scheme == "basic") != ("user" in fields):
        reader.mistake(key, f"{what}: `user` belongs to `as: basic`, and only there")
    elif user is not None and (":" in user or not user.isascii() or not user.isprintable()):
        reader.mistake(fields["user"], "expected user as printable ASCII without a colon (RFC 7617)")
    file = _file(reader, fields.get("secret_file"))
    secret = _read_secret(reader, fields.get("secret_file"), file)
    if len(reader.mistakes) > before or file is None or secret is None:
        return None
    value = secret.decode("ascii")
    if scheme == "basic":
        value = "Basic " + base64.b64encode(f"{user}:{value}".encode()).decode()
    elif scheme == "bearer":
        value = f"Bearer {value}"
    return Binding(key.text, host, port, path, methods, header, value, secret, file, key.line)


def _read_host(reader: Reader, node: Node | None) -> tuple[str, int]:
    text = reader.expect_str(node, "host")
    if text is None:
        return "", 0
    if text.startswith("http://"):
        reader.mistake(node, "a credential goes over https only")
        return "", 0
    try:
        return parse_authority(text.removeprefix("https://").removesuffix("/"), default_port=443)
    except BadTargetError as error:
        reader.mistake(node, f"expected host as `host.example.org` or `host.example.org:8443`; {error}")
        return "", 0


def _read_path(reader: Reader, node: Node | None) -> str:
    text = reader.expect_str(node, "path")
    if text is None:
        return "/"
    try:
        target = parse_target("https", "host.example.org", 443, text)
    except BadTargetError as error:
        reader.mistake(node, f"expected path as the beginning of a URL's path; {error}")
        return "/"
    if target.path != text:
        reader.mistake(node, f"expected path as the proxy sees it, {excerpt(target.path)}; found {excerpt(text)}")
    return target.path


def _read_methods(reader: Reader, node: Node | None) -> frozenset[str]:
    methods = reader.expect_strs(node, "methods")
    for method in methods or ():
        if not _METHOD.fullmatch(method):
            reader.mistake(node, f"expected methods in capitals, as [GET, HEAD]; found {excerpt(method)}")
    return frozenset(("GET", "HEAD") if methods is None else methods)


def _read_as(reader: Reader, node: Node | None) -> tuple[str, str]:
    text = reader.expect_str(node, "as")
    if text is None:
        return "", ""
    found = _AS.fullmatch(text)
    if found is None or (found.group(2) or "").lower() in _UNFIT_HEADERS:
        reader.mistake(node, f"expected as: bearer, basic or `header NAME`; found {excerpt(text)}")
        return "", ""
    return found.group(1).partition(" ")[0], found.group(2) or "Authorization"


def _file(reader: Reader, node: Node | None) -> Path | None:
    text = reader.expect_str(node, "secret_file")
    if text is None:
        return None
    try:
        return reader.path.parent.absolute() / Path(text).expanduser()
    except RuntimeError as error:
        reader.mistake(node, f"secret_file {excerpt(text)}: {error}")
        return None


def _read_secret(reader: Reader, node: Node | None, file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        secret = read_bytes(file, limit_bytes=MAX_SECRET, private=True).removesuffix(b"\n").removesuffix(b"\r")
    except InputError as error:
        reader.mistakes.extend(error.mistakes)
        return None
    if len(secret) < MIN_SECRET or not _VISIBLE.fullmatch(secret) or secret != secret.strip():
        # The secret itself is never part of a message.
        reader.mistake(node, f"{file}: expected one line of at least {MIN_SECRET} printable ASCII characters")
        return None
    return secret
