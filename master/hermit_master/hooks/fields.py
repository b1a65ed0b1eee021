"""Takes values out of a forge's payload: of the type that is expected, or the delivery is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from hermit_master.names import BadNameError

Value = TypeVar("Value")


class BadPayloadError(ValueError):
    """Is raised for a payload that is not as its forge describes it; the message names the place."""


class Fields:
    """Is an object of a payload, and the place that it has in it."""

    def __init__(self, value: Mapping[str, Any], place: str = "") -> None:
        """Take a JSON object."""
        self._value, self._place = value, place

    def __contains__(self, name: str) -> bool:
        """Tell whether there is such a key with a value other than null."""
        return self._value.get(name) is not None

    def inner(self, name: str) -> Fields:
        """Give an object that must be there."""
        found = self._value.get(name)
        if not isinstance(found, dict):
            raise self._bad(name, "an object")
        return Fields(found, f"{self._place}{name}.")

    def text(self, name: str) -> str:
        """Give a text that must be there."""
        found = self._value.get(name)
        if not isinstance(found, str):
            raise self._bad(name, "a text")
        return found

    def named(self, name: str, parse: Callable[[str], Value]) -> Value:
        """Give a name that must be there."""
        text = self.text(name)
        try:
            return parse(text)
        except BadNameError as error:
            raise BadPayloadError(f"{self._place}{name}: {error}") from error

    def number(self, name: str) -> int:
        """Give a count from 1 on that must be there."""
        found = self._value.get(name)
        if not isinstance(found, int) or isinstance(found, bool) or not 0 < found < 1 << 31:
            raise self._bad(name, "a number from 1 on")
        return found

    def flag(self, name: str) -> bool:
        """Give true or false; absent is false."""
        found = self._value.get(name, False)
        if not isinstance(found, bool):
            raise self._bad(name, "true or false")
        return found

    def shown(self, name: str, limit: int) -> str:
        """Give free text for people, whatever is there: without control characters, at most `limit` characters."""
        found = self._value.get(name)
        return printable(found, limit) if isinstance(found, str) else ""

    def time(self, name: str) -> int | None:
        """Give seconds since 1970 of an ISO 8601 time, None where there is none that can be read."""
        try:
            found = datetime.fromisoformat(self.shown(name, 40))
            return max(0, int(found.timestamp())) if found.tzinfo is not None else None
        except (ValueError, OverflowError):
            return None

    def _bad(self, name: str, wanted: str) -> BadPayloadError:
        return BadPayloadError(f"expected {self._place}{name} as {wanted}")


def printable(text: str, limit: int) -> str:
    """Give a stranger's text with signs that steer a terminal or turn lines around replaced; line ends stay."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text[:limit])
