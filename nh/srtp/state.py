"""What a successor needs to go on with a key. It is no secret; the key is."""

from typing import Annotated, Final

import msgspec

from nh.srtp.renumbering import MAX_OFFSET
from nh.srtp.window import MAX_INDEX, WINDOW_PACKETS

MAX_STREAMS: Final = 256
"""Most SSRCs of one key, of RTP and of RTCP each."""

MAX_RTCP_INDEX: Final = 2**31 - 1

SEEN_BYTES: Final = WINDOW_PACKETS // 8

_MAX_SSRC: Final = 2**32 - 1


class SrtpStreamState(msgspec.Struct, frozen=True, array_like=True):
    """A PacketWindow.

    Attributes:
        ssrc: of the stream.
        highest: highest index; -1: none.
        seen: 128 bits, big-endian; the last bit is for `highest`.
        offset: of SrtpSender; 0: the source has not begun again.
    """

    ssrc: Annotated[int, msgspec.Meta(ge=0, le=_MAX_SSRC)]
    highest: Annotated[int, msgspec.Meta(ge=-1, le=MAX_INDEX)]
    seen: Annotated[bytes, msgspec.Meta(min_length=SEEN_BYTES, max_length=SEEN_BYTES)]
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_OFFSET)] = 0


Streams = Annotated[list[SrtpStreamState], msgspec.Meta(max_length=MAX_STREAMS)]


class DirectionState(msgspec.Struct, frozen=True, array_like=True):
    """What a successor needs beside the key. It is no secret.

    Attributes:
        rtp: the streams of RTP.
        rtcp: those of RTCP.
        rtcp_index: the index of the next packet of RTCP that is sent.
        former: the streams of RTP of the key before, which the end may go on with: see SrtpReceiver.
    """

    rtp: Streams
    rtcp: Streams
    rtcp_index: Annotated[int, msgspec.Meta(ge=0, le=MAX_RTCP_INDEX + 1)] = 0
    former: Streams = []
