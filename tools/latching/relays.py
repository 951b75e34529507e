"""The relays of the table, and how each is told of calls."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from nh.client import Client
from tools.harness.other_relays import has_nathelper, running_nathelper, running_rtpengine
from tools.harness.ports import claim_ports, free_port
from tools.harness.relay import Relay, running_relay
from tools.latching.talk import IPV4, IPV6, Hosts
from tools.rtpload.codec import get_codec
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.interface import Control
from tools.rtpload.controls.netsip import NetsipControl
from tools.rtpload.controls.ng import NgControl

LOOPBACK: Final = "127.0.0.1"
TIMEOUT_S: Final = 20.0
PORTS: Final = 400

SIP_SOURCES: Final = {hosts.private: hosts.caller for hosts in (IPV4, IPV6)}
"""A phone behind a NAT: the proxy sees its public address, and tells the relay by ng's received-from."""

MakeControl = Callable[[Hosts], Control]
"""Makes a control of a running relay for a call among these hosts, one for each thread."""


class Nh(NamedTuple):
    """A running nh, and the two protocols that it is told of calls by."""

    relay: Relay
    ng: MakeControl
    netsip: MakeControl


@contextlib.contextmanager
def running_nh(*, ports: int = PORTS, ipv6: bool = False, **settings: Any) -> Iterator[Nh]:
    """nh.

    Args:
        ports: how many media ports.
        ipv6: whether calls may be over IPv6.
        settings: fields of nh.config.Settings.
    """
    address = f"{LOOPBACK}:{free_port()}"
    interface = ",".join(_interfaces(ipv6))
    with running_relay(shards=1, ports=ports, ng=address, interface=interface, **settings) as relay:
        yield Nh(relay, lambda _hosts: _ng(address), lambda hosts: _netsip(relay.unix_address, hosts))


@contextlib.contextmanager
def _running_nh_ng(*, ports: int, ipv6: bool, **settings: Any) -> Iterator[MakeControl]:
    with running_nh(ports=ports, ipv6=ipv6, **settings) as nh:
        yield nh.ng


@contextlib.contextmanager
def _running_nh_netsip(*, ports: int, ipv6: bool) -> Iterator[MakeControl]:
    with running_nh(ports=ports, ipv6=ipv6) as nh:
        yield nh.netsip


@contextlib.contextmanager
def _running_rtpengine(*, ports: int, ipv6: bool) -> Iterator[MakeControl]:
    """Debian's rtpengine in user space, with its defaults."""
    address = f"{LOOPBACK}:{free_port()}"
    with claim_ports(ports) as claimed, running_rtpengine(address, claimed, _interfaces(ipv6)):
        yield lambda _hosts: _ng(address)


@contextlib.contextmanager
def _running_nathelper(*, ports: int, **_ipv6: bool) -> Iterator[MakeControl]:
    """Perl's nathelper.pl, which has no option for its ports."""
    with claim_ports(ports) as claimed:
        # the last four of the ports that it is given it never takes
        limits = f"({claimed[0]}, {claimed[-1] + 4})"
        code = f"($Net::SIP::Util::RTP_MIN_PORT, $Net::SIP::Util::RTP_MAX_PORT) = {limits}; do shift"
        perl = ["perl", "-MNet::SIP::Util", "-e", code]
        port = free_port()
        with running_nathelper(port, perl=perl):
            yield lambda hosts: _netsip(f"{LOOPBACK}:{port}", hosts)


def _interfaces(ipv6: bool) -> list[str]:
    return [f"default/{hosts.relay}" for hosts in ((IPV4, IPV6) if ipv6 else (IPV4,))]


def _ng(address: str) -> Control:
    return NgControl(address, TIMEOUT_S, get_codec("pcmu"), 20.0, CommandTimes(), sip_sources=SIP_SOURCES)


def _netsip(address: str, hosts: Hosts) -> Control:
    return NetsipControl(Client(address, TIMEOUT_S), hosts.relay, CommandTimes())


RELAYS: Final[dict[str, Callable[..., AbstractContextManager[MakeControl]]]] = {
    "nh": _running_nh_ng,
    "nh, in the kernel": lambda **how: _running_nh_ng(kernel="on", kernel_interface="lo", **how),
    "nh, Net::SIP": _running_nh_netsip,
    "rtpengine": _running_rtpengine,
    "nathelper.pl": _running_nathelper,
}
"""By name; called with the number of ports, and whether there is IPv6."""


def is_here(name: str) -> bool:
    """Whether the relay is installed."""
    return {
        "rtpengine": lambda: shutil.which("rtpengine") is not None,
        "nathelper.pl": has_nathelper,
    }.get(name, lambda: True)()
