"""The simulation of relays that share a server of Valkey's protocol."""

import math
from pathlib import Path

import msgspec
import pytest

import nh
from benchmarks.store_costs import load
from benchmarks.store_plan import tables
from benchmarks.store_simulation import Scenario, rates, refreshes_a_second, simulate

PAGE = Path(nh.__file__).parent.parent / "docs" / "explanation" / "scale.md"
COSTS = load()
ONE = Scenario(1, 10_000, seconds=20)


@pytest.mark.parametrize(
    ("calls", "refreshes"), [(100, 10), (200, 20), (201, 10.05), (1250, 15.625), (1600, 20)]
)
def test_a_shard_refreshes_at_most_twenty_snapshots_a_second(calls: int, refreshes: float) -> None:
    assert refreshes_a_second(calls) == pytest.approx(refreshes)


def test_what_changes_is_what_is_written() -> None:
    expected = rates(ONE)
    outcome = simulate(ONE, COSTS)
    assert outcome.written == pytest.approx(expected.stored + expected.removed, rel=0.1)


def test_the_server_works_as_much_as_its_steps_cost() -> None:
    scenario = msgspec.structs.replace(ONE, standbys=0)
    outcome = simulate(scenario, COSTS)
    writes_us = 10 * COSTS.write_us + outcome.written * COSTS.write_call_us
    reads_us = (10_000 * COSTS.read_call_us + 10 * COSTS.read_us) / 20  # at most once in five minutes
    least_us = COSTS.idle_us + writes_us
    assert 0.9 * least_us < outcome.busy * 1e6 < 1.1 * (least_us + reads_us)


def test_ten_relays_are_ten_times_the_work_and_a_standby_is_more() -> None:
    def busy(hosts: int, standbys: int) -> float:
        scenario = Scenario(hosts, hosts * 10_000, standbys=standbys, seconds=20)
        return simulate(scenario, COSTS).busy - COSTS.idle_us / 1e6

    assert busy(10, 0) == pytest.approx(10 * busy(1, 0), rel=0.2)
    assert busy(10, 1) > 1.1 * busy(10, 0)


def test_a_server_that_is_too_slow_lets_changes_and_leases_wait() -> None:
    slow = msgspec.structs.replace(COSTS, write_call_us=3000)
    good, bad = simulate(ONE, COSTS), simulate(ONE, slow)
    assert good.lag_s < 1 < bad.lag_s
    assert good.lease_gap_s < 1 < bad.lease_gap_s


def test_all_calls_are_read_by_a_standby_and_written_after_a_loss() -> None:
    read = simulate(msgspec.structs.replace(ONE, fault="host"), COSTS).repaired_s
    assert read > 10_000 * (COSTS.read_call_us + COSTS.own_read_call_us) / 1e6
    written = simulate(msgspec.structs.replace(ONE, fault="data"), COSTS).repaired_s
    assert written > 10_000 * (COSTS.write_call_us + COSTS.own_call_us) / 1e6
    assert max(read, written) < 5
    late = msgspec.structs.replace(ONE, fault="data", seconds=0.2)
    assert simulate(late, COSTS).repaired_s == math.inf, "longer than was simulated"


@pytest.mark.full  # 5 s of CPU
def test_the_page_has_the_tables_of_the_costs_that_were_measured() -> None:
    assert tables(COSTS) in PAGE.read_text()
