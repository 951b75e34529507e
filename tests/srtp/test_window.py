"""The window: which indexes of a stream are new, beside a set of all that have been seen."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from nh.srtp.window import CHECKPOINT_PACKETS, MAX_INDEX, WINDOW_PACKETS, PacketWindow
from tests.profiles import examples

starts = st.one_of(
    st.integers(0, 65_535),
    st.integers(1, 4).map(lambda times: times * CHECKPOINT_PACKETS - 3),
    st.just(MAX_INDEX - 40),
)
runs = st.one_of(st.integers(1, 5), st.integers(100, 300))
steps = st.lists(st.tuples(runs, st.integers(-160, 160)), max_size=6)


def note(window: PacketWindow, index: int) -> bool:
    """Note a packet as the two ends of SRTP do; returns whether a successor has to know."""
    if index == window.highest + 1 and index < window.border:
        window.highest = index
        return False
    return window.note(index)


@settings(deadline=None, max_examples=examples(200))
@example(start=1, steps=[(1, -2)])  # a late packet is the stream's first number
@example(start=0, steps=[(1, 160), (1, -1), (1, -3)])  # the packet after a gap of a window comes twice
@example(start=CHECKPOINT_PACKETS - 3, steps=[(5, 0)])  # a run crosses what a successor has to know
@given(start=starts, steps=steps)
def test_an_index_is_new_unless_it_was_seen_or_is_far_behind(
    start: int, steps: list[tuple[int, int]]
) -> None:
    window, seen, highest = PacketWindow(), {start}, start
    note(window, start)
    for run, jump in steps:
        for index in [*range(highest + 1, highest + 1 + run), highest + run + jump]:
            expected = index not in seen and max(0, highest - WINDOW_PACKETS + 1) <= index <= MAX_INDEX
            assert window.is_new(index) is expected
            if expected:
                crosses = index > highest and index // CHECKPOINT_PACKETS != highest // CHECKPOINT_PACKETS
                assert note(window, index) is crosses
                seen.add(index)
                highest = max(highest, index)
        assert window.highest == highest
        assert window.estimate(highest & 0xFFFF) == highest


@given(start=starts, run=runs)
def test_a_successor_knows_a_run_of_packets_in_order(start: int, run: int) -> None:
    window = PacketWindow()
    for index in range(start, min(start + run, MAX_INDEX) + 1):
        note(window, index)
    successor = PacketWindow(window.highest, window.seen, restored=True)
    for index in range(window.highest - 200, window.highest + 3):
        assert successor.is_new(index) is window.is_new(index)
