"""One RPC connection: bytes to commands, results to bytes, as fast as its client reads and no faster.

The first byte of a frame's payload tells the protocols apart. Net::SIP's requests are answered one at a
time and in order; native ones run side by side and are answered as their results come. What a command
means is the business of Dispatch; who has been idle for how long, that of Clients.
"""

import functools
import logging
import socket
from collections.abc import Callable
from typing import Final

from nh.errors import MalformedFrame, MalformedRequest, UnknownCommand
from nh.loop import Callback
from nh.results import Failure, Result
from nh.rpc.service import Service
from nh.wire import native, netsip
from nh.wire.framing import Framer, Framing, frame

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 128
"""Most native requests of one connection under way; more are left unread."""

MAX_OUTPUT_BYTES: Final = 256 * 1024
"""While more than this waits for a client to read, its requests are left unread."""

READ_BYTES: Final = 64 * 1024


class Connection:
    """A client's connection, served until either side ends it.

    Arguments:
        sock: the accepted socket; it becomes nonblocking and belongs to the connection, unless OSError
            is raised, because it cannot be watched.
        service: see Service; the connection puts itself into its clients.
        framer: takes its stream apart; that of nh's and Net::SIP's protocol if None.
    """

    __slots__ = (
        "_ended",
        "_framer",
        "_in_flight",
        "_leaving",
        "_open",
        "_output",
        "_reading",
        "_service",
        "_serving",
        "_sock",
        "_waits",
    )

    def __init__(self, sock: socket.socket, service: Service, framer: Framing | None = None) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._service = service
        self._framer = framer or Framer()
        self._output = bytearray()
        self._in_flight = 0  # requests under way
        self._waits = False  # for the answer to a Net::SIP request, before which no other is looked at
        self._ended = False  # nothing more will be read
        self._leaving = False  # nothing more will be read here, but by who serves it next
        self._open = True
        self._reading = True
        self._serving = False
        service.loop.add_reader(sock.fileno(), self._on_readable)  # the kernel may have no more watches
        service.clients.add(self, service.loop.now())

    def close(self) -> None:
        """End the connection now; answers that are still to come are dropped. No effect if it is closed."""
        if self._open:
            self._serve_no_more()
            self._sock.close()

    def stop_reading(self) -> None:
        """Read nothing more; what was read is answered, and what comes now waits in the kernel."""
        self._leaving = True
        if self._reading:
            self._pause()

    def hand_on(self) -> socket.socket | None:
        """Serve it no more if it is between two requests, after stop_reading().

        Returns its socket, for whoever serves it from now on; None: it cannot be handed on, and is as it was.
        """
        if not self._open or self._ended or self._in_flight or self._output or self._framer.pending_bytes:
            return None
        self._serve_no_more()
        return self._sock

    def _serve_no_more(self) -> None:
        self._open = False
        self._service.clients.discard(self)
        self._service.loop.remove_reader(self._sock.fileno())
        self._service.loop.remove_writer(self._sock.fileno())

    @property
    def _full(self) -> bool:
        """Whether its next request has to wait until earlier ones are answered and read."""
        return self._waits or self._in_flight >= MAX_IN_FLIGHT or len(self._output) > MAX_OUTPUT_BYTES

    # --- reading ----------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        if self._full:  # only now: most clients wait for their answer before they say more
            self._pause()
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            logger.debug("a client is gone: %s", exc)
            self.close()
            return
        if data:
            self._service.clients.active(self, self._service.loop.now())
            self._framer.feed(data)
        else:
            self._end()
        self._serve()

    def _watch(self, add: Callable[[int, Callback], None], callback: Callback) -> None:
        try:
            add(self._sock.fileno(), callback)
        except OSError as exc:
            self._service.limited_log.log(logging.WARNING, "a client cannot be watched any more: %s", exc)
            self.close()

    def _pause(self) -> None:
        self._reading = False
        self._service.loop.remove_reader(self._sock.fileno())

    def _end(self) -> None:
        """Read no more; the connection goes as soon as everything is answered."""
        self._ended = True
        if self._reading:
            self._pause()

    def _serve(self) -> None:
        """Serve the requests that are there, as many as may be under way, and settle what comes next."""
        if self._serving:  # a result that came at once: the loop below goes on with it
            return
        self._serving = True
        try:
            self._serve_frames()
        except Exception:
            # a bug met by one client's request must not stay readable, nor touch anyone else
            logger.exception("a connection is closed, because serving it failed")
            self.close()
        finally:
            self._serving = False
        if self._open:
            self._settle()

    def _serve_frames(self) -> None:
        while self._open and not self._full:
            try:
                payload = self._framer.next_frame()
            except MalformedFrame as exc:
                self._refuse(exc)
                return
            if payload is None:
                return
            self._service.clients.whole(self)
            self._request(payload)

    def _settle(self) -> None:
        """Read on or not, and end what is over."""
        if self._full:
            return
        if self._ended:
            if not self._in_flight and not self._output:
                self.close()
            return
        if self._leaving:
            return
        if self._framer.pending_bytes:
            self._service.clients.torn(self, self._service.loop.now())
        if not self._reading:
            self._reading = True
            self._watch(self._service.loop.add_reader, self._on_readable)

    def _refuse(self, exc: MalformedFrame | UnknownCommand) -> None:
        """End a connection whose client cannot be understood; it still gets the answers due to it."""
        if isinstance(exc, UnknownCommand):
            self._service.stats.rpc_unknown_commands += 1
        else:
            self._service.stats.rpc_malformed += 1
        self._service.limited_log.log(logging.WARNING, "a client's connection is closed: %s", exc)
        self._framer = Framer()
        self._end()

    # --- requests ---------------------------------------------------------------------------------

    def _request(self, payload: bytes) -> None:
        if payload[0] == netsip.FIRST_BYTE:
            self._service.stats.rpc_requests_netsip += 1
            self._netsip_request(payload)
        elif payload[0] == native.FIRST_BYTE:
            self._service.stats.rpc_requests_native += 1
            self._native_request(payload)
        else:
            self._refuse(MalformedFrame(f"frame: byte {payload[0]:#04x} begins no protocol that nh speaks"))

    def _netsip_request(self, payload: bytes) -> None:
        try:
            command = netsip.decode_request(payload, self._service.extensions)
        except MalformedRequest as exc:
            self._service.stats.rpc_malformed += 1
            self._service.limited_log.log(logging.WARNING, "a Net::SIP request is answered undef: %s", exc)
            self._write(frame(netsip.encode_result(Failure.of(exc))))
            return
        except (MalformedFrame, UnknownCommand) as exc:
            self._refuse(exc)
            return
        self._waits = True
        self._begin()
        self._service.dispatch(command, self._netsip_result)

    def _native_request(self, payload: bytes) -> None:
        request_id, command = native.decode_request(payload, self._service.extensions)
        if isinstance(command, Failure):
            if command.code == UnknownCommand.code:
                self._service.stats.rpc_unknown_commands += 1
            else:
                self._service.stats.rpc_malformed += 1
            self._write(frame(native.encode_result(request_id, command)))
            return
        self._begin()
        self._service.dispatch(command, functools.partial(self._native_result, request_id))

    def _begin(self) -> None:
        self._in_flight += 1
        if self._in_flight == 1:
            self._service.clients.begin(self)

    # --- results ----------------------------------------------------------------------------------

    def _netsip_result(self, result: Result) -> None:
        self._waits = False
        self._answer(netsip.encode_result, result)

    def _native_result(self, request_id: native.RequestId, result: Result) -> None:
        self._answer(functools.partial(native.encode_result, request_id), result)

    def _answer(self, encode: Callable[[Result], bytes], result: Result) -> None:
        if not self._open:  # it left before its answer
            return
        self._done()
        try:
            payload = encode(result)
        except Exception:
            # an extension may return what no wire can carry; its client shall not wait for ever
            logger.exception("a result cannot be encoded: %.200r", result)
            payload = encode(Failure("internal", "the result cannot be encoded; see the log of nh"))
        self._write(frame(payload))
        self._serve()

    def _done(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._service.clients.end(self, self._service.loop.now())

    def _write(self, data: bytes) -> None:
        if self._output:
            self._output += data
            return
        sent = self._send(data)
        if sent < len(data) and self._open:
            self._output += memoryview(data)[sent:]
            self._watch(self._service.loop.add_writer, self._on_writable)

    def _on_writable(self) -> None:
        sent = self._send(self._output)
        if not self._open:
            return
        if sent:
            del self._output[:sent]
            self._service.clients.active(self, self._service.loop.now())
        if not self._output:
            self._service.loop.remove_writer(self._sock.fileno())
        self._serve()

    def _send(self, data: bytes | bytearray) -> int:
        """How many bytes the kernel took; closes the connection if nobody is there to read them."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            logger.debug("a client left before its answer: %s", exc)
            self.close()
            return 0
