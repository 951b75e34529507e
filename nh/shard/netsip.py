"""Transactions: what Net::SIP's helper does, carried out on the calls (Net::SIP::NATHelper::Base)."""

import time
from collections.abc import Sequence
from typing import Final

from nh.calls.media import Media, RelayMedia, Side
from nh.calls.session_info import SessionInfo
from nh.calls.table import CallTable
from nh.commands import Activate, Allocate, Close, CloseCall, TransactionKey
from nh.errors import MalformedRequest
from nh.ip_address import canonical_address
from nh.results import Activated, Allocated, Closed, RelayResult

_NO_PARAM: Final = {"uri_from": "", "uri_to": ""}


class Transactions:
    """The transactions of one relay.

    Args:
        table: the calls.
    """

    def __init__(self, table: CallTable) -> None:
        self._table = table

    def execute(self, command: Allocate | Activate | Close | CloseCall) -> RelayResult:
        """Carry out a command.

        Raises:
            Refused, ProtocolError: see the methods below.
        """
        match command:
            case Allocate():
                return Allocated(self.allocate(command.key, command.side, command.address, command.media))
            case Activate():
                return Activated(self.activate(command.key, command.param))
            case Close():
                return Closed(len(self.close(command.key)))
            case CloseCall():
                return Closed(len(self.close_call(command.call_id)))

    def allocate(
        self, key: TransactionKey, side: Side, address: str, media: Sequence[Media]
    ) -> tuple[RelayMedia, ...]:
        """The relay's ports for the media of one SDP.

        Args:
            key: call, transaction and ends; its cseq must not be None.
            side: the end that sent the SDP.
            address: the local IP address to listen on.
            media: the media that the SDP announced.

        Returns:
            The relay's address and ports, one entry a medium.

        Raises:
            MalformedRequest, Draining, LimitReached, StaleTransaction, PortsExhausted, AddressUnavailable:
                then nothing is allocated.
        """
        if key.cseq is None:
            raise MalformedRequest("allocate: cseq is missing")
        return self._table.allocate(
            call_id=key.call_id,
            id_from=key.id_from,
            id_to=key.id_to,
            cseq=key.cseq,
            side=side,
            address=canonical_address(address, where="allocate: address"),
            media=tuple(media),
            now=time.monotonic(),
        )

    def activate(self, key: TransactionKey, param: dict[str, str] | None = None) -> bool:
        """Relay between the two ends.

        Args:
            key: call, transaction and ends; its cseq must not be None.
            param: handed back in the session information, with uri_from and uri_to.

        Returns:
            Whether the session is new; False: it was active already.

        Raises:
            MalformedRequest, UnknownCall, NotAllocated, StaleTransaction, SocketCountMismatch.
        """
        if key.cseq is None:
            raise MalformedRequest("activate: cseq is missing")
        return self._table.activate(
            call_id=key.call_id,
            id_from=key.id_from,
            id_to=key.id_to,
            cseq=key.cseq,
            param=_param(key, param or {}),
            now=time.monotonic(),
        )

    def close(self, key: TransactionKey) -> list[SessionInfo]:
        """End the transaction's session, or with cseq None or 0 every session between the two ends.

        Returns:
            The sessions that ended.

        Raises:
            UnknownCall: no call has this call-id.
        """
        return self._table.close(
            call_id=key.call_id,
            id_from=key.id_from,
            id_to=key.id_to,
            cseq=key.cseq,
            now=time.monotonic(),
        )

    def close_call(self, call_id: bytes) -> list[SessionInfo]:
        """End everything under a call-id.

        Returns:
            The sessions that ended.

        Raises:
            UnknownCall: no call has this call-id.
        """
        return self._table.close_call(call_id, now=time.monotonic())


def _param(key: TransactionKey, param: dict[str, str]) -> dict[str, str]:
    """The data of the proxy for the session information; most clients give none, and sessions share that."""
    if not (key.uri_from or key.uri_to or param):
        return _NO_PARAM
    uris = {"uri_from": key.uri_from, "uri_to": key.uri_to}
    return {name: uri.decode("utf-8", "backslashreplace") for name, uri in uris.items()} | param
