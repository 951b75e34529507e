"""Named interfaces as the settings write them: `NAME/IP[!ADVERTISED][@MIN-MAX]`. No I/O."""

import re

from nh.calls.interfaces import Interface
from nh.ip_address import (
    LINK_LOCAL,
    UNSPECIFIED,
    canonical_address,
    is_address,
    is_ipv6,
    is_link_local,
)

DEFAULT_NAME = "default"
"""Name of the interface that the setting `address` defines."""

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def parse_interface(text: str) -> Interface:
    """Parse an interface.

    Args:
        text: NAME/IP; then `!` and the IP address to announce, if another; then `@` and the media ports, if
            others than the relay's.

    Raises:
        ValueError: `text` is not an interface; the message has an example.
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
    """Parse `IP[!ADVERTISED]`, the only interface of a relay without named ones. Raises ValueError."""
    bound, advertised = _parse_addresses(text, f"address: {text!r}")
    return Interface(DEFAULT_NAME, bound, advertised)


def parse_ports(text: str, where: str) -> tuple[int, int]:
    """Parse a range of media ports.

    Args:
        text: MIN-MAX.
        where: the name of the setting, for error messages.

    Returns:
        The lowest and the highest port, both included.

    Raises:
        ValueError: `text` is not a range within 1024 to 65535.
    """
    low, dash, high = text.partition("-")
    if not dash or not (low.isdecimal() and high.isdecimal()):
        raise ValueError(f"{where}: {text!r} is not MIN-MAX, such as 10000-29999")
    if not 1024 <= int(low) < int(high) <= 65535:
        raise ValueError(f"{where}: {text} is not within 1024-65535 with MIN below MAX")
    return int(low), int(high)


def check_interfaces(interfaces: tuple[Interface, ...], ports: tuple[int, int]) -> None:
    """Check that interfaces differ in name or address, and that their ports do not overlap.

    Args:
        interfaces: all interfaces.
        ports: the ports of interfaces without own ones.

    Raises:
        ValueError: two interfaces conflict; the message names them.
    """
    for index, one in enumerate(interfaces):
        for other in interfaces[:index]:
            if (one.name, one.address) == (other.name, other.address):
                raise ValueError(
                    f"interface: {one.name!r} has {one.address} twice; give one of them another name"
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
        if is_link_local(address):
            raise ValueError(f"{where}: {address} {LINK_LOCAL}")
        if not is_address(address):
            raise ValueError(f"{where}: {address!r} is not an IPv4 or IPv6 address")
        if canonical_address(address, where=where) in UNSPECIFIED:
            raise ValueError(f"{where}: {address} is every address of the host; name the one to announce")
    canonical = canonical_address(bound, where=where)
    announced = canonical_address(advertised, where=where) if mark else canonical
    if is_ipv6(announced) != is_ipv6(canonical):
        raise ValueError(f"{where}: {bound} and {advertised} have different IP versions")
    return canonical, announced
