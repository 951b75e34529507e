"""What rules look at, and what they say."""

import enum
from collections.abc import Callable
from typing import Final, NamedTuple

from nh.calls.media_state import SILENT_S
from nh.ip_address import split_host_port
from nh.printable import counted, show_text
from nh.results import LegDetail, StreamDetail

LOSSY: Final = 0.03
"""Audio suffers when more of its packets are missing (loss without concealment, ITU-T G.113)."""

MANY: Final = 0.01
"""Packets that were lost inside the relay are a problem when they are more than this part."""

EARLY: Final = 250
"""So many packets of speech an end sends in SILENT_S, which the other end has to get ready."""

LARGE_BYTES: Final = 1000
"""Packets with so many bytes of UDP may be too large for a link with tunnels, such as a VPN."""


class State(enum.StrEnum):
    """OK; WAITING: no media are expected now (no answer, hold); PROBLEM: an end hears nothing, or badly."""

    OK = "ok"
    WAITING = "waiting"
    PROBLEM = "problem"


class Ruling(NamedTuple):
    """What a rule says of a direction.

    Attributes:
        state: see State.
        found: what is so, one line.
        cause: the likely cause; "" if all is well.
        remedy: what to do; "" if all is well.
    """

    state: State
    found: str
    cause: str = ""
    remedy: str = ""


class Direction(NamedTuple):
    """The way of media through the relay.

    Attributes:
        state: of the session (nh.results.SessionDetail).
        leg: receives from the sender.
        other: receives from the receiver; the relay sends the sender's media to where its packets come from,
            or else to what that end announced.
        rtcp: receives the sender's RTCP, where that has a port of its own; None: it has none.
        age_s: for how long both ends have been known, in seconds; None: the session has ended.
        carried_by: see nh.results.SessionDetail.
    """

    state: str
    leg: LegDetail
    other: LegDetail
    rtcp: LegDetail | None = None
    age_s: float | None = None
    carried_by: int | None = None

    @property
    def target(self) -> str | None:
        """Where the sender's media go; None if the receiver has no address yet."""
        return self.other.source or self.other.announced

    @property
    def begins(self) -> bool:
        """Whether the answer is so young that the media may still begin, as in the list of calls."""
        return self.age_s is not None and self.age_s < SILENT_S

    @property
    def silent(self) -> bool:
        """Whether no media came from the sender for SILENT_S, or ever."""
        return self.packets_without_rtp > 0 or self.leg.idle_s is None or self.leg.idle_s >= SILENT_S

    @property
    def packets_without_rtp(self) -> int:
        """How many packets came to the port of RTP where none of them is RTP; 0 where one is."""
        if self.leg.streams or (self.leg.packets and not self.leg.allowed):
            return 0
        muxed = self.rtcp.packets if self.rtcp is not None and self.rtcp.muxed else 0
        return self.leg.packets + muxed

    @property
    def largest_stream(self) -> StreamDetail | None:
        """The sender's RTP stream with the most packets."""
        return max(self.leg.streams, key=lambda stream: stream.packets, default=None)

    @property
    def mean_bytes(self) -> int:
        """How large the sender's packets are on average, bytes of UDP."""
        return self.leg.bytes // self.leg.packets if self.leg.packets else 0

    def dropped(self, reason: str) -> int:
        """How many of the sender's packets were dropped for a reason of nh.calls.drop.Drop."""
        return self.leg.dropped.get(reason, 0)

    def lost_to(self, reason: str) -> bool:
        """Whether more than MANY of what came was dropped for this reason."""
        return self.dropped(reason) > MANY * (self.leg.packets + self.dropped(reason))

    def lost_unready(self, reason: str) -> bool:
        """The same for a reason that holds until the receiver is ready: what came before is no problem.

        An end that sends has an address and keys. Phones send from their answer on, and ICE and DTLS of a
        browser take a moment more.
        """
        early = self.other.source is not None and self.dropped(reason) <= EARLY
        return self.lost_to(reason) and not early


Rule = Callable[[Direction], Ruling | None]
"""Looks at one direction; None if it does not apply."""


# --- words ----------------------------------------------------------------------------------------


def received(leg: LegDetail) -> str:
    """What came, for a sentence."""
    return f"{packets(leg.packets)} {came(leg)}" if leg.packets else "no packet came"


def came(leg: LegDetail) -> str:
    """From where packets came; RTCP alone makes no source of a port of RTP."""
    return "came" if leg.source is None else f"came from {leg.source}"


def ago(direction: Direction, span_s: float) -> str:
    """When something was, a span of seconds ago; of a session that has ended, before its end."""
    return f"{span_s:.0f} s ago" if direction.age_s is not None else f"{span_s:.0f} s before the end"


def so_far(direction: Direction) -> str:
    """Of what has not happened yet, while the media may still begin."""
    return f"yet, {direction.age_s:.0f} s after the answer"


def packets(number: int) -> str:
    """So many packets."""
    return counted(number, "packet")


def port_of(endpoint: str) -> str:
    """The port of ADDRESS:PORT."""
    return show_text(split_host_port(endpoint)[1])


def host_of(endpoint: str) -> str:
    """The address of ADDRESS:PORT."""
    return split_host_port(endpoint)[0]
