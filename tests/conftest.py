"""Gives every test a world of its own: a folder to stand in, a user's settings that are empty, one reactor."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from twisted.internet import asyncioreactor

# Before anything imports twisted.internet.reactor, which would choose another one for good.
asyncioreactor.install()

# Started by nohup(1) the tests would hand the ignored signal on, and Hermit leaves ignored what it finds ignored.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL if _number != signal.SIGINT else signal.default_int_handler)

# How many inputs each property is tried with; script/test --all says `long` (docs/fuzzing.md).
settings.register_profile("ci", deadline=None)
settings.register_profile("long", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HERMIT_TEST_PROFILE", "ci"))

# The settings of whoever runs the tests must change no result; where a tool finds its registry and trust stays.
_OWN_FOLDERS = {
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "XDG_RUNTIME_DIR": "runtime",
    "XDG_STATE_HOME": "state",
}
_OWN_VALUES = {
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


@pytest.fixture(autouse=True)
def own_world(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the test's own folder, with the user's folders and git's settings empty and elsewhere."""
    monkeypatch.chdir(tmp_path)
    user = tmp_path_factory.mktemp("user")
    for variable, name in _OWN_FOLDERS.items():
        (user / name).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(user / name))
    for variable, value in _OWN_VALUES.items():
        monkeypatch.setenv(variable, value)
