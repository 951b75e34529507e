"""A short run from the command line: everything starts, packets arrive, nothing is left behind."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.__main__ import main
from benchmarks.kernel_calls import measure_kernel_calls
from benchmarks.one_way import measure_one_way
from benchmarks.peers.direct import Direct
from benchmarks.peers.interface import NotHere, Peer
from benchmarks.results import read_results
from benchmarks.set_up import measure_set_ups
from benchmarks.suite import Plan, Suite, make_levels
from tools.harness.ports import claim_ports


def _not_here() -> Peer:
    raise NotHere("it is not installed")


@pytest.fixture
def own_ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """nh with few ports, instead of all that relays of other tests have, too."""
    with claim_ports(400) as ports:
        monkeypatch.setattr("benchmarks.peers.nh.PORTS", ports)
        yield


@pytest.fixture
def no_children_left() -> Iterator[None]:
    """The test leaves no processes behind beside those that it found."""
    found = set(psutil.Process().children())
    yield
    assert set(psutil.Process().children()) <= found


@pytest.mark.full
@pytest.mark.usefixtures("own_ports", "no_children_left")
def test_a_quick_run_has_figures_of_two_floors_and_of_two_of_nh_side_by_side(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    file = tmp_path / "results.json"
    names = ["direct", "floor-python", "floor-python-coalesced", "nh", "nh-at-once"]
    assert main(["--quick", "--peers", ",".join(names), "--json", str(file)]) == 0
    [level] = read_results(file).levels
    assert (level.calls, list(level.peers)) == (10, names)
    assert all(peer.rounds[0].arrived > 0 for peer in level.peers.values())
    assert level.peers["nh"].rounds[0].relay_cpu_s > 0
    assert os.sched_getaffinity(0) == before


@pytest.mark.full
@pytest.mark.usefixtures("no_children_left")
def test_set_up_over_ng_has_figures_of_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with claim_ports(400) as ports, claim_ports(400) as others:
        monkeypatch.setattr("benchmarks.peers.ng_relays.NH_PORTS", ports)
        monkeypatch.setattr("benchmarks.peers.ng_relays.RTPENGINE_PORTS", others)
        monkeypatch.setattr("benchmarks.set_up.WARM_UP", 1)
        set_ups = measure_set_ups(rounds=1, calls=8)
    assert [found.clients for found in set_ups] == [1, 8]
    for found in set_ups:
        [nh] = found.peers["nh"]
        assert nh.calls == 8
        assert min(nh.cpu_s["supervisor"], nh.cpu_s["shards"]) > 0
        assert ("rtpengine" in found.peers) == (shutil.which("rtpengine") is not None)


@pytest.mark.full
@pytest.mark.usefixtures("own_ports", "no_children_left")
def test_calls_whose_callees_never_send_are_measured_beside_others() -> None:
    found = measure_one_way(10, rounds=1, seconds=0.2)
    assert min(*found.both_ways_us, *found.one_way_us) > 0


@pytest.mark.full
@pytest.mark.kernel
@pytest.mark.usefixtures("own_ports", "no_children_left")
def test_calls_in_the_kernel_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.kernel_calls.PACKETS_PER_S", 200.0)
    monkeypatch.setattr("benchmarks.kernel_calls.SETTLE_S", 0.0)
    found = measure_kernel_calls(10, seconds=1.0)
    assert found.in_kernel > 0.5
    assert found.relay_load > 0


def test_a_peer_that_is_not_installed_is_skipped_by_name() -> None:
    plan = Plan({"absent": _not_here, "direct": Direct}, [(2, 1000.0)], rounds=1, seconds=0.05)
    lines: list[str] = []
    with Suite(plan, lines.append) as suite:
        results = suite.run()
    assert [(each.peer, each.calls, each.reason) for each in results.skipped] == [
        ("absent", 0, "it is not installed")
    ]
    assert "absent: skipped: it is not installed" in lines
    assert results.levels[0].peers["direct"].rounds[0].arrived == 52, "13 packets of each of four streams"


@pytest.mark.full
def test_a_peer_drops_out_where_it_cannot_have_as_many_calls() -> None:
    small = Direct()
    small.max_calls, small.why_not_more = 3, "it is small"
    plan = Plan(
        {"small": lambda: small, "direct": Direct}, [(3, 1000.0), (4, 1000.0)], rounds=1, seconds=0.05
    )
    with Suite(plan, lambda _: None) as suite:
        results = suite.run()
    assert [list(level.peers) for level in results.levels] == [["small", "direct"], ["direct"]]
    assert [(each.peer, each.calls, each.reason) for each in results.skipped] == [("small", 4, "it is small")]


def test_real_calls_have_a_hundred_packets_a_second() -> None:
    assert make_levels([500, 100], [100, 200], 20_000) == [
        (100, 10_000),
        (100, 20_000),
        (200, 20_000),
        (500, 20_000),
    ]


def test_levels_of_their_own_have_their_own_rate() -> None:
    assert make_levels([500, 100], [], 20_000, [(500, 30_000)]) == [
        (100, 20_000),
        (500, 20_000),
        (500, 30_000),
    ]


def test_a_level_that_is_none_is_refused_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--level", "500"])
    assert "'500' is no list of CALLS@PACKETS_PER_S, such as 500@30000" in capsys.readouterr().err


def test_an_unknown_peer_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--peers", "asterisk"])
    assert "'asterisk' is none of direct, floor-c" in capsys.readouterr().err
