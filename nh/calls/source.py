"""Source policy: whose packets a leg takes, and when the matter is settled.

Every socket of a direction decides for itself, RTCP too. A packet's source is ranked against the
announced endpoint: the announced address and port, then the same IP, then the same port, then any.
The module decides; nh.shard.forwarding carries it out. No I/O, no clocks: `now` comes in.
"""

import enum

from nh.calls.media import Endpoint


class SourcePolicy(enum.StrEnum):
    """Who may become the source of a leg.

    HEURISTIC: the first that comes, but a better-ranked source takes over for a window after activation;
        an exact match settles at once, the end of the window settles the rest.
    FIRST: the first that comes, for good.
    ANNOUNCED: the first from the announced IP, whatever its port, for good.
    STRICT: the announced address and port only.
    """

    HEURISTIC = "heuristic"
    FIRST = "first"
    ANNOUNCED = "announced"
    STRICT = "strict"


class Rank(enum.IntEnum):
    """How well a source matches what its SDP announced."""

    ANY = 1
    SAME_PORT = 2
    SAME_IP = 3
    EXACT = 4


def rank(source: Endpoint, announced: Endpoint | None) -> Rank:
    """How well `source` matches `announced`; ANY where nothing was announced."""
    if announced is None:
        return Rank.ANY
    if source.address == announced.address:
        return Rank.EXACT if source.port == announced.port else Rank.SAME_IP
    return Rank.SAME_PORT if source.port == announced.port else Rank.ANY
