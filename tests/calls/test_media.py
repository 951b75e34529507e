"""nh.calls.media: what SDP may say, and what it means to a relay."""

import pytest

from nh.calls.media import MAX_RANGE, Endpoint, Media, Side, make_media
from nh.errors import MalformedRequest


def test_each_side_is_the_others_other() -> None:
    assert Side.FROM.other is Side.TO
    assert Side.TO.other is Side.FROM


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [(Endpoint("192.0.2.1", 4000), "192.0.2.1:4000"), (Endpoint("2001:db8::1", 4000), "[2001:db8::1]:4000")],
)
def test_an_endpoint_reads_as_people_write_it(endpoint: Endpoint, text: str) -> None:
    assert str(endpoint) == text


@pytest.mark.parametrize(
    ("address", "port", "active"),
    [
        ("192.0.2.1", 4000, True),
        ("2001:db8::1", 4000, True),
        ("phone.example.org", 4000, True),
        ("192.0.2.1", 0, False),
        ("0.0.0.0", 4000, False),
        ("::", 4000, False),
        ("0.0.0.0", 0, False),
    ],
)
def test_port_0_and_the_zero_addresses_mean_inactive(address: str, port: int, active: bool) -> None:
    assert Media(address, port, 2).active is active


MANY = ["224.0.0.1", "239.255.1.2", "ff02::1", "255.255.255.255", "::ffff:239.1.1.1"]


@pytest.mark.parametrize("address", MANY)
def test_an_address_of_many_hosts_is_never_sent_to(address: str) -> None:
    medium = Media(address, 4000, 2)
    assert [medium.endpoint(0), medium.endpoint(1)] == [None, None]
    assert (medium.active, medium.multicast) == (True, True)


@pytest.mark.parametrize("address", [*MANY, "0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_nor_is_one_that_is_announced_for_rtcp_only(address: str) -> None:
    medium = Media("192.0.2.1", 4000, 2, rtcp=Endpoint(address, 4001))
    assert [medium.endpoint(0), medium.endpoint(1)] == [Endpoint("192.0.2.1", 4000), None]
    assert medium.multicast


@pytest.mark.parametrize("address", ["192.0.2.255", "2001:db8::1", "phone.example.org", "0.0.0.0"])
def test_all_others_are_of_one_host_or_of_none(address: str) -> None:
    assert not Media(address, 4000, 2).multicast


def test_components_follow_each_other_from_the_announced_port_on() -> None:
    medium = Media("192.0.2.1", 4000, 4)
    assert [medium.endpoint(offset) for offset in range(4)] == [
        Endpoint("192.0.2.1", port) for port in range(4000, 4004)
    ]


@pytest.mark.parametrize(
    ("medium", "offset"),
    [
        (Media("192.0.2.1", 0, 2), 0),
        (Media("0.0.0.0", 4000, 2), 0),
        (Media("::", 4000, 2), 1),
        (Media("phone.example.org", 4000, 2), 0),
        (Media("192.0.2.1", 65535, 2), 1),
    ],
    ids=["port 0", "0.0.0.0", "::", "a host name is never resolved", "RTCP beyond 65535"],
)
def test_what_cannot_be_sent_to_is_no_endpoint(medium: Media, offset: int) -> None:
    assert medium.endpoint(offset) is None


def test_rtcp_goes_where_it_was_announced_and_the_rest_by_the_ports() -> None:
    rtcp = Endpoint("192.0.2.9", 5000)
    medium = Media("192.0.2.1", 4000, 4, rtcp=rtcp)
    assert [medium.endpoint(offset) for offset in (0, 1, 2)] == [
        Endpoint("192.0.2.1", 4000),
        rtcp,
        Endpoint("192.0.2.1", 4002),
    ]
    assert Media("phone.example.org", 4000, 2, rtcp=rtcp).endpoint(1) == rtcp


@pytest.mark.parametrize(("address", "port"), [("0.0.0.0", 4000), ("192.0.2.1", 0)])
def test_an_inactive_medium_has_no_rtcp_either(address: str, port: int) -> None:
    assert Media(address, port, 2, rtcp=Endpoint("192.0.2.9", 5000)).endpoint(1) is None


def test_the_last_port_is_an_endpoint() -> None:
    assert Media("192.0.2.1", 65535, 2).endpoint(0) == Endpoint("192.0.2.1", 65535)


def test_an_address_of_one_link_is_no_endpoint_until_it_is_learned() -> None:
    assert Media("fe80::1", 4000, 2).endpoint(0) is None
    assert Media("fe80::1", 4000, 2, rtcp=Endpoint("2001:db8::1", 5000)).endpoint(1) is not None
    assert Media("169.254.1.1", 4000, 2).endpoint(0) is not None, "IPv4 has no zones"


@pytest.mark.parametrize("port", [-1, 65536, 10**30])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(MalformedRequest, match="port"):
        make_media(address="192.0.2.1", port=port, range_=2)


@pytest.mark.parametrize("range_", [-1, 0, MAX_RANGE + 1, 1000])
def test_a_range_out_of_range_is_refused(range_: int) -> None:
    with pytest.raises(MalformedRequest, match="range"):
        make_media(address="192.0.2.1", port=4000, range_=range_)


def test_media_keep_what_was_said() -> None:
    made = make_media(address="2001:DB8::1", port=4000, range_=4, proto="RTP/AVP", kind="audio")
    assert made == Media("2001:db8::1", 4000, 4, "RTP/AVP", "audio")
