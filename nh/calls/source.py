"""Source policy: whose packets a leg takes, and when it latches onto a source (RFC 7362).

Every socket of a direction decides for itself, RTCP too. A packet's source is ranked against the
announced endpoint: the announced address and port, then the same IP, then the IP that the signalling came
from, then the same port, then any.
The module decides; nh.shard.media.forwarding carries it out. No I/O, no clocks: `now` comes in.
"""

import enum

from nh.calls.media import Endpoint


class SourcePolicy(enum.StrEnum):
    """Who may become the source of a leg.

    HEURISTIC: the first that comes, but a better-ranked source takes over for a window after activation;
        an exact match latches at once, any other when the window ends.
    FIRST: the first that comes, for good.
    ANNOUNCED: the first from the announced IP, whatever its port, for good.
    STRICT: the announced address and port only.
    HANDOVER: whoever sent last, at any time (ng's media-handover).
    ASYMMETRIC: everybody; packets for that end go where it announced, whoever sends (ng's asymmetric).
    """

    HEURISTIC = "heuristic"
    FIRST = "first"
    ANNOUNCED = "announced"
    STRICT = "strict"
    HANDOVER = "handover"
    ASYMMETRIC = "asymmetric"


class Rank(enum.IntEnum):
    """How well a source matches what its SDP announced."""

    ANY = 1
    SAME_PORT = 2
    SIGNALLED_FROM = 3
    SAME_IP = 4
    EXACT = 5


def rank(source: Endpoint, announced: Endpoint | None, signalled_from: str = "") -> Rank:
    """How well `source` matches what is known of the end that should send.

    Arguments:
        source: where a packet came from.
        announced: where that end's SDP says it receives, None if it says nothing usable.
        signalled_from: the IP address that its SIP message came from, "" if that is not known. A phone
            behind a NAT announces a private address, but its media come from there.
    """
    if announced is not None and source.address == announced.address:
        return Rank.EXACT if source.port == announced.port else Rank.SAME_IP
    if source.address == signalled_from:
        return Rank.SIGNALLED_FROM
    return Rank.SAME_PORT if announced is not None and source.port == announced.port else Rank.ANY
