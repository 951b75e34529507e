"""The version of the snapshot format, for processes that hand snapshots on without reading them."""

from typing import Final

VERSION: Final = 3
"""Written by this nh. A field that is added at the end of a struct, with a default, does not change it."""

READABLE: Final = (3,)
"""Versions that this nh reads."""
