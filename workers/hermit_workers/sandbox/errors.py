"""Names the one way in which a sandbox cell fails by itself, apart from how its commands end."""

from __future__ import annotations

from hermit_proxy.errors import HermitError


class CellError(HermitError):
    """Is raised where this machine makes no cell, or where a cell has gone that should be there."""
