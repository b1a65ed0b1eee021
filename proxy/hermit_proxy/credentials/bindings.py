"""Knows which secret may be sent where: a rule names a credential, the user's binding decides about the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hermit_proxy.credentials.scan import SecretScanner, contains, spellings
from hermit_proxy.errors import HermitError, Mistake
from hermit_proxy.request.target import Target
from hermit_proxy.rules.file import Rule, Rules


class CredentialError(HermitError):
    """Is raised when a rule asks for a credential that is not meant for this request; the request is refused."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Is one credential: the https host and port, path prefix and methods it is for, and the header that carries it.

    `secret` is what must not come back; neither it nor `value` appears in the repr.
    """

    name: str
    host: str
    port: int
    path: str
    methods: frozenset[str]
    header: str
    value: str = field(repr=False)
    secret: bytes = field(repr=False)
    secret_file: Path
    line: int

    def objection(self, method: str, target: Target) -> str | None:
        """Say why the credential is not for a request; None where it is."""
        if target.scheme != "https":
            return "it goes over https only"
        if (target.host, target.port) != (self.host, self.port):
            return f"it is bound to {self.host}:{self.port}"
        if not (_within(self.path, target.path) and _within(self.path, target.path_as_slashes)):
            return f"it is bound to the path {self.path}"
        if method not in self.methods:
            return f"it is bound to the methods {', '.join(sorted(self.methods))}"
        return None


class Bindings:
    """Holds the bindings of one user or operator."""

    def __init__(self, bindings: Mapping[str, Binding] | None = None, *, path: Path | None = None) -> None:
        """Take bindings by name, and the file that they stand in."""
        self._bindings = dict(bindings or {})
        self.path = path
        needles: set[bytes] = set()
        for binding in self._bindings.values():
            needles |= spellings(binding.secret) | spellings(_sent(binding.value))
        self._secrets = tuple(sorted(needles))

    def __repr__(self) -> str:
        """Name the credentials and nothing of them."""
        return f"Bindings({sorted(self._bindings)})"

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self._bindings)

    def check(self, rules: Rules) -> list[Mistake]:
        """List the rules that name a credential that is not bound, or is bound to a host that they cannot match."""
        path = rules.source or Path("rules")
        told = ((rule, self._objection(rule)) for rule in rules.rules)
        return [Mistake(path, rule.line, objection) for rule, objection in told if objection is not None]

    def _objection(self, rule: Rule) -> str | None:
        if rule.credential is None:
            return None
        binding = self._bindings.get(rule.credential)
        if binding is None:
            where = f"in {self.path}" if self.path else "on this machine"
            return f"the credential `{rule.credential}` is not bound {where}"
        if not rule.pattern.matches_host("https", binding.host, binding.port):
            bound = f"the credential `{rule.credential}` is bound to {binding.host}:{binding.port}"
            return f"{bound}, which the pattern does not match"
        if rule.methods is not None and not rule.methods & binding.methods:
            others = ", ".join(sorted(binding.methods))
            return f"the credential `{rule.credential}` is bound to other methods ({others})"
        return None

    def header_for(self, rule: Rule, method: str, target: Target) -> tuple[str, str]:
        """Give name and value of the header that a request gets; raise CredentialError where it must not have it."""
        name = rule.credential
        binding = self._bindings.get(name) if name is not None else None
        if binding is None:
            raise CredentialError(f"the credential `{name}` is not bound on this machine")
        objection = binding.objection(method, target)
        if objection is not None:
            raise CredentialError(f"the credential `{name}` is not for {method} {target.url}: {objection}")
        return binding.header, binding.value

    def secrets(self) -> tuple[bytes, ...]:
        """Give every spelling of every secret that must not appear in an answer."""
        return self._secrets

    def secret_files(self) -> tuple[Path, ...]:
        """Give the files that a cell must not see."""
        return tuple(sorted({binding.secret_file for binding in self._bindings.values()}))

    def scanner(self) -> SecretScanner:
        """Make a scanner for one body."""
        return SecretScanner(self._secrets)

    def leaks(self, text: bytes) -> bool:
        """Tell whether a text in one piece, a header for example, betrays a secret."""
        return contains(text, self._secrets)


def _within(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _sent(value: str) -> bytes:
    """Give the part of a header's value that is secret: what stands behind `Bearer` or `Basic`."""
    return value.rpartition(" ")[2].encode("latin-1")
