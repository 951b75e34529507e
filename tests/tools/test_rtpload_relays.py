"""Loads through real relays: nh over each of its protocols, Perl's nathelper.pl, rtpengine in user space."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nh.errors import Unavailable
from nh.results import CallDetail, LegDetail
from nh.verdict import State, judge_call
from tests.ng.relays import running_ng_relay
from tests.profiles import quick_first
from tools.harness.other_relays import running_nathelper, running_rtpengine
from tools.harness.ports import claim_ports
from tools.harness.relay import Relay, running_relay
from tools.harness.waiting import eventually
from tools.rtpload.coordinator.load import Progress, run_load
from tools.rtpload.errors import LoadFailed
from tools.rtpload.options import ControlKind, LoadOptions
from tools.rtpload.report.values import Report
from tools.survive.background_load import background_load

PATIENCE = {"timeout_s": 20.0, "drain_s": 20.0}
"""On a busy host a relay takes its time for a command, and for the last packets of a call."""

REPORTS_TOLD = 400
"""So many packets are five reports, each about more than the 50 packets of which it should tell."""


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    with running_relay() as running:
        yield running


def load(address: str, control: ControlKind = ControlKind.NETSIP, **changes: object) -> Report:
    options = {"calls": 10, "time_s": 2.0, "ramp": 0.0, "rtcp_interval_s": 0.2, **PATIENCE, **changes}
    return run_load(LoadOptions(address=address, control=control, **options))  # type: ignore[arg-type]


def assert_everything_arrived(report: Report) -> None:
    assert report.signalled.failures == ()
    assert report.both.sent > 0
    assert report.both.received == report.both.sent
    assert report.both.lost == report.both.duplicates == report.both.damaged == report.misrouted == 0
    assert report.reports is not None
    assert report.reports.account.received == report.reports.account.sent > 0
    assert report.latency.count == report.both.received
    assert report.generator.kernel_clock


@pytest.mark.parametrize("control", quick_first([ControlKind.NETSIP, ControlKind.NATIVE]))
def test_nh_loses_nothing_of_ten_calls(relay: Relay, control: ControlKind) -> None:
    report = load(relay.unix_address, control)
    assert_everything_arrived(report)
    assert report.signalled.calls_set_up == report.signalled.calls_ended == 10
    assert set(report.signalled.commands) == {"allocate", "activate", "close"}
    assert report.signalled.commands["allocate"].count == 20
    eventually(relay.all_ports_are_free, "all ports are free")


@pytest.mark.parametrize("browsers", quick_first([False, True]))
def test_nh_says_that_the_calls_are_well_and_what_their_ends_report(browsers: bool) -> None:
    with (
        claim_ports(1) as (port,),
        running_relay(shards=1, ng=f"127.0.0.1:{port}", address="127.0.0.1") as relay,
    ):
        options = LoadOptions(
            address=f"127.0.0.1:{port}",
            control=ControlKind.NG,
            calls=2,
            ramp=0.0,
            time_s=60.0,
            packet_ms=5.0,
            rtcp_interval_s=0.3,
            srtp="AES_CM_128_HMAC_SHA1_80" if browsers else "",
            webrtc=browsers,
            video=browsers,
        )
        with background_load(options) as playing:
            playing.wait_until_up()
            eventually(lambda: all(map(_has_reports, _details(relay))), "reports have come")
            details = _details(relay)
            playing.stop()
    verdicts = [verdict for detail in details for verdict in judge_call(detail).verdicts]
    assert len(verdicts) == (8 if browsers else 4)
    assert [verdict for verdict in verdicts if verdict.state is not State.OK] == []
    for stream in (stream for detail in details for leg in _media_legs(detail) for stream in leg.streams):
        assert stream.reported_loss == 0
        assert stream.round_trip_ms is not None
        assert 0 <= stream.round_trip_ms < 1000


def _details(relay: Relay) -> list[CallDetail]:
    return [relay.call(each.call_id) for each in relay.calls().calls]


def _media_legs(detail: CallDetail) -> list[LegDetail]:
    pairs = [pair for session in detail.sessions for pair in session.pairs if pair.component == 0]
    return [leg for pair in pairs for leg in (pair.from_, pair.to)]


def _has_reports(detail: CallDetail) -> bool:
    """Whether both ends have told what they hear, and enough has come for them to look deaf otherwise."""
    legs = _media_legs(detail)
    return all(
        leg.streams
        and leg.packets > REPORTS_TOLD
        and leg.streams[0].reported_loss is not None
        and leg.streams[0].round_trip_ms is not None
        for leg in legs
    )


def test_nh_keeps_calls_through_re_invites_holds_and_ends(relay: Relay) -> None:
    changes = {"duration": "uniform:0.5-1.5", "hold": 0.3, "reinvite": 0.4, "one_way": 0.2, "jitter_ms": 5.0}
    report = load(relay.tcp_address, ControlKind.NATIVE, **changes)
    assert_everything_arrived(report)
    assert report.signalled.calls_set_up > 10
    assert report.both.lost_moving == 0
    eventually(relay.all_ports_are_free, "all ports are free")


def test_forked_and_hunting_calls_are_heard_whatever_loses() -> None:
    with running_ng_relay("nh") as relay:
        report = load("{}:{}".format(*relay.address), ControlKind.NG, calls=4, forks=5, reinvite=0.5)
        assert_everything_arrived(report)
        assert report.signalled.commands["offer"].count >= 4 * 6


def test_callees_with_srtp_and_plain_callers_lose_nothing_through_re_invites() -> None:
    with running_ng_relay("nh") as relay:
        report = load(
            "{}:{}".format(*relay.address),
            ControlKind.NG,
            srtp="AEAD_AES_128_GCM",
            duration="uniform:0.5-1.5",
            reinvite=0.5,
        )
        assert_everything_arrived(report)


@pytest.mark.parametrize("together", quick_first([True, False]))
def test_browsers_and_plain_callers_lose_nothing_through_re_invites(together: bool) -> None:
    with running_ng_relay("nh") as relay:
        report = load(
            "{}:{}".format(*relay.address),
            ControlKind.NG,
            srtp="AEAD_AES_128_GCM",
            webrtc=True,
            video=together,
            handshakes_at_once=together,
            duration="uniform:0.5-1.5",
            reinvite=0.5,
        )
    assert_everything_arrived(report)
    assert report.signalled.commands["handshake"].count == report.signalled.calls_set_up >= 10
    assert report.browsers is not None
    assert report.browsers.checks >= report.browsers.answered >= report.signalled.calls_set_up


@pytest.mark.full
def test_media_can_go_over_ipv6(relay: Relay) -> None:
    assert_everything_arrived(load(relay.unix_address, ipv6=True, codec="g729"))


@pytest.mark.full
def test_calls_are_dealt_out_to_several_workers(relay: Relay) -> None:
    report = load(relay.unix_address, processes=2, rtcp_interval_s=0.1)
    assert_everything_arrived(report)
    assert len(report.generator.cpu_s) == report.generator.workers == 2


@pytest.mark.full
def test_without_rtcp_there_are_no_reports(relay: Relay) -> None:
    report = load(relay.unix_address, rtcp=False)
    assert report.reports is None
    assert report.both.received == report.both.sent > 0


@pytest.mark.full
def test_the_relays_processes_are_found_and_measured(relay: Relay) -> None:
    report = load(relay.unix_address, relay_pid="auto", time_s=3.5)
    assert report.relay is not None
    assert report.relay.pid == relay.program.pid
    assert report.relay.processes == 1 + len(psutil.Process(relay.program.pid).children())
    assert report.relay.memory_bytes >= report.relay.memory_before_bytes > 2**20
    assert report.full_load is not None
    assert report.full_load.sent_per_s > 0
    assert any(moment.relay_cpus is not None for moment in report.timeline)


@pytest.mark.full
def test_progress_is_told(relay: Relay) -> None:
    seen: list[Progress] = []
    run_load(LoadOptions(address=relay.unix_address, calls=4, time_s=1.5), seen.append)
    assert max(progress.calls_up for progress in seen) == 4
    assert {"load"} <= {progress.phase for progress in seen}


@pytest.mark.full
def test_phones_without_a_relay_hear_each_other() -> None:
    assert_everything_arrived(load("", ControlKind.DIRECT))


@pytest.mark.full
def test_the_ports_of_the_relay_may_run_out() -> None:
    with running_relay(shards=1, ports=20) as small:
        report = load(small.unix_address, ControlKind.NATIVE, signallers=1)
        eventually(small.all_ports_are_free, "all ports are free")
    assert report.signalled.calls_set_up == 5
    [failure] = report.signalled.failures
    assert (failure.what, failure.count) == ("set-up", 5)
    assert report.both.lost == 0


def test_a_relay_that_is_not_there_ends_the_load_at_once(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nh run"):
        load(str(tmp_path / "nh.sock"))
    with pytest.raises(LoadFailed, match="no nh runs"):
        load(str(tmp_path / "nh.sock"), relay_pid="auto")
    with pytest.raises(LoadFailed, match="no process"):
        load(str(tmp_path / "nh.sock"), relay_pid=str(2**22 + 1))


def test_phones_that_cannot_be_opened_are_told(relay: Relay) -> None:
    report = load(relay.unix_address, phone_addresses=("192.0.2.1",), calls=2)
    [failure] = report.signalled.failures
    assert failure.what == "phones"
    assert "192.0.2.1" in failure.reason


@pytest.mark.full
@pytest.mark.perl
def test_nathelper_pl_loses_nothing_of_ten_calls() -> None:
    with claim_ports(1) as [port], running_nathelper(port):
        assert_everything_arrived(load(f"127.0.0.1:{port}"))


@pytest.mark.skipif(
    shutil.which("rtpengine") is None, reason="needs rtpengine: apt-get install rtpengine-daemon"
)
def test_rtpengine_loses_nothing_of_ten_calls() -> None:
    with claim_ports(101) as ports:
        address = f"127.0.0.1:{ports[-1]}"
        with running_rtpengine(address, ports[:-1], ["127.0.0.1"]):
            report = load(address, ControlKind.NG, hold=0.2, reinvite=0.2)
    assert_everything_arrived(report)
    assert set(report.signalled.commands) == {"offer", "answer", "delete"}
