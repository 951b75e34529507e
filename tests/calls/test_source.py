"""nh.calls.latching.source: how well a packet's source matches what SDP announced."""

import pytest

from nh.calls.latching.source import Rank, rank
from nh.calls.media import Endpoint

ANNOUNCED = Endpoint("198.51.100.1", 4000)


@pytest.mark.parametrize(
    ("source", "how"),
    [
        (Endpoint("198.51.100.1", 4000), Rank.EXACT),
        (Endpoint("198.51.100.1", 5000), Rank.SAME_IP),
        (Endpoint("203.0.113.9", 4000), Rank.SAME_PORT),
        (Endpoint("203.0.113.9", 5000), Rank.ANY),
        (Endpoint("2001:db8::1", 4000), Rank.SAME_PORT),
    ],
)
def test_address_and_port_rank_before_ip_before_port_before_any(source: Endpoint, how: Rank) -> None:
    assert rank(source, ANNOUNCED) is how


def test_where_nothing_was_announced_any_source_is_as_good_as_any_other() -> None:
    assert rank(ANNOUNCED, None) is Rank.ANY


def test_where_the_signalling_came_from_ranks_behind_the_announced_ip_and_before_its_port() -> None:
    nat = "203.0.113.9"
    assert rank(Endpoint(nat, 4000), ANNOUNCED, nat) is Rank.SIGNALLED_FROM
    assert rank(Endpoint(nat, 5000), ANNOUNCED, nat) is Rank.SIGNALLED_FROM
    assert rank(Endpoint(nat, 5000), None, nat) is Rank.SIGNALLED_FROM
    assert rank(Endpoint(ANNOUNCED.address, 5000), ANNOUNCED, ANNOUNCED.address) is Rank.SAME_IP
    assert rank(Endpoint("203.0.113.10", 4000), ANNOUNCED, nat) is Rank.SAME_PORT


def test_ranks_are_in_order() -> None:
    assert Rank.EXACT > Rank.SAME_IP > Rank.SIGNALLED_FROM > Rank.SAME_PORT > Rank.ANY
