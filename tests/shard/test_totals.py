"""nh.shard.media.totals: totals that add up."""

from hypothesis import given
from hypothesis import strategies as st

from nh.calls.drop import Drop
from nh.shard.media.totals import TrafficTotals

SIZES = st.integers(0, 65_507)


@given(st.lists(SIZES), st.lists(st.tuples(st.sampled_from(Drop), SIZES)))
def test_what_came_in_went_out_or_was_dropped(passed: list[int], dropped: list[tuple[Drop, int]]) -> None:
    traffic = TrafficTotals()
    traffic.received_packets, traffic.received_bytes = len(passed), sum(passed)
    for reason, size in dropped:
        traffic.drop(reason, size)
        if reason.admitted:
            traffic.received_packets += 1  # the leg took it before it could not be sent
            traffic.received_bytes += size
    assert traffic.packets_in == len(passed) + len(dropped)
    assert traffic.bytes_in == sum(passed) + sum(size for _, size in dropped)
    assert traffic.packets_out == len(passed)
    assert traffic.bytes_out == sum(passed)
    assert traffic.packets_in == traffic.packets_out + sum(traffic.drops)
