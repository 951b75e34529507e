"""Candidates: how the relay's addresses are ranked, and named (RFC 8445 5.1)."""

import zlib
from typing import Final

HOST_PREFERENCE: Final = 126
"""The type preference of host candidates; a relay with ICE-lite has no others (RFC 8445 5.1.2.2)."""

MAX_LOCAL_PREFERENCE: Final = 65535

RELAY_PREFERENCE: Final = 0
"""The type preference of relayed candidates (RFC 8445 5.1.2.2)."""


def priority(
    component: int,
    local_preference: int = MAX_LOCAL_PREFERENCE,
    *,
    type_preference: int = HOST_PREFERENCE,
) -> int:
    """The priority of a candidate (RFC 8445 5.1.2.1).

    Args:
        component: 1 for RTP, 2 for RTCP.
        local_preference: 0 to 65535, another one for each address.
        type_preference: 0 to 126.
    """
    return (type_preference << 24) + (local_preference << 8) + 256 - component


def foundation(address: str) -> str:
    """The foundation of the host candidates of one address: 1 to 32 letters and digits."""
    return f"nh{zlib.crc32(address.encode()):08x}"
