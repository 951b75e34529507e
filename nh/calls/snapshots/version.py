"""The version of the snapshot format, for processes that hand snapshots on without reading them."""

from typing import Final

VERSION: Final = 4
"""Written by this nh. A field that is added at the end of a struct, with a default, does not change it."""

READABLE: Final = (3, 4)
"""Versions that this nh reads."""

SECRETS: Final = 0x80
"""In the first byte of a snapshot, beside the version: it has secrets (nh.calls.snapshots.secrets)."""


def has_secrets(snapshot: bytes) -> bool:
    """Whether the bytes of a snapshot have secrets, without reading it."""
    return bool(snapshot) and bool(snapshot[0] & SECRETS)
