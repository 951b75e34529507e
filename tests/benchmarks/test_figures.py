"""What a run's readings amount to."""

from pathlib import Path

import pytest

from benchmarks.figures import base_of, cpu_us, loss_percent, machine_us, ratios, spread
from benchmarks.goals import judge_goals
from benchmarks.results import KernelCalls, Level, OneWay, PeerFigures, Results, read_results
from tests.benchmarks.results_of import a_round, a_run, a_set_up


def test_a_packet_costs_what_the_relay_used_for_those_that_arrived() -> None:
    assert cpu_us([a_round(5.0), a_round(7.0, arrived=500)]) == pytest.approx([5.0, 7.0])


def test_ratios_are_those_of_the_same_round() -> None:
    assert ratios([10.0, 30.0, 8.0], [5.0, 10.0]) == [2.0, 3.0]


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert spread([]) is None


def test_the_direct_path_is_taken_off_the_whole_machine() -> None:
    level = Level(
        10, 1.0, {"direct": PeerFigures([a_round(0, 8.0)]), "nh": PeerFigures([a_round(5.0, 20.0)])}
    )
    assert machine_us(level, "nh") == pytest.approx([12.0])


def test_loss_is_of_all_rounds_together() -> None:
    assert loss_percent([a_round(arrived=1000), a_round(arrived=900)]) == 5.0


def test_several_shards_are_the_measure_where_one_cannot_be() -> None:
    assert base_of(a_run({"nh": [1.0], "nh-shards": [1.0]}).levels[0]) == "nh"
    assert base_of(a_run({"floor-c": [1.0], "nh-shards": [1.0]}).levels[0]) == "nh-shards"
    assert base_of(a_run({"floor-c": [1.0]}).levels[0]) is None


def test_goals_are_judged_only_with_figures_for_them() -> None:
    goals = judge_goals(a_run({"nh": [5.0], "rtpengine": [10.0], "floor-python": [4.0]}))
    assert [(goal.figure.split()[0], goal.met) for goal in goals] == [
        ("0.50", True),
        ("1.25", False),
        ("6.0", True),
    ]


def test_a_packets_delay_is_judged_at_the_rate_of_its_goal() -> None:
    run = a_run({"nh": [5.0], "rtpengine": [10.0]}, packets_per_s=20_000.0)
    assert [goal.what for goal in judge_goals(run)] == [
        "Resident memory per call, at 500 calls",
        "p99 of a packet in user space, at 500 calls and 20,000 packets/s",
    ]


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = a_run({"nh": [5.0, 6.0]})
    results.write(tmp_path / "new" / "results.json")
    assert read_results(tmp_path / "new" / "results.json") == results


def test_a_run_without_levels_has_no_goals() -> None:
    empty = a_run({"nh": [1.0]})
    assert judge_goals(Results(taken="", machine=empty.machine, seconds=1.0)) == []


def test_one_way_streams_and_calls_in_the_kernel_are_judged_where_they_were_measured() -> None:
    results = a_run({})
    results.levels = []
    results.one_way = OneWay(calls=5, packets_per_s=10.0, both_ways_us=[10.0, 20.0], one_way_us=[12.0, 20.0])
    results.kernel_calls = KernelCalls(
        calls=10_000, shards=3, packets_per_s=10.0, in_kernel=1.0, relay_load=0.03, looks=200, late=0
    )
    assert [(goal.figure, goal.limit, goal.met) for goal in judge_goals(results)] == [
        ("1.10 (1.00 to 1.20)", "at most 1.1", True),
        ("3.0% of a CPU", "under 2 %", False),
        ("0", "none", True),
    ]


def test_set_up_over_ng_is_judged_beside_rtpengine() -> None:
    results = a_run({})
    results.levels, results.set_ups = [], a_set_up() + a_set_up(clients=8)
    assert [(goal.figure, goal.limit, goal.met) for goal in judge_goals(results)] == [
        ("0.50 (0.50 to 1.00)", "at least 0.7", False),
        ("3.00 (2.50 to 3.00) ms", "at most 0.9 ms", False),
        ("0.50 (0.50 to 1.00)", "at least 1", False),
    ]
