"""Clients of the relay, for programs that need relay ports: blocking, with a time limit for each command.

`Client` speaks Net::SIP's protocol, with the methods of Perl's client, to nh or to Perl's server.
`NativeClient` speaks nh's native protocol, has all of its commands, and raises the reason of a refusal. Use
each client in one thread at a time.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar, cast

import msgspec

from nh.address import parse_rpc_address
from nh.calls.media import Media, Side
from nh.command_table import INFO
from nh.commands import Activate, BaseCommand, Close, Extension, TransactionKey
from nh.errors import ERRORS_BY_CODE, MalformedFrame, MalformedRequest, NhError
from nh.results import Failure, Result
from nh.rpc.client_connection import ClientConnection
from nh.wire import native, netsip
from nh.wire.fields import make_allocate, make_param
from nh.wire.framing import MAX_FRAME_BYTES
from nh.wire.netsip.storable import Value

NatBasic = TransactionKey | Sequence[object]
"""A TransactionKey, or Net::SIP's [callid, cseq, idfrom, idto, uri_from, uri_to]; text becomes UTF-8."""

ResultT = TypeVar("ResultT", bound=Result)

_MAX_IN_FLIGHT: Final = 64


class Client:
    """Net::SIP::NATHelper::Client in Python: one connection for each command.

    All methods return None if the server replies undef, which means refused: the protocol has no reasons.
    They raise MalformedRequest for arguments that the protocol cannot carry, Unavailable or CommandTimeout
    if the server cannot be reached or does not reply, MalformedFrame for a reply of another protocol.

    Args:
        address: of the server, see nh.address.parse_rpc_address.
        timeout_s: time limit for one command in seconds, from connecting to the reply.
    """

    def __init__(self, address: str, timeout_s: float = 5.0) -> None:
        self._address = parse_rpc_address(address)
        self._timeout_s = timeout_s

    def allocate_sockets(
        self,
        nat_basic: NatBasic,
        side: Side | int,
        addr: str,
        media: Sequence[Media | Mapping[str, object]],
    ) -> list[tuple[str, int, int]] | None:
        """Allocate relay ports for the media of one SDP.

        Args:
            nat_basic: call, transaction and ends.
            side: 0 for the SDP of the request, 1 for that of the response.
            addr: IP address on which the relay listens.
            media: for each medium a Media, or a mapping with addr and port, and optionally range (default: 2
                for a proto that starts with RTP/, else 1), proto and media (the media type).

        Returns:
            (address, base port, range) for each medium; the port is 0 for inactive media.
        """
        if side not in (0, 1):
            raise MalformedRequest(f"side: {side!r} is neither 0 nor 1")
        command = make_allocate(
            key=_key(nat_basic),
            side=Side(side),
            address=addr,
            media=[
                medium if isinstance(medium, Media) else netsip.read_medium(medium, where=f"media[{index}]")
                for index, medium in enumerate(media)
            ],
        )
        return netsip.read_allocated(self._exchange(netsip.encode_request(command)))

    def activate_session(self, nat_basic: NatBasic, param: Mapping[str, str] | None = None) -> int | None:
        """Start to relay.

        Args:
            nat_basic: call, transaction and ends.
            param: returned in the session information.

        Returns:
            1 if the session was activated now, -1 if it was active before.
        """
        command = Activate(_key(nat_basic), make_param(dict(param or {})))
        return netsip.read_count(self._exchange(netsip.encode_request(command)))

    def close_session(self, nat_basic: NatBasic) -> int | None:
        """End sessions: of one transaction, or with a cseq of None, 0 or "0" all between the two ends.

        Returns:
            The number of sessions that ended.
        """
        return netsip.read_count(self._exchange(netsip.encode_request(Close(_key(nat_basic)))))

    def rpc(self, name: str, *arguments: object) -> Value:
        """Execute any command by name, such as one that a program added to its nh.server.Server.

        Args:
            name: the command's name.
            arguments: plain values.

        Returns:
            The reply: strings are bytes, or str if they have Perl's UTF-8 flag.
        """
        try:
            payload = netsip.encode_request(Extension(name, arguments))
        except (TypeError, ValueError) as exc:
            raise MalformedRequest(f"{name}: {exc}") from exc
        return self._exchange(payload)

    def _exchange(self, payload: bytes) -> Value:
        _check_size(payload)
        deadline = time.monotonic() + self._timeout_s
        connection = ClientConnection(self._address, deadline=deadline, max_reply_bytes=MAX_FRAME_BYTES)
        with contextlib.closing(connection):
            connection.send(payload, deadline=deadline)
            return netsip.decode_reply(connection.receive(deadline=deadline))


