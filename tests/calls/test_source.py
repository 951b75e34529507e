"""nh.calls.source: how well a packet's source matches what SDP announced."""

import pytest

from nh.calls.media import Endpoint
from nh.calls.source import Rank, rank

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


def test_ranks_are_in_order() -> None:
    assert Rank.EXACT > Rank.SAME_IP > Rank.SAME_PORT > Rank.ANY
