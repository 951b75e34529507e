"""nh.ip_address: what is an address, a host name, or neither."""

import contextlib
import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nh.calls.media import Endpoint
from nh.errors import MalformedRequest
from nh.ip_address import (
    canonical_address,
    canonical_host,
    host_port,
    ip_version,
    is_address,
    is_ipv6,
    is_link_local,
    is_private,
    is_reachable,
    is_unicast,
    split_host_port,
)
from tests.memory import grows_less_than


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "192.0.2", "192.0.2.256", "", "phone", "1", "[::1]", " ::1"]
)
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)
    with pytest.raises(MalformedRequest, match="allocate: address"):
        canonical_address(text, where="allocate: address")


def test_a_zone_is_refused_with_the_reason() -> None:
    with pytest.raises(MalformedRequest, match="allocate: address: 'fe80::1%eth0' is a link-local address"):
        canonical_address("fe80::1%eth0", where="allocate: address")
    with pytest.raises(MalformedRequest, match="media: 'fe80::1%eth0' has a zone, which no SDP may have"):
        canonical_host("fe80::1%eth0", where="media")


def test_an_address_has_one_spelling() -> None:
    assert canonical_address("2001:DB8:0:0::1", where="") == "2001:db8::1"
    assert canonical_host("0:0:0:0:0:0:0:0", where="") == "::"


@pytest.mark.parametrize(
    ("ipv4", "private", "unicast"),
    [
        ("192.0.2.1", False, True),
        ("10.0.0.1", True, True),
        ("169.254.0.1", True, True),
        ("0.0.0.0", False, False),
        ("239.1.1.1", False, False),
        ("255.255.255.255", False, False),
    ],
)
def test_an_ipv4_address_that_is_mapped_to_ipv6_is_one_of_ipv4(
    ipv4: str, private: bool, unicast: bool
) -> None:
    packed = ipaddress.IPv4Address(ipv4).packed.hex()
    for mapped in (f"::ffff:{ipv4}", f"::FFFF:{packed[:4]}:{packed[4:]}", f"0:0:0:0:0:ffff:{ipv4}"):
        assert canonical_address(mapped, where="") == canonical_host(mapped, where="") == ipv4
        assert (is_private(mapped), is_unicast(mapped), is_reachable(mapped)) == (private, unicast, unicast)
        assert not is_link_local(mapped)


@pytest.mark.parametrize(
    "name", ["phone", "phone.example.org", "phone.example.org.", "_sip.a-b.example", "3com.de"]
)
def test_a_host_name_stays_as_it_is(name: str) -> None:
    assert canonical_host(name, where="") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        "-a",
        "a-.b",
        "a b",
        "a\0b",
        "phone\n",
        "192.0.2.256",
        "1.2.3.4.",
        "10",
        "ä.de",
        "x" * 254,
        "a" * 64,
    ],
)
def test_what_is_neither_address_nor_host_name_is_refused(name: str) -> None:
    with pytest.raises(MalformedRequest, match="media 1: "):
        canonical_host(name, where="media 1")


def test_hostile_text_takes_no_time() -> None:
    # this ends within a test's lifetime only if the name is not read in every possible way
    for text in ("a" * 200 + "!", "a." * 120 + "!", "a-" * 30 + "!", "-" * 10_000, "a" * 100_000):
        with pytest.raises(MalformedRequest):
            canonical_host(text, where="media")


def test_hostile_text_does_not_fill_the_memory() -> None:
    count, size = 100, 50_000
    texts = (f"{number}{'x' * size}" for number in range(count))
    with grows_less_than(count * size // 10):
        for text in texts:
            for read in (canonical_host, canonical_address):
                with contextlib.suppress(MalformedRequest):
                    read(text, where="media")
            assert not (is_unicast(text) or is_link_local(text) or is_private(text) or is_reachable(text))
            assert Endpoint.parse(f"{text}:4000") is None


@given(st.text())
def test_any_text_is_a_host_or_refused(text: str) -> None:
    try:
        host = canonical_host(text, where="media")
    except MalformedRequest as exc:
        assert len(str(exc)) < 1000  # the message does not hand a hostile text on in full
    else:
        assert host.isascii()
        assert canonical_host(host, where="media") == host


@given(st.ip_addresses())
def test_the_family_of_an_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    for text in (str(address), address.exploded):
        assert ip_version(text) == address.version
        assert is_ipv6(text) is (address.version == 6)


@pytest.mark.parametrize(
    ("host", "text"),
    [("192.0.2.1", "192.0.2.1:7"), ("2001:db8::1", "[2001:db8::1]:7"), ("fe80::1%eth0", "[fe80::1%eth0]:7")],
)
def test_an_ipv6_address_has_brackets_before_a_port(host: str, text: str) -> None:
    assert host_port(host, 7) == text
    assert split_host_port(text) == (host, "7")


@given(st.ip_addresses())
@example(ipaddress.ip_address("::ffff:0:0"))
def test_every_address_is_canonical_at_once(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    ipv4 = getattr(address, "ipv4_mapped", None)
    assert canonical_address(address.exploded, where="") == str(ipv4 or address)
