"""Checks of the addresses that nh announces to phones: who reaches them, and whether they are on this host.

The kinds are those of IANA's registries of special-purpose addresses (RFC 6890).
"""

import ipaddress
from typing import Final, NamedTuple

from nh.calls.interfaces import Interface
from nh.doctor.findings import Finding, Findings, ok, warning
from nh.doctor.patient import Patient
from nh.supervisor.host.addresses import is_local


class AddressKind(NamedTuple):
    """A kind of address that not every phone reaches.

    Attributes:
        networks: its addresses.
        what: what such an address is.
        meaning: what follows where phones get it.
        remedy: what to do; {0} is the address.
        chosen: whether an operator may announce one in place of another on purpose (--address IP!ADVERTISED).
    """

    networks: tuple[str, ...]
    what: str
    meaning: str
    remedy: str
    chosen: bool = False


_BEHIND_NAT: Final = "behind a NAT say {0}!PUBLIC, the address that phones reach; else nothing"
_OTHER: Final = "name the address at which phones reach this host"

KINDS: Final = (
    AddressKind(
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        "a private address (RFC 1918)",
        "phones outside this network cannot reach it: one-way calls",
        _BEHIND_NAT,
        chosen=True,
    ),
    AddressKind(
        ("100.64.0.0/10",),
        "an address of a carrier-grade NAT (RFC 6598)",
        "phones outside the provider's network cannot reach it: such a NAT forwards no ports",
        "get a public address from the provider, or say {0}!PUBLIC if all media ports are forwarded to {0};"
        " nothing if all phones are in this network (a VPN)",
        chosen=True,
    ),
    AddressKind(
        ("fc00::/7",),
        "a unique local address (RFC 4193)",
        "phones outside this site cannot reach it: one-way calls",
        "name a global IPv6 address of this host; nothing if all phones are in this site",
        chosen=True,
    ),
    AddressKind(
        ("127.0.0.0/8", "::1/128"),
        "a loopback address",
        "phones on other hosts cannot reach it: silence in both directions",
        f"{_OTHER}; nothing for a trial on this host",
    ),
    AddressKind(
        ("169.254.0.0/16", "fe80::/10"),
        "a link-local address (RFC 3927, RFC 4291)",
        "phones behind a router cannot reach it; a host without DHCP gives itself such an address",
        "give this host an address of its network, by DHCP or by hand, and name that",
    ),
    AddressKind(
        ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
        "an address for documentation (RFC 5737, RFC 3849, RFC 9637)",
        "no network routes it, so no phone reaches it: it comes from an example",
        _OTHER,
    ),
    AddressKind(
        ("198.18.0.0/15", "2001:2::/48"),
        "an address for benchmarks (RFC 2544, RFC 5180)",
        "no network outside a laboratory routes it",
        f"{_OTHER}; nothing in a laboratory",
    ),
    AddressKind(
        ("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4", "100::/64"),
        "a reserved address (RFC 6890)",
        "no network routes it, so no phone reaches it",
        _OTHER,
    ),
    AddressKind(
        ("224.0.0.0/4", "ff00::/8"),
        "a multicast address",
        "it is no address of one host, so no media come",
        _OTHER,
    ),
)


def kind_of(address: str) -> AddressKind | None:
    """The kind of an IP address; None: an address that the Internet routes."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return next(
        (kind for kind in KINDS if any(found in ipaddress.ip_network(each) for each in kind.networks)), None
    )


def check_nat(patient: Patient) -> Findings:
    """Whether phones can reach the addresses that are announced to them."""
    judged = dict.fromkeys(_finding(each) for each in patient.settings.interfaces)
    yield from filter(None, judged)
    if not any(judged):
        yield ok("phones elsewhere can reach every address that is announced")


def _finding(interface: Interface) -> Finding | None:
    announced = interface.advertised
    kind = kind_of(announced)
    replaced = announced != interface.address
    if kind is None or (replaced and kind.chosen):
        return None
    how = f"in place of {interface.address}" if replaced else "as it is"
    return warning(
        f"{announced} is {kind.what} and is announced {how}", kind.meaning, kind.remedy.format(announced)
    )


def check_virtual(patient: Patient) -> Findings:
    """Whether an address for media is elsewhere now; the start accepts that where it can be bound."""
    elsewhere = [each.address for each in patient.settings.interfaces if not is_local(each.address)]
    for address in elsewhere:
        yield warning(
            f"{address} is not on this host now",
            "media that are sent to it do not arrive here",
            "nothing if it is the virtual address of a standby; else `ip address add`",
        )
    if not elsewhere:
        yield ok("no address for media is elsewhere")
