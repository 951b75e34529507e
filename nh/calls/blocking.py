"""Blocking: what of an end's media is not passed on.

Few calls block anything, so it is one set, which all legs and parties share that are alike.
"""

import functools
from typing import Final

from nh.calls.media import Block

NOTHING_BLOCKED: Final[frozenset[Block]] = frozenset()


class Blockable:
    """What a leg or a party passes on.

    Attributes:
        blocks: what is blocked.
    """

    __slots__ = ()

    blocks: frozenset[Block]

    @property
    def blocked(self) -> bool:
        """Whether nothing is passed on."""
        return bool(self.blocks) and Block.MEDIA in self.blocks

    @property
    def dtmf_blocked(self) -> bool:
        """Whether no DTMF event (RFC 4733) is passed on."""
        return bool(self.blocks) and Block.DTMF in self.blocks

    @property
    def silenced(self) -> bool:
        """Whether sound is passed on as silence."""
        return bool(self.blocks) and Block.SOUND in self.blocks


@functools.cache
def blocks_of(*, blocked: bool, dtmf_blocked: bool, silenced: bool) -> frozenset[Block]:
    """The set for these properties of Blockable, the same object for equal arguments."""
    what = {Block.MEDIA: blocked, Block.DTMF: dtmf_blocked, Block.SOUND: silenced}
    return frozenset(each for each, is_blocked in what.items() if is_blocked)
