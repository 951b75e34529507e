"""Media ports of a relay that has a network namespace to itself."""

from typing import Final

PORTS_PER_CALL: Final = 4
SPARE: Final = 1.5
"""Shards have ports for so many times their share: call-ids are not dealt out evenly."""

FIRST_PORT: Final = 20_000


def ports_for(calls: int) -> range:
    """Ports for so many calls with one medium, as far as there are any."""
    return range(FIRST_PORT, min(65_536, FIRST_PORT + round(calls * PORTS_PER_CALL * SPARE)))
