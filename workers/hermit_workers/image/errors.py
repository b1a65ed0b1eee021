"""Names the one way in which images fail by themselves, apart from mistakes in recipes and locks."""

from __future__ import annotations

from hermit_proxy.errors import HermitError


class ImageError(HermitError):
    """Is raised where an image cannot be made, kept or read."""
