"""What a shard has to know of the interface that a route leads out of.

By ioctl (netdevice(7)), because those never wait: a request for a link over netlink waits for the kernel's
RTNL lock, which may be held for long just when links change, and that would hold up the media.
"""

import fcntl
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from nh.fastpath.netlink.interfaces import ETHERNET, LOOPBACK
from nh.paths import read_unbuffered

_GET_NAME, _GET_MTU, _GET_HARDWARE = 0x8910, 0x8921, 0x8927  # SIOCGIFNAME, SIOCGIFMTU, SIOCGIFHWADDR
_IFREQ_BYTES = 40
_INTEGER = struct.Struct("=16si")
_FAMILY = struct.Struct("=16sH")


class Device(NamedTuple):
    """An interface as a way out.

    Args:
        name: its name.
        ethernet: whether its packets begin with an Ethernet header (loopback's do too).
        mtu_bytes: longest IPv4 packet.
    """

    name: str
    ethernet: bool
    mtu_bytes: int


class Devices:
    """The interfaces of the calling thread's network namespace, remembered. Raises OSError if no socket."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._known: dict[int, Device] = {}
        self._ipv6_mtus: dict[Device, int] = {}  # of those that an IPv6 route led out of

    def get(self, ifindex: int) -> Device:
        """The interface with that index. Raises OSError if there is none."""
        device = self._known.get(ifindex)
        if device is None:
            device = self._known[ifindex] = self._ask(ifindex)
        return device

    def ipv6_mtu_bytes(self, device: Device) -> int:
        """Longest IPv6 packet of an interface; less where a router advertised less (RFC 4861 4.6.4)."""
        known = self._ipv6_mtus.get(device)
        if known is None:
            known = self._ipv6_mtus[device] = _ipv6_mtu(device)
        return known

    def ipv6_mtus_changed(self) -> bool:
        """Whether the IPv6 MTU of an interface is not what it was: its sysctl raises no event.

        Without IPv6 routes there is nothing to read.
        """
        return any(_ipv6_mtu(device) != known for device, known in self._ipv6_mtus.items())

    def forget(self) -> None:
        """Ask again: a link may have changed, or another may have an index now."""
        self._known.clear()
        self._ipv6_mtus.clear()

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _ask(self, ifindex: int) -> Device:
        name: bytes = self._ioctl(_GET_NAME, _INTEGER.pack(b"", ifindex))[:16]
        mtu_bytes = int(_INTEGER.unpack_from(self._ioctl(_GET_MTU, name))[1])
        hardware = int(_FAMILY.unpack_from(self._ioctl(_GET_HARDWARE, name))[1])
        text = name.rstrip(b"\0").decode(errors="surrogateescape")
        return Device(text, hardware in (ETHERNET, LOOPBACK), mtu_bytes)

    def _ioctl(self, request: int, argument: bytes) -> bytes:
        return fcntl.ioctl(self._socket, request, argument.ljust(_IFREQ_BYTES, b"\0"))


def _ipv6_mtu(device: Device) -> int:
    try:
        sysctl = int(read_unbuffered(Path("/proc/sys/net/ipv6/conf", device.name, "mtu")))
    except (OSError, ValueError):  # IPv6 is off, or /proc is not to be read
        return device.mtu_bytes
    return min(device.mtu_bytes, sysctl)
