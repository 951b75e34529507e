"""The relays of the table, started one after the other, and how each is told of calls."""

import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from nh.client import Client
from tools.harness.other_relays import has_nathelper, running_nathelper, running_rtpengine
from tools.harness.ports import claim_ports, free_port
from tools.harness.relay import running_relay
from tools.latching.talk import IPV4, IPV6
from tools.rtpload.codec import get_codec
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.interface import Control
from tools.rtpload.controls.netsip import NetsipControl
from tools.rtpload.controls.ng import NgControl

LOOPBACK: Final = "127.0.0.1"
TIMEOUT_S: Final = 5.0

SIP_SOURCES: Final = {hosts.private: hosts.caller for hosts in (IPV4, IPV6)}
"""A phone behind a NAT: the proxy sees its public address, and tells the relay by ng's received-from."""

MakeControl = Callable[[], Control]
"""Makes a control of a running relay, one for each thread."""


@contextlib.contextmanager
def running_nh(listen: str = LOOPBACK, **settings: Any) -> Iterator[MakeControl]:
    """nh, told of calls by ng; `listen` is its address for media."""
    address = f"{LOOPBACK}:{free_port(socket.SOCK_DGRAM)}"
    with running_relay(shards=1, ng=address, address=listen, **settings):
        yield lambda: _ng(address)


@contextlib.contextmanager
def running_nh_netsip(listen: str = LOOPBACK, **settings: Any) -> Iterator[MakeControl]:
    """nh, told of calls by Net::SIP's protocol; `listen` is its address for media."""
    with running_relay(shards=1, **settings) as relay:
        yield lambda: _netsip(relay.unix_address, listen)


@contextlib.contextmanager
def running_rtpengine_relay() -> Iterator[MakeControl]:
    """Debian's rtpengine in user space, with its defaults."""
    address = f"{LOOPBACK}:{free_port(socket.SOCK_DGRAM)}"
    with claim_ports(400) as ports, running_rtpengine(address, ports, [LOOPBACK]):
        yield lambda: _ng(address)


@contextlib.contextmanager
def running_nathelper_relay() -> Iterator[MakeControl]:
    """Perl's nathelper.pl."""
    port = free_port()
    with running_nathelper(port):
        yield lambda: _netsip(f"{LOOPBACK}:{port}")


def _ng(address: str) -> Control:
    return NgControl(address, TIMEOUT_S, get_codec("pcmu"), 20.0, CommandTimes(), sip_sources=SIP_SOURCES)


def _netsip(address: str, listen: str = LOOPBACK) -> Control:
    return NetsipControl(Client(address, TIMEOUT_S), listen, CommandTimes())


RELAYS: Final[dict[str, Callable[[], AbstractContextManager[MakeControl]]]] = {
    "nh": running_nh,
    "nh, in the kernel": lambda: running_nh(kernel="on", kernel_interface="lo"),
    "nh, Net::SIP": running_nh_netsip,
    "rtpengine": running_rtpengine_relay,
    "nathelper.pl": running_nathelper_relay,
}
"""By name; the context gives what makes its controls."""


def is_here(name: str) -> bool:
    """Whether the relay is installed."""
    return {
        "rtpengine": lambda: shutil.which("rtpengine") is not None,
        "nathelper.pl": has_nathelper,
    }.get(name, lambda: True)()
