"""What arrives of the media of a call, as a word that all rooms know (nh.calls.media_arrival decides it)."""

import enum
from typing import Final

SILENT_S: Final = 5.0
"""A direction without a packet for so long is silent; an RTP stream has pauses that are shorter."""


class MediaState(enum.StrEnum):
    """What arrives of the media of a call.

    WAITING: no session joins two ends yet, or the media have had less than SILENT_S to begin.
    HOLD: no medium is wanted by both ends, and no music is played.
    FLOWING: media arrive from every end whose peer wants to receive them.
    ONE_WAY: media of one end arrive, and those of the other do not.
    SILENT: no media arrive.
    """

    WAITING = "waiting"
    HOLD = "hold"
    FLOWING = "flowing"
    ONE_WAY = "one-way"
    SILENT = "silent"
