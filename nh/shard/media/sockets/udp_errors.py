"""Whether any UDP socket of this network namespace has lost packets: the kernel's own counters.

The kernel counts each packet that a socket cannot take, in the socket and in InErrors of the namespace
(net/ipv4/udp.c). So while InErrors stands still, no socket has lost anything, and none has to be asked.
"""

from pathlib import Path
from typing import Final

from nh.paths import read_unbuffered

PROC_NET: Final = Path("/proc/self/net")
"""proc_pid_net(5): the network namespace of this process."""

_V6_NAME: Final = b"Udp6InErrors"


class UdpErrors:
    """The counters InErrors of UDP over IPv4 and IPv6.

    Args:
        proc_net: directory of the kernel's files `snmp` and `snmp6`.
    """

    def __init__(self, proc_net: Path = PROC_NET) -> None:
        self._v4, self._v6 = proc_net / "snmp", proc_net / "snmp6"
        self._before: tuple[bytes, bytes] | None = None

    def grew(self) -> bool:
        """Whether packets may have been lost since the last call; True for the first one.

        Always True if the kernel's files cannot be read.
        """
        before, self._before = self._before, self._read()
        return self._before is None or self._before != before

    def _read(self) -> tuple[bytes, bytes] | None:
        try:
            v4 = _errors_of(read_unbuffered(self._v4))
            v6 = self._read_v6()
        except OSError:
            return None
        return None if v4 is None or v6 is None else (v4, v6)

    def _read_v6(self) -> bytes | None:
        try:
            return _errors6_of(read_unbuffered(self._v6))
        except FileNotFoundError:  # there is no IPv6 in the kernel
            return b""


def _errors_of(text: bytes) -> bytes | None:
    """InErrors of /proc/net/snmp: for each protocol, a line of names and a line of values."""
    lines = [line.split() for line in text.splitlines() if line.startswith(b"Udp:")]
    if len(lines) != 2:
        return None
    names, values = lines
    return dict(zip(names, values, strict=False)).get(b"InErrors")


def _errors6_of(text: bytes) -> bytes | None:
    """Udp6InErrors of /proc/net/snmp6: a line for each counter, of which there are about ninety."""
    _, found, rest = text.partition(_V6_NAME)
    values = rest.split(maxsplit=1)
    return values[0] if found and values else None
