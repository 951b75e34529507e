"""Net::SIP's commands, which the native protocol has too."""

import msgspec

from nh.calls.media import Media, Side
from nh.commands.base import BaseCommand, ResultT_co
from nh.results import (
    Activated,
    Allocated,
    Closed,
)

MAX_CSEQ = 2**32 - 1
"""Highest CSeq number (RFC 3261 section 8.1.1.5 allows less than 2**31; Net::SIP passes on what it reads)."""


class TransactionKey(msgspec.Struct, frozen=True):
    """Net::SIP's nat_basic: the call, the transaction and the two ends that a command is about.

    Attributes:
        call_id: the SIP Call-ID, 1 to MAX_ID_BYTES bytes.
        cseq: CSeq number, 0 to MAX_CSEQ; None in a Close that ends all sessions between the two ends.
        id_from: the end that sent the transaction's request, at most MAX_ID_BYTES bytes.
        id_to: the end that received the request; b"" while it is unknown.
        uri_from, uri_to: URIs of the two ends, for information only.
    """

    call_id: bytes
    cseq: int | None
    id_from: bytes
    id_to: bytes = b""
    uri_from: bytes = b""
    uri_to: bytes = b""


class _KeyedCommand(BaseCommand[ResultT_co], frozen=True):
    key: TransactionKey

    @property
    def call_id(self) -> bytes:
        """The call that the command is about."""
        return self.key.call_id


class Allocate(_KeyedCommand[Allocated], frozen=True, tag="allocate"):
    """Allocate relay ports for the media of one SDP.

    Attributes:
        key: call, transaction and ends; its cseq is a number.
        side: the end that sent the SDP.
        address: IP address on which the relay listens.
        media: one entry for each medium, in the order of the SDP.
    """

    side: Side
    address: str
    media: tuple[Media, ...]


class Activate(_KeyedCommand[Activated], frozen=True, tag="activate"):
    """Start to relay between the two ends; `param` is returned in the session information."""

    param: dict[str, str] = msgspec.field(default_factory=dict)


class Close(_KeyedCommand[Closed], frozen=True, tag="close"):
    """End one transaction's session; with a cseq of 0 or None, every session between the two ends."""


class CloseCall(BaseCommand[Closed], frozen=True, tag="close_call"):
    """End everything under a call-id, whatever its transactions and ends."""

    call_id: bytes
