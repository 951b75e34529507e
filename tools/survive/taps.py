"""What each host sends, packet by packet: when, and from which of the relay's ports.

A tap sits at the far end of a host's link, so it sees what reaches the phones' network and nothing else.
"""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from tools.harness.hosts import VIRTUAL, Host, Hosts, Link
from tools.rtpload.worker.phone import wall_clock_offset_ns

_ETH_P_IP: Final = 0x0800
_ETH_P_ALL: Final = 0x0003
"""A bridge takes the packets of its ports before a tap of one protocol sees them."""

_SO_RCVBUFFORCE: Final = 33
_SO_TIMESTAMPNS: Final = 35
_RECEIVE_BUFFER_BYTES: Final = 8 << 20
_HEADERS: Final = struct.Struct("!12xHB8xB2x4s4xHH")
"""Ethernet and IPv4 without options: type, version, protocol, source; ports of UDP."""

_IPV4_20_BYTES, _UDP = 0x45, 17

PortTimes = Mapping[int, Sequence[int]]
"""Port of the relay: when it sent, monotonic nanoseconds."""


class Tap:
    """Collects what a host sends from the address that moves, until `close`.

    Args:
        network: both hosts.
        host: one of them.
    """

    def __init__(self, network: Hosts, host: Host) -> None:
        with network.phones.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((f"{Link.MEDIA}{host.number}", _ETH_P_ALL))
        self._source = socket.inet_aton(VIRTUAL)
        self._offset_ns = -wall_clock_offset_ns()
        self._times: dict[int, list[int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tap of host {host.number}")
        self._thread.start()

    def close(self) -> PortTimes:
        """End it; what it saw."""
        self._ended.set()
        self._thread.join()
        self._socket.close()
        return self._times

    def _run(self) -> None:
        while not self._ended.is_set():
            if select.select([self._socket], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # the link was cut, and may come back
                    self._note(*self._socket.recvmsg(_HEADERS.size, 64)[:2])

    def _note(self, frame: bytes, ancillary: Sequence[tuple[int, int, bytes]]) -> None:
        if len(frame) < _HEADERS.size:
            return
        kind, version, protocol, source, port, _ = _HEADERS.unpack(frame)
        if (kind, version, protocol, source) != (_ETH_P_IP, _IPV4_20_BYTES, _UDP, self._source):
            return
        (_, _, data) = ancillary[0]
        seconds, nanoseconds = struct.unpack("qq", data)
        self._times.setdefault(port, []).append(seconds * 10**9 + nanoseconds + self._offset_ns)


@contextlib.contextmanager
def taps(network: Hosts) -> Iterator[tuple[Tap, Tap]]:
    """A tap at each host."""
    with contextlib.ExitStack() as stack:
        made = [Tap(network, host) for host in network.hosts]
        for tap in made:
            stack.callback(tap.close)
        yield made[0], made[1]


class Overlap(NamedTuple):
    """What a host sent for calls that another one was sending for already.

    Attributes:
        packets: how many.
        longest_s: from the first to the last of them, of one port, at most.
    """

    packets: int
    longest_s: float


def overlap(one: PortTimes, two: PortTimes) -> Overlap:
    """What the first host sent although the other one had begun.

    Args:
        one: what the host sent that had the calls first.
        two: what the other one sent.
    """
    late = [[at for at in one[port] if at > two[port][0]] for port in one.keys() & two.keys()]
    spans = [times[-1] - times[0] for times in late if times]
    return Overlap(sum(map(len, late)), max(spans, default=0) / 1e9)
