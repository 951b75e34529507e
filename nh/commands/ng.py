"""ng's commands; names are those of rtpengine's documentation of its control protocol."""

from typing import Final

from nh.calls.media import Block
from nh.commands.base import BaseCommand
from nh.commands.offer_options import OfferOptions
from nh.results import Blocked, Queried, Rewritten

MAX_FORWARDED_BYTES: Final = 65_000
"""Longest SDP of an offer or answer as it leaves: what a reply has room for."""


class Offer(BaseCommand[Rewritten], frozen=True, tag="offer"):
    """ng's offer: `from_tag` sent `sdp`; `to_tag` is b"" before the first answer."""

    call_id: bytes
    from_tag: bytes
    to_tag: bytes
    via_branch: bytes
    sdp: bytes
    options: OfferOptions


class Answer(BaseCommand[Rewritten], frozen=True, tag="answer"):
    """ng's answer: `to_tag` sent `sdp`, in answer to the last offer of `from_tag` (RFC 3264)."""

    call_id: bytes
    from_tag: bytes
    to_tag: bytes
    via_branch: bytes
    sdp: bytes
    options: OfferOptions


class Delete(BaseCommand[Queried], frozen=True, tag="delete"):
    """ng's delete: of the whole call without from_tag, else of that end's dialogs.

    Attributes:
        to_tag: the other end; b"" where the client sent none, or none that selects.
        delay_s: seconds until the deletion, 0 to 3600; an offer or answer within that time cancels it.
    """

    call_id: bytes
    from_tag: bytes = b""
    to_tag: bytes = b""
    via_branch: bytes = b""
    delay_s: int = 0


class Query(BaseCommand[Queried], frozen=True, tag="query"):
    """ng's query: state and counters of a call; with from_tag, of that end and its peers."""

    call_id: bytes
    from_tag: bytes = b""


class BlockMedia(BaseCommand[Blocked], frozen=True, tag="block_media"):
    """ng's block media, block DTMF and silence media: of one end if the client names it, else of the call.

    Attributes:
        from_tag: the tag of the end.
        blocked: whether it is blocked from now on.
        what: see nh.calls.media.Block.
        label: the label of the end, which counts before the address and the tag.
        address: a canonical IP address of its SDP, which counts before the tag.
    """

    call_id: bytes
    from_tag: bytes
    blocked: bool
    what: Block = Block.MEDIA
    label: str = ""
    address: str = ""


NgCommand = Offer | Answer | Delete | Query | BlockMedia
"""The commands that only ng has."""
