"""Reads JSON of bounded depth, without the liberties that Python's reader takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 32
# A string that does not end takes the rest in one step, or a text of quotes would cost its square.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


class BadJsonError(ValueError):
    """Is raised for what is not read; the message is of ours."""


def read_object(body: bytes) -> Mapping[str, Any]:
    """Read an object; raise BadJsonError for anything else, and before parsing for what is too deep.

    Refused besides: other encodings than UTF-8, a key twice, NaN and infinities, numbers of thousands of digits.
    """
    _check_depth(body)
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except BadJsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise BadJsonError("the body is not JSON in UTF-8") from error
    if not isinstance(found, dict):
        raise BadJsonError("the body is no JSON object")
    return found


def _check_depth(body: bytes) -> None:
    depth = 0
    for found in _TOKEN.finditer(body):
        sign = found.group()[:1]
        if sign in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJsonError(f"the body is nested deeper than {MAX_DEPTH} levels")
        elif sign in b"]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJsonError("the body has a key twice in one object")
    return found


def _constant(_name: str) -> Any:
    raise BadJsonError("the body has a number that JSON does not know")
