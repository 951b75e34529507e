"""How steadily the CPU of the relays ran."""

from benchmarks.markdown import write_markdown
from benchmarks.steadiness import Span, Steadiness, judge_steadiness, measure_steadiness
from tests.benchmarks.results_of import a_run


def spans_of(*lengths_s: float) -> list[Span]:
    """One behind the other."""
    spans, end = [], 0.0
    for length_s in lengths_s:
        spans.append((end, end + length_s))
        end += length_s
    return spans


def test_work_that_takes_as_long_each_time_was_not_slowed() -> None:
    steadiness = judge_steadiness(spans_of(1.0, 1.5, 1.0, 1.5))
    assert steadiness == Steadiness(measured_s=5.0, slow_percent=0.0, longest_ms=0.0)


def test_slow_work_is_a_part_of_the_time_and_the_longest_is_without_a_pause() -> None:
    usual = [1.0] * 6
    steadiness = judge_steadiness(spans_of(*usual, 3.0, 4.0, 1.0, 5.0, 1.0))
    assert steadiness == Steadiness(measured_s=20.0, slow_percent=60.0, longest_ms=7000.0)


def test_a_single_span_is_usual() -> None:
    assert judge_steadiness(spans_of(1.0)).slow_percent == 0


def test_the_work_is_done_for_as_long_as_asked() -> None:
    steadiness = measure_steadiness(0, 0.02)
    assert steadiness.measured_s >= 0.02
    assert 0 <= steadiness.slow_percent <= 100
    assert steadiness.longest_ms <= 1000 * steadiness.measured_s


def test_the_tables_say_what_the_host_took() -> None:
    results = a_run({"nh": [5.0]})
    assert "slowed" not in write_markdown(results)
    results.steadiness = Steadiness(6.0, 3.42, 98.3)
    assert "less than half its speed in 3.42 %\nof 6 s, for 98.3 ms at most." in write_markdown(results)
