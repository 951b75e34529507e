"""Named interfaces as text, `NAME/IP[!ADVERTISED][@MIN-MAX]`: what the settings say of them. Pure."""

import ipaddress
import re

from nh.calls.interfaces import Interface
from nh.calls.media import is_address

DEFAULT_NAME = "default"
"""The interface that the setting `address` makes."""

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def parse_interface(text: str) -> Interface:
    """The interface that `text` means.

    Arguments:
        text: NAME/IP, behind it `!` and the IP address to announce, and `@` and the media ports, where they
            differ from the address itself and from the relay's ports.

    Raises ValueError, which shows what would do, if it is none.
    """
    name, slash, rest = text.partition("/")
    if not slash or not _NAME.fullmatch(name):
        raise ValueError(
            f"interface: {text!r} is not NAME/IP[!ADVERTISED][@MIN-MAX], such as pub/192.0.2.1@10000-19999"
        )
    addresses, at, ports = rest.partition("@")
    bound, advertised = _parse_addresses(addresses, f"interface: {text!r}")
    return Interface(name, bound, advertised, parse_ports(ports, "interface") if at else None)


def parse_address(text: str) -> Interface:
    """The one interface of a relay that has no other: `IP[!ADVERTISED]`. Raises ValueError if it is none."""
    bound, advertised = _parse_addresses(text, f"address: {text!r}")
    return Interface(DEFAULT_NAME, bound, advertised)


def parse_ports(text: str, where: str) -> tuple[int, int]:
    """(lowest, highest) of a range of media ports, both included.

    Arguments:
        text: MIN-MAX.
        where: what is being read, for the error messages.

    Raises ValueError if it is none, or not within 1024 to 65535.
    """
    low, dash, high = text.partition("-")
    if not dash or not (low.isdecimal() and high.isdecimal()):
        raise ValueError(f"{where}: {text!r} is not MIN-MAX, such as 10000-29999")
    if not 1024 <= int(low) < int(high) <= 65535:
        raise ValueError(f"{where}: {text} is not within 1024-65535 with MIN below MAX")
    return int(low), int(high)


def check_interfaces(interfaces: tuple[Interface, ...], ports: tuple[int, int]) -> None:
    """See that interfaces can be told apart and do not take each other's ports.

    Arguments:
        interfaces: all of them.
        ports: those of interfaces that have none of their own.

    Raises ValueError naming two that do not go together.
    """
    for index, one in enumerate(interfaces):
        for other in interfaces[:index]:
            if (one.name, one.family) == (other.name, other.family):
                raise ValueError(
                    f"interface: {one.name!r} has two IPv{one.family} addresses, {other.address} and"
                    f" {one.address}; give one of them another name"
                )
            (low, high), (other_low, other_high) = one.ports or ports, other.ports or ports
            same = (low, high) == (other_low, other_high)
            if one.address == other.address and not same and low <= other_high and other_low <= high:
                raise ValueError(
                    f"interface: ports {low}-{high} of {one.name!r} and {other_low}-{other_high} of"
                    f" {other.name!r} overlap on {one.address}; give both the same range, or separate ones"
                )


def _parse_addresses(text: str, where: str) -> tuple[str, str]:
    bound, mark, advertised = text.partition("!")
    for address in (bound, advertised) if mark else (bound,):
        if not is_address(address):
            raise ValueError(f"{where}: {address!r} is no IPv4 or IPv6 address")
        if ipaddress.ip_address(address).is_unspecified:
            raise ValueError(f"{where}: {address} is every address of the host; name the one to announce")
    canonical = str(ipaddress.ip_address(bound))
    if mark and ipaddress.ip_address(advertised).version != ipaddress.ip_address(bound).version:
        raise ValueError(f"{where}: {bound} and {advertised} are not of one IP version")
    return canonical, str(ipaddress.ip_address(advertised)) if mark else canonical