class NativeClient:
    """The native protocol on one connection, which is opened when needed, and again after a failure.

    A context manager; close() ends the connection.

    Args:
        address: of the server, see nh.address.parse_rpc_address.
        timeout_s: time limit for one request in seconds, connecting included.
    """

    def __init__(self, address: str, timeout_s: float = 5.0) -> None:
        self._address = parse_rpc_address(address)
        self._timeout_s = timeout_s
        self._connection: ClientConnection | None = None
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. No effect without one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def request(self, command: BaseCommand[ResultT]) -> ResultT:
        """Execute one command.

        Args:
            command: one that the native protocol has (docs/reference/protocol.md), or an Extension.

        Returns:
            Its result.

        Raises:
            Refused, MalformedRequest, UnknownCommand, Unavailable, CommandTimeout, NhError: the error whose
                code the server answered; NhError stands for "internal".
            Unavailable, CommandTimeout: the server cannot be reached, or does not answer in time.
            MalformedFrame: the reply is not of this protocol.
        """
        (result,) = self.request_all([command])
        if isinstance(result, Failure):
            raise _error(result)
        return cast(ResultT, result)

    def request_all(self, commands: Sequence[BaseCommand[Result]]) -> list[Result]:
        """Execute many commands at once.

        The time limit applies to each reply: it starts again with every reply received.

        Returns:
            The results in the order of the commands; a Failure for a refused command.

        Raises:
            NhError: as in request(), if the exchange itself fails; some commands may have been executed.
        """
        payloads = [self._encode(command) for command in commands]
        try:
            return self._exchange(commands, payloads)
        except BaseException:
            self.close()  # replies that come late must not be taken for replies to later requests
            raise

    def _encode(self, command: BaseCommand[Result]) -> tuple[int, bytes]:
        self._last_id += 1
        try:
            payload = native.encode_request(self._last_id, command)
        except (TypeError, ValueError) as exc:
            raise MalformedRequest(f"{type(command).__name__}: {exc}") from exc
        _check_size(payload)
        return self._last_id, payload

    def _exchange(
        self, commands: Sequence[BaseCommand[Result]], payloads: Sequence[tuple[int, bytes]]
    ) -> list[Result]:
        deadline = time.monotonic() + self._timeout_s
        connection = self._connect(deadline)
        waiting: dict[int, int] = {}
        results: dict[int, Result] = {}
        sent = 0
        while len(results) < len(commands):
            while sent < len(commands) and len(waiting) < _MAX_IN_FLIGHT:
                request_id, payload = payloads[sent]
                waiting[request_id] = sent
                connection.send(payload, deadline=deadline)
                sent += 1
            reply_id, content = native.split_reply(connection.receive(deadline=deadline))
            if reply_id not in waiting:
                raise _unexpected(reply_id, content)
            index = waiting.pop(int(reply_id))
            results[index] = _read_result(content, commands[index])
            deadline = time.monotonic() + self._timeout_s
        return [results[index] for index in range(len(commands))]

    def _connect(self, deadline: float) -> ClientConnection:
        if self._connection is not None and self._connection.ended:
            self.close()  # nh closed it, as it was idle for too long
        if self._connection is None:
            self._connection = ClientConnection(
                self._address, deadline=deadline, max_reply_bytes=native.MAX_REPLY_BYTES
            )
        return self._connection


def _read_result(content: msgspec.Raw | Failure, command: BaseCommand[Result]) -> Result:
    if isinstance(content, Failure):
        return content
    return native.decode_result(content, INFO[type(command)].result)


def _unexpected(reply_id: native.RequestId, content: msgspec.Raw | Failure) -> NhError:
    """The error for a reply to no request: the server's own error, if it sent one."""
    if reply_id is None and isinstance(content, Failure):
        return _error(content)
    return MalformedFrame(f"reply: no request waits for a reply with the id {reply_id!r}")


def _error(failure: Failure) -> NhError:
    return ERRORS_BY_CODE.get(failure.code, NhError)(failure.message)


def _key(nat_basic: NatBasic) -> TransactionKey:
    return nat_basic if isinstance(nat_basic, TransactionKey) else netsip.read_nat_basic(nat_basic)


def _check_size(payload: bytes) -> None:
    if len(payload) > MAX_FRAME_BYTES:
        raise MalformedRequest(
            f"request: {len(payload)} bytes are more than {MAX_FRAME_BYTES}, the longest frame"
        )
