"""A client's end of one RPC connection: blocking for its caller, and never for longer than it may.

Frames go out and come in before a deadline of the caller's; while there is something to send, what
arrives is read all the same, so that neither end waits for the other for ever. Knows framing, but neither
of the protocols in it.
"""

import contextlib
import math
import select
import socket
import struct
import time
from collections.abc import Iterator

from nh.address import RpcAddress, UnixAddress
from nh.errors import CommandTimeout, Unavailable
from nh.wire.framing import Framer, frame

_CHUNK_BYTES = 65_536
_LEAST_WAIT_S = 0.001  # 0 would mean no limit


class RpcConnection:
    """One connection; close it in any case.

    Arguments:
        address: the server's.
        deadline: when to give up connecting, in time.monotonic() seconds. Looking up a host name is not
            bounded by it: that is the resolver's affair.
        max_reply_bytes: longest payload to accept.

    Raises Unavailable if there is no connection to be had; the message says what to do.
    """

    def __init__(self, address: RpcAddress, *, deadline: float, max_reply_bytes: int) -> None:
        self._address = address
        self._framer = Framer(max_reply_bytes)
        self._ended = False
        self._sock = _connect(address, deadline)
        self._sock.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._sock)

    def close(self) -> None:
        """Close the socket; a second time does nothing."""
        self._sock.close()

    @property
    def ended(self) -> bool:
        """Whether the server has closed the connection by now."""
        if not self._ended:
            self._fill()
        return self._ended

    def send(self, payload: bytes, *, deadline: float) -> None:
        """Send one frame. A server that is gone is noticed by the `receive` that follows.

        Raises CommandTimeout if the server does not take it in time.
        """
        unsent = memoryview(frame(payload))
        while unsent and not self._ended:
            ready = self._wait(select.POLLIN | select.POLLOUT, deadline)
            if ready & ~select.POLLOUT:
                self._fill()
            if ready & select.POLLOUT:
                try:
                    unsent = unsent[self._sock.send(unsent) :]
                except BlockingIOError:
                    continue
                except OSError:
                    return  # it may have answered before it went

    def receive(self, *, deadline: float) -> bytes:
        """The payload of the next frame.

        Raises CommandTimeout if none comes in time, Unavailable if the server closes the connection,
        MalformedFrame for a reply that is too long.
        """
        while (payload := self._framer.next_frame()) is None:
            if self._ended:
                torn = "in the middle of a reply" if self._framer.pending_bytes else "without a reply"
                raise Unavailable(
                    f"{self._address}: the server closed the connection {torn};"
                    " its log may say why (it does so for commands that it does not know)"
                )
            self._wait(select.POLLIN, deadline)
            self._fill()
        return payload

    def _fill(self) -> None:
        try:
            chunk = self._sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a reset: whatever came before it is there already
            chunk = b""
        self._ended = not chunk
        self._framer.feed(chunk)

    def _wait(self, events: int, deadline: float) -> int:
        self._poll.modify(self._sock, events)
        left_s = max(0.0, deadline - time.monotonic())
        ready = self._poll.poll(math.ceil(left_s * 1000))
        if not ready:
            raise CommandTimeout(
                f"{self._address}: no answer in time; the relay may be overloaded,"
                " and may still execute the command"
            )
        return ready[0][1]


def _connect(address: RpcAddress, deadline: float) -> socket.socket:
    left_s = max(_LEAST_WAIT_S, deadline - time.monotonic())
    with _explained(address):
        if not isinstance(address, UnixAddress):
            return socket.create_connection((address.host, address.port), timeout=left_s)
        sock = socket.socket(socket.AF_UNIX)
        try:
            # A full backlog of a Unix socket is waited for in blocking mode only; this bounds the wait.
            seconds, fraction = divmod(left_s, 1)
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(seconds), int(fraction * 1e6))
            )
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock


@contextlib.contextmanager
def _explained(address: RpcAddress) -> Iterator[None]:
    """Turn the system's errors into what to do about them."""
    try:
        yield
    except FileNotFoundError as exc:
        raise Unavailable(
            f"{address}: no such socket; is `nh run` up, and is this its --rpc address?"
        ) from exc
    except ConnectionRefusedError as exc:
        raise Unavailable(f"{address}: no process listens there; is `nh run` up?") from exc
    except PermissionError as exc:
        raise Unavailable(
            f"{address}: permission denied; run as the relay's user, or set its rpc_mode"
        ) from exc
    except (TimeoutError, BlockingIOError) as exc:
        raise Unavailable(f"{address}: no connection in time; the relay may be overloaded or stuck") from exc
    except OSError as exc:
        raise Unavailable(f"{address}: cannot connect: {exc.strerror or exc}") from exc
