"""Names what a server and its connections ask of each other, so that neither has to know the other's insides."""

from __future__ import annotations

from typing import Protocol


class Member(Protocol):
    """Is a connection as the one sees it that keeps all of them within bounds.

    `deadline` and `idle_since` are times of the event loop's clock: when it is to be expired, and since when nothing
    was answered.
    """

    deadline: float
    idle_since: float

    @property
    def busy(self) -> bool:
        """Tell whether a request is being read or answered, or the end of an answer is still here."""
        ...

    @property
    def idle(self) -> bool:
        """Tell whether nothing would be lost by closing."""
        ...

    def expire(self) -> None:
        """End what has taken longer than it may."""
        ...

    def abort(self) -> None:
        """Hang up at once."""
        ...


class Hub(Protocol):
    """Keeps the connections of one process within bounds."""

    def opened(self, connection: Member) -> bool:
        """Take a new connection; tell whether there is room for it."""
        ...

    def closed(self, connection: Member) -> None:
        """Forget a connection."""
        ...
