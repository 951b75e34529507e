"""The account of a stream is exact, whatever happens to its packets."""

from hypothesis import given
from hypothesis import strategies as st

from tools.rtpload.streams.histogram import Histogram
from tools.rtpload.streams.stream import Account, Stream

LATENCY_NS = 1_000_000


def stream_of(sent: int) -> Stream:
    stream = Stream(7, Histogram())
    stream.sent = sent
    return stream


def account_of(sent: int, arrivals: list[int]) -> Account:
    stream = stream_of(sent)
    for number in arrivals:
        stream.take(number, LATENCY_NS)
    return stream.close()


def test_packets_in_order_are_all_received() -> None:
    assert account_of(3, [0, 1, 2]) == Account(sent=3, received=3)


def test_gaps_and_a_missing_end_are_lost() -> None:
    assert account_of(6, [0, 2, 3]) == Account(sent=6, received=3, lost=3)


def test_a_late_packet_is_reordered_and_not_lost() -> None:
    assert account_of(3, [0, 2, 1]) == Account(sent=3, received=3, reordered=1)


def test_a_packet_that_comes_twice_is_received_once() -> None:
    assert account_of(3, [0, 1, 1, 2, 0]) == Account(sent=3, received=3, duplicates=2)


def test_a_number_that_was_never_sent_is_damage() -> None:
    assert account_of(2, [0, 2, 1]) == Account(sent=2, received=2, damaged=1)


@given(st.integers(0, 60).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, max(0, n - 1))))))
def test_any_arrivals_are_accounted_for(case: tuple[int, list[int]]) -> None:
    sent, arrivals = case
    arrivals = arrivals if sent else []
    account = account_of(sent, arrivals)
    unique = set(arrivals)
    highest, reordered = -1, 0
    for index, number in enumerate(arrivals):
        if number < highest and number not in arrivals[:index]:
            reordered += 1
        highest = max(highest, number)
    assert account == Account(
        sent=sent,
        received=len(unique),
        lost=sent - len(unique),
        duplicates=len(arrivals) - len(unique),
        reordered=reordered,
    )


def test_what_is_lost_around_a_re_invite_is_kept_apart() -> None:
    stream = stream_of(3)
    stream.take(0, LATENCY_NS)
    stream.take(2, LATENCY_NS)  # 1 is lost before
    stream.sent = 5
    stream.begin_move()  # 3 and 4 are under way
    stream.sent = 8
    stream.end_move()
    stream.sent = 12
    for number in (4, 9, 10):
        stream.take(number, LATENCY_NS)
    assert stream.close() == Account(sent=12, received=5, lost=3, lost_moving=4)  # 1, 8, 11; 3, 5, 6, 7


def test_each_of_several_re_invites_excuses_only_its_own() -> None:
    stream = stream_of(0)
    for start in (10, 20, 30):
        stream.sent = start
        for number in range(start - 10, start - 1):
            stream.take(number, LATENCY_NS)  # the last before each re-INVITE is under way
        stream.begin_move()
        stream.end_move()
    stream.sent = 32
    assert stream.close() == Account(sent=32, received=27, lost=2, lost_moving=3)


def test_what_the_generator_dropped_is_not_the_relays_loss() -> None:
    stream = stream_of(10)
    assert stream.close(dropped_here=4) == Account(sent=10, lost=6, dropped_here=4)


def test_loss_without_end_is_counted_in_bounded_memory() -> None:
    stream = stream_of(100_000)
    for number in range(0, 100_000, 2):
        stream.take(number, LATENCY_NS)
    assert stream.close() == Account(sent=100_000, received=50_000, lost=50_000)


def test_a_stream_is_complete_once_everything_is_in() -> None:
    stream = stream_of(2)
    stream.take(1, LATENCY_NS)
    assert not stream.complete
    stream.take(0, LATENCY_NS)
    assert stream.complete


def test_latencies_are_counted_once_for_each_packet() -> None:
    latencies = Histogram()
    stream = Stream(1, latencies)
    stream.sent = 3
    for number, latency_ns in ((0, 1000), (0, 9000), (1, -5), (2, 2**60)):
        stream.take(number, latency_ns)
    assert latencies.total == 3


def test_jitter_follows_rfc_3550() -> None:
    stream = stream_of(4)
    expected = 0.0
    for number, (latency_ns, difference) in enumerate([(1000, None), (3000, 2000), (2000, 1000), (2000, 0)]):
        stream.take(number, latency_ns)
        if difference is not None:
            expected += (difference - expected) / 16
    assert stream.jitter_ns == expected
