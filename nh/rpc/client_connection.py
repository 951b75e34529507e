"""A client's end of one RPC connection, blocking with deadlines.

While a frame is sent, replies are read too, so that client and server cannot wait for each other for ever.
Knows frames, but neither of the protocols in them.
"""

import contextlib
import math
import select
import socket
import struct
import time
from collections.abc import Iterator

from nh.address import RpcAddress, UnixAddress
from nh.errors import CommandTimeout, NotRunning, Unavailable
from nh.wire.framing import Framer, frame

_CHUNK_BYTES = 65_536
_LEAST_WAIT_S = 0.001  # 0 would mean no limit


class ClientConnection:
    """One connection; the caller closes it.

    Args:
        address: of the server.
        deadline: when to give up connecting, in time.monotonic() seconds. The resolver's own time limit
            applies to a host name.
        max_reply_bytes: longest payload accepted.

    Raises:
        Unavailable: the server cannot be reached; the message says what to do.
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
        """Close the socket. No effect if it is closed."""
        self._sock.close()

    @property
    def ended(self) -> bool:
        """Whether the server has closed the connection."""
        if not self._ended:
            self._fill()
        return self._ended

    def send(self, payload: bytes, *, deadline: float) -> None:
        """Send one frame. If the server is gone, the next receive() raises.

        Args:
            payload: of the frame.
            deadline: in time.monotonic() seconds.

        Raises:
            CommandTimeout: the server did not read the frame before the deadline.
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
                    return  # the server may have replied before it closed

    def receive(self, *, deadline: float) -> bytes:
        """Receive the payload of the next frame.

        Args:
            deadline: in time.monotonic() seconds.

        Raises:
            CommandTimeout: no complete frame came before the deadline.
            Unavailable: the server closed the connection.
            MalformedFrame: the reply is too long.
        """
        while (payload := self._framer.next_frame()) is None:
            if self._ended:
                when = "in the middle of a reply" if self._framer.pending_bytes else "without a reply"
                raise Unavailable(
                    f"{self._address}: the server closed the connection {when};"
                    " its log may have the reason, such as an unknown command"
                )
            self._wait(select.POLLIN, deadline)
            self._fill()
        return payload

    def _fill(self) -> None:
        try:
            chunk = self._sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a reset: data before it was received already
            chunk = b""
        self._ended = not chunk
        self._framer.feed(chunk)

    def _wait(self, events: int, deadline: float) -> int:
        self._poll.modify(self._sock, events)
        left_s = max(0.0, deadline - time.monotonic())
        ready = self._poll.poll(math.ceil(left_s * 1000))
        if not ready:
            raise CommandTimeout(
                f"{self._address}: no reply within the time limit; the relay may be overloaded; a command"
                " that changes something may still be executed; `nh stats` shows whether the relay hangs"
            )
        return ready[0][1]


def _connect(address: RpcAddress, deadline: float) -> socket.socket:
    left_s = max(_LEAST_WAIT_S, deadline - time.monotonic())
    with _explained(address):
        if not isinstance(address, UnixAddress):
            return socket.create_connection((address.host, address.port), timeout=left_s)
        sock = socket.socket(socket.AF_UNIX)
        try:
            # only a blocking connect waits while the backlog of a Unix socket is full; this limits the wait
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
    """Turn errors of the system into Unavailable with a remedy."""
    try:
        yield
    except FileNotFoundError as exc:
        raise NotRunning(
            f"{address}: no such socket; check that `nh run` runs, and its --rpc address"
        ) from exc
    except ConnectionRefusedError as exc:
        raise NotRunning(
            f"{address}: no process listens there; check that `nh run` runs, and its --rpc address; if nh was"
            " killed, calls go on and new ones are refused: start nh again"
        ) from exc
    except PermissionError as exc:
        raise Unavailable(
            f"{address}: permission denied; run as the relay's user, or set its rpc_group and rpc_mode"
        ) from exc
    except (TimeoutError, BlockingIOError) as exc:
        raise Unavailable(
            f"{address}: no connection within the time limit; the relay may be overloaded or hang"
        ) from exc
    except OSError as exc:
        raise Unavailable(f"{address}: cannot connect: {exc.strerror or exc}") from exc
