"""Sources: the policies for who may send, and how well a source matches what its end announced.

The rules that follow from them are in nh.calls.latching.rules. Pure values.
"""

import enum

from nh.calls.media import Endpoint


class SourcePolicy(enum.StrEnum):
    """Which source a leg admits. Each socket decides by itself, RTCP too.

    HEURISTIC: the first source; until the window after activation ends, a source of a higher rank takes over.
        An exact match latches at once, any other when the window ends.
    LEARNED: as HEURISTIC until the leg latches, then that source for good, even if its stream goes on from
        elsewhere (strict-source of ng).
    FIRST: the first source, for good.
    DELAYED: the first source after the window, for good; until then every source, and packets for that end go
        to the endpoint that it announced (endpoint-learning=delayed of ng).
    ANNOUNCED: the first source with the announced IP address, for good.
    STRICT: the announced address and port only.
    HANDOVER: the latest source, at any time (media-handover of ng).
    ASYMMETRIC: every source; packets for that end go to the endpoint that it announced (asymmetric of ng).
    """

    HEURISTIC = "heuristic"
    LEARNED = "learned"
    FIRST = "first"
    DELAYED = "delayed"
    ANNOUNCED = "announced"
    STRICT = "strict"
    HANDOVER = "handover"
    ASYMMETRIC = "asymmetric"


class Rank(enum.IntEnum):
    """How well a source matches what its end announced, in ascending order.

    ANY: nothing matches.
    SAME_PORT: the announced port.
    SIGNALLED_FROM: the IP address that the signalling came from.
    SAME_IP: the announced IP address.
    EXACT: the announced address and port.
    """

    ANY = 1
    SAME_PORT = 2
    SIGNALLED_FROM = 3
    SAME_IP = 4
    EXACT = 5


def rank(source: Endpoint, announced: Endpoint | None, signalled_from: str = "") -> Rank:
    """The rank of a source.

    Args:
        source: where a packet came from.
        announced: where the SDP of that end says that it receives, None if it says nothing usable.
        signalled_from: IP address that its SIP message came from, "" if unknown. A phone behind a NAT
            announces a private address, and its media come from this one.
    """
    if announced is not None and source.address == announced.address:
        return Rank.EXACT if source.port == announced.port else Rank.SAME_IP
    if source.address == signalled_from:
        return Rank.SIGNALLED_FROM
    return Rank.SAME_PORT if announced is not None and source.port == announced.port else Rank.ANY
