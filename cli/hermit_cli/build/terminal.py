"""Makes what a build prints fit for a terminal: nothing of it moves the cursor, sets a title or reaches a clipboard."""

# ECMA-48 says how control sequences are written; what terminals make of them beyond that is xterm's ctlseqs.

from __future__ import annotations

import codecs
import re

_LONGEST_STRING = 4096
_LONGEST_SEQUENCE = 64
_COLOUR = r"(?:0?[0-47]|9|2[1-57-9]|[34][0-79]|9[0-7]|10[0-7]|[34]8;5;\d{1,3}|[34]8;2;\d{1,3};\d{1,3};\d{1,3})?"
_COLOURS = re.compile(rf"\x1b\[{_COLOUR}(?:;{_COLOUR})*m")
_SEQUENCE = (
    rf"\x1b\[[0-?]{{0,{_LONGEST_SEQUENCE}}}[ -/]{{0,4}}[@-~]"  # control sequences: colours, cursor, scrolling, erasing
    # Strings for the terminal itself: titles, clipboard, downloads. They end with the line, and none hides the rest.
    rf"|\x1b[\]PX^_][^\x07\x1b\n\r]{{0,{_LONGEST_STRING}}}(?:\x07|\x1b\\|(?=[\x1b\n\r])|\Z)"
    r"|\x1b[ -/]{0,4}[0-Z\\`-~]"  # reset, character sets, keypad
)
# The rest of the control characters, the C1 forms of the same sequences, and what turns the order of letters around.
_OTHER = r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\x1b|[\x80-\x9f\u202a-\u202e\u2066-\u2069]"
_UNFIT = re.compile(rf"{_SEQUENCE}|{_OTHER}|\r\n?")
# What may yet become a sequence when more of it has come.
_OPEN = re.compile(
    rf"\x1b(?:\[[0-?]{{0,{_LONGEST_SEQUENCE}}}[ -/]{{0,4}}"
    rf"|[\]PX^_][^\x07\x1b\n\r]{{0,{_LONGEST_STRING}}}|[ -/]{{0,4}})?\Z|\r\Z"
)
_PLAIN_END = "\x1b[0m"
_REWRITE = "\r\x1b[K"


class Cleaner:
    """Turns octets of a build, in whatever pieces they come, into text that is only text.

    `colours` keeps the sequences that set colours; `rewrites` keeps a lone carriage return as one that erases its own
    row, which progress bars need, else it is the end of a line.
    """

    def __init__(self, *, colours: bool = False, rewrites: bool = False) -> None:
        """Take what the reader can show."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._colours = colours
        self._rewrites = rewrites
        self._open = ""

    def feed(self, octets: bytes) -> str:
        """Give the text of what is complete; the beginning of a sequence waits for the rest of it."""
        text = self._open + self._decoder.decode(octets)
        found = _OPEN.search(text, max(0, len(text) - _LONGEST_STRING - 2))
        cut = found.start() if found else len(text)
        self._open = text[cut:]
        return _UNFIT.sub(self._fit, text[:cut])

    def end(self) -> str:
        """Give what waited in vain."""
        text, self._open = self._open + self._decoder.decode(b"", final=True), ""
        return _UNFIT.sub(self._fit, text)

    def _fit(self, found: re.Match[str]) -> str:
        what = found.group()
        if what[0] == "\r":
            return "\n" if what[-1] == "\n" or not self._rewrites else _REWRITE
        if what[0] == "\x1b":
            return what if self._colours and _COLOURS.fullmatch(what) else ""
        return "\ufffd" if what > "\x7f" else ""


class Indented:
    """Puts what a build prints under its heading: each line begins with two spaces, none where Hermit's own begin."""

    def __init__(self, margin: str = "  ", *, colours: bool = False) -> None:
        """Take the margin; `colours` ends a line's colours with the line."""
        self._margin = margin
        self._end = _PLAIN_END if colours else ""
        self._fresh = True

    def feed(self, text: str) -> str:
        """Give the text with its margins."""
        if not text:
            return ""
        text = text.replace("\n", f"{self._end}\n{self._margin}").replace(_REWRITE, f"{_REWRITE}{self._margin}")
        start = self._margin if self._fresh else ""
        # The margin of the next line is written with the line: what follows may be Hermit's.
        self._fresh = text.endswith(f"\n{self._margin}")
        return start + (text.removesuffix(self._margin) if self._fresh else text)

    def end(self) -> str:
        """Give what ends an unfinished line."""
        if self._fresh:
            return ""
        self._fresh = True
        return f"{self._end}\n"
