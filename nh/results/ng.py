"""The results of ng's commands."""

import msgspec

from nh.results.calls import StreamDetail, StreamQuality


class Rewritten(msgspec.Struct, frozen=True, tag="rewritten"):
    """An SDP with the relay's addresses and ports.

    Attributes:
        warning: for the client; "" for none.
        left_out: what was left out that fails a command otherwise; "" for nothing.
    """

    sdp: bytes
    warning: str = ""
    left_out: str = ""


class StreamReading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The packets received on one relay port, in a query.

    Attributes:
        local_port: 0 for packets of ports that are closed.
        component: 1 for RTP, 2 for RTCP (RFC 8839 section 5.1).
        last_packet: wall-clock seconds.
        rtp: the RTP streams among the packets.
        refused: packets whose source does not belong to the call; they are among the errors.
        refused_from: the source of the latest one.
        ssrc: of the stream whose packets arrived last; None: no RTP.
        heard: the RTP stream of the other end, which this end is sent; None: there is none.
        heard_course: how its quality changed: intervals at equal distances.
        local_address: the relay's, "" for ports that are closed.
        suite: of the SRTP that the end sends to the relay; "": none, or none of the relay's.
        flags: how it is received, in rtpengine's words.
    """

    local_port: int
    component: int
    announced: str | None
    source: str | None
    packets: int
    bytes: int
    errors: int
    last_packet: int
    rtp: tuple[StreamDetail, ...] = ()
    refused: int = 0
    refused_from: str | None = None
    ssrc: int | None = None
    heard: StreamDetail | None = None
    heard_course: tuple[StreamQuality, ...] = ()
    local_address: str = ""
    suite: str = ""
    flags: tuple[str, ...] = ()

    def without_course(self) -> "StreamReading":
        """The same without `heard_course`."""
        return msgspec.structs.replace(self, heard_course=())


class MediumReading(msgspec.Struct, frozen=True, gc=False):
    """One medium of one end, in a query.

    Attributes:
        flags: what the end and the relay have agreed on, in rtpengine's words.
        codec: what the end sends, such as PCMU/8000, "" if it is not known.
    """

    index: int
    kind: str
    proto: str
    streams: tuple[StreamReading, ...]
    flags: tuple[str, ...] = ()
    codec: str = ""


class TagReading(msgspec.Struct, frozen=True, gc=False):
    """One end of a call, in a query.

    Attributes:
        dialogs_with: the tags of all ends that it has a dialog with, in_dialogue_with the first.
        branch: the Via branch of the offer that it answered, b"" if unknown.
    """

    tag: bytes
    label: str
    created: int
    in_dialogue_with: bytes
    media: tuple[MediumReading, ...]
    dialogs_with: tuple[bytes, ...] = ()
    branch: bytes = b""


class StreamTotals(msgspec.Struct, frozen=True, gc=False):
    """The packets received on several ports together."""

    packets: int = 0
    bytes: int = 0
    errors: int = 0


class Queried(msgspec.Struct, frozen=True, tag="queried"):
    """A call in the reply to query or delete.

    Attributes:
        created, last_signal: wall-clock seconds.
        tags: the ends of the call.
        rtp, rtcp: the totals of all streams of `tags`.
        created_us: microseconds of the second in which it was created.
        complete: False if `tags` were left out, as the reply would be too long with them.
    """

    created: int
    last_signal: int
    tags: tuple[TagReading, ...]
    rtp: StreamTotals
    rtcp: StreamTotals
    complete: bool = True
    created_us: int = 0

    def without_courses(self) -> "Queried":
        """The same call without how the quality of its streams changed."""
        replace = msgspec.structs.replace
        tags = tuple(
            replace(
                tag,
                media=tuple(
                    replace(medium, streams=tuple(stream.without_course() for stream in medium.streams))
                    for medium in tag.media
                ),
            )
            for tag in self.tags
        )
        return replace(self, tags=tags)

    def without_details(self) -> "Queried":
        """The same call with its totals only."""
        return msgspec.structs.replace(self, tags=(), complete=False)


class Blocked(msgspec.Struct, frozen=True, tag="blocked"):
    """The media, or their DTMF events, are blocked or unblocked."""


class LeftOut(msgspec.Struct, frozen=True, tag="left_out"):
    """The command asked for what nh does not do, and the settings say to reply as if it had been done."""
