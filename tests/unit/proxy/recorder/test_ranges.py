"""One range is served as a part, everything else as the whole."""

from __future__ import annotations

import pytest

from hermit_proxy.recorder.ranges import window_of
from hermit_proxy.recorder.tee import Window


@pytest.mark.parametrize(
    ("header", "window"),
    [
        ("bytes=0-0", Window(0, 1)),
        ("bytes=2-", Window(2, 10)),
        ("bytes=-3", Window(7, 10)),
        ("bytes=-30", Window(0, 10)),
        ("bytes=8-99", Window(8, 10)),
        ("BYTES=1-2", Window(1, 3)),
        ("bytes = 1-2", Window(1, 3)),
        ("bytes= -2", Window(8, 10)),
        (None, None),
        ("bytes=0-1,3-4", None),
        ("bytes=10-", None),
        ("bytes=5-2", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("lines=0-1", None),
        ("bytes=0-1x", None),
    ],
)
def test_the_window_of_a_body_of_ten_bytes(header: str | None, window: Window | None) -> None:
    assert window_of(header, 10) == window
