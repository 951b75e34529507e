"""A small RPC server in a thread, built of the codecs alone: what clients are tested against."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator

from nh.calls.media import RelayMedia
from nh.commands import Activate, Allocate, Close, CloseCall, Command, Extension, GetStats, ListCalls, Ping
from nh.errors import UnknownCommand
from nh.results import (
    Activated,
    Allocated,
    CallList,
    CallSummary,
    Closed,
    ExtensionResult,
    Failure,
    Pong,
    Result,
    Stats,
)
from nh.wire import native, netsip
from nh.wire.framing import Framer, frame

Answer = Callable[[bytes], Iterable[bytes]]
"""What to send for a request's payload, as it goes on the stream, portion by portion."""


class HangUp(Exception):
    """Raised by an Answer: close the connection."""


class RpcServer:
    """Serves one connection after the other; `connections` counts them.

    Args:
        listener: a listening stream socket; stop() closes it.
        answer: see Answer; called in the server's thread.
    """

    def __init__(self, listener: socket.socket, answer: Answer) -> None:
        self.connections = 0
        self._listener = listener
        self._answer = answer
        self._client: socket.socket | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="rpc server")
        self._thread.start()

    def stop(self) -> None:
        """End the connection that is served, and the server."""
        self._stopping = True
        for sock in (self._listener, self._client):
            if sock is not None:
                with contextlib.suppress(OSError):  # it is gone already
                    sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopping:
            try:
                client, _ = self._listener.accept()
            except OSError:  # stop() has shut it down
                return
            self.connections += 1
            self._client = client
            with client, contextlib.suppress(OSError, HangUp):
                self._converse(client)

    def _converse(self, client: socket.socket) -> None:
        framer = Framer()
        while data := client.recv(65536):
            framer.feed(data)
            while (payload := framer.next_frame()) is not None:
                for portion in self._answer(payload):
                    client.sendall(portion)


@contextlib.contextmanager
def serving(address: str, answer: Answer) -> Iterator[tuple[str, RpcServer]]:
    """A running server and its address.

    Args:
        address: the path of a Unix socket to be, or 127.0.0.1 for any free TCP port there.
        answer: see Answer.
    """
    if "/" in address:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
    else:
        listener = socket.socket()
        listener.bind((address, 0))
        address = f"{address}:{listener.getsockname()[1]}"
    listener.listen(16)
    server = RpcServer(listener, answer)
    try:
        yield address, server
    finally:
        server.stop()


# --- the relay that it plays ---


def answer_netsip(payload: bytes) -> Iterable[bytes]:
    """The Net::SIP reply of the tests' relay."""
    try:
        command = netsip.decode_request(payload, {"extra"})
    except UnknownCommand as exc:
        raise HangUp from exc
    yield frame(netsip.encode_result(_execute(command)))


def answer_native(payload: bytes) -> Iterable[bytes]:
    """The native reply of the tests' relay."""
    request_id, command = native.decode_request(payload, {"extra"})
    result = command if isinstance(command, Failure) else _execute(command)
    yield frame(native.encode_result(request_id, result))


def _execute(command: Command) -> Result:
    match command:
        case Allocate():
            result: Result = Allocated(
                tuple(RelayMedia(command.address, 5004, medium.range) for medium in command.media)
            )
        case Activate():
            result = Activated(command.param != {"again": "yes"})
        case Close():
            result = Closed(0 if command.key.call_id == b"gone" else 2)
        case CloseCall():
            result = Failure("not_found", "no such call")
        case ListCalls():
            result = CallList((CallSummary(command.contains, 0, 1.0, 1.0, 1, 4, 0, 0),))
        case GetStats():
            result = Stats({"totals": {"calls": 1}})
        case Ping():
            result = Pong("1.2.3")
        case Extension():
            result = ExtensionResult(command.arguments)
        case _:
            result = Failure("internal", f"not in these tests: {command}")
    return result
