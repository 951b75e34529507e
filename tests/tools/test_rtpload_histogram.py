"""Durations by bucket: nothing is lost, and percentiles are right to within a bucket."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tools.rtpload.streams.histogram import BUCKETS, MAX_NS, Histogram, bucket_of, highest_in

durations = st.one_of(st.integers(0, 1000), st.integers(0, 10**8), st.integers(0, MAX_NS))


@given(durations)
def test_each_duration_is_in_a_bucket_less_than_a_percent_wide(value_ns: int) -> None:
    bucket = bucket_of(value_ns)
    assert 0 <= bucket < BUCKETS
    lowest = highest_in(bucket - 1) + 1 if bucket else 0
    assert lowest <= value_ns <= highest_in(bucket)
    assert highest_in(bucket) - lowest <= value_ns / 100


@given(st.lists(durations, min_size=1, max_size=200), st.floats(0.1, 100))
def test_percentiles_are_those_of_the_sorted_durations(values: list[int], percent: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[math.ceil(len(values) * percent / 100) - 1]
    assert exact <= histogram.percentile(percent) <= exact * 1.01


@given(st.lists(durations), st.lists(durations))
def test_merged_histograms_are_as_one_of_everything(first: list[int], second: list[int]) -> None:
    together, one, other = Histogram(), Histogram(), Histogram()
    for value in first:
        together.record(value)
        one.record(value)
    for value in second:
        together.record(value)
        other.record(value)
    one.merge(other.filled())
    assert one.filled() == together.filled()
    assert one.total == len(first) + len(second)


def test_an_empty_histogram_has_zeros() -> None:
    assert Histogram().percentiles([50, 99]) == [0, 0]
    assert Histogram().mean == 0


def test_what_is_out_of_range_counts_as_the_nearest_that_is_not() -> None:
    histogram = Histogram()
    histogram.record(-5)
    histogram.record(MAX_NS * 10)
    assert histogram.filled() == {0: 1, BUCKETS - 1: 1}


def test_clearing_keeps_the_list_that_others_hold() -> None:
    histogram = Histogram({3: 4})
    counts = histogram.counts
    histogram.clear()
    assert counts is histogram.counts
    assert not any(counts)
