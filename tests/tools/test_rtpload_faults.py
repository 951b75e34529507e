"""What a relay does wrong is reported exactly: each packet of a known fault, and no other."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.tools.lossy_relay import Fault, LossyRelay, lossy_relay
from tools.rtpload.coordinator.load import Load, Progress, run_load
from tools.rtpload.options import ControlKind, LoadOptions
from tools.rtpload.packet import Identity
from tools.rtpload.report.capacity import Limit, judge
from tools.rtpload.report.values import Report

CALLS = 3
RTP_STREAMS = 2 * CALLS


def options_of(address: str, **changes: object) -> LoadOptions:
    options = LoadOptions(
        address=address,
        control=ControlKind.NG,
        calls=CALLS,
        ramp=0,
        time_s=1,
        rtcp_interval_s=0.1,
        timeout_s=20,
    )
    return msgspec.structs.replace(options, **changes)


def load(address: str, **changes: object) -> Report:
    """A load of a second: on a busy host the number of its packets is not known."""
    return run_load(options_of(address, **changes))


def load_until(relay: LossyRelay, holds: Callable[[Load], bool], **changes: object) -> Report:
    """A load that ends when the condition holds, however long that takes."""

    def look(_: Progress) -> None:
        if holds(it):
            it.stop()

    it = Load(options_of(relay.address, time_s=60, **changes), look)
    return asyncio.run(it.run())


def load_packets(relay: LossyRelay, packets: int = 40, **changes: object) -> Report:
    """A load that ends when each stream of RTP has so many packets."""
    return load_until(relay, lambda _: relay.least_sent(RTP_STREAMS) >= packets, **changes)


def is_rtp(identity: Identity) -> bool:
    return identity.stream % 2 == 0


def test_a_relay_without_faults_has_none() -> None:
    with lossy_relay() as relay:
        report = load_packets(relay, drain_s=20)
        assert sorted(relay.deleted) == sorted(set(relay.deleted))
        assert len(relay.deleted) == CALLS
    assert report.both.sent >= RTP_STREAMS * 40
    assert report.both.received == report.both.sent
    assert report.reports is not None
    assert report.reports.account.received == report.reports.account.sent >= 2 * CALLS
    assert (report.both.lost, report.both.duplicates, report.both.reordered, report.misrouted) == (0, 0, 0, 0)
    assert report.signalled.failures == ()
    assert report.signalled.calls_incomplete == 0
    assert set(report.signalled.commands) == {"offer", "answer", "delete"}


def test_lost_packets_are_counted() -> None:
    with lossy_relay(lambda it: Fault(copies=0 if is_rtp(it) and it.number in (3, 4, 20) else 1)) as relay:
        report = load_packets(relay)
    assert report.caller.media.lost == report.callee.media.lost == 3 * CALLS
    assert report.both.loss == 3 * RTP_STREAMS / report.both.sent
    assert report.signalled.calls_incomplete == CALLS
    assert judge(report).limit in (Limit.LOSS, Limit.GENERATOR)


@pytest.mark.full
def test_lost_reports_are_no_lost_media() -> None:
    with lossy_relay(lambda it: Fault(copies=0 if not is_rtp(it) and it.number == 0 else 1)) as relay:
        report = load(relay.address)
    assert report.both.lost == 0
    assert report.reports is not None
    assert report.reports.account.lost == 2 * CALLS


@pytest.mark.full
def test_one_direction_has_its_own_account() -> None:
    with lossy_relay(lambda it: Fault(copies=0 if it.stream % 4 == 0 and it.number < 5 else 1)) as relay:
        report = load_packets(relay)
    assert report.callee.media.lost == 5 * CALLS
    assert report.caller.media.lost == 0


def test_each_lost_and_each_doubled_packet_is_listed_with_its_stream() -> None:
    copies = {3: 0, 4: 0, 20: 0, 30: 2}
    with lossy_relay(lambda it: Fault(copies=copies.get(it.number, 1) if it.stream == 2 else 1)) as relay:
        report = load_packets(relay, list_streams=True)
    assert len(report.streams) == 4 * CALLS
    [faulty] = [record for record in report.streams if record.holes or record.doubled]
    assert (faulty.call, faulty.sender, faulty.media) == (0, "callee", True)
    assert [(hole.first, hole.last) for hole in faulty.holes] == [(3, 4), (20, 20)]
    assert faulty.doubled == (30,)
    assert faulty.received == faulty.sent - 3
    assert faulty.longest is not None
    # a busy host sends and relays some packets late
    late_ns = 15e6 + (report.generator.lateness.max_ms + report.latency.max_ms) * 1e6
    assert faulty.longest.length_ns == pytest.approx(60e6, abs=late_ns)


@pytest.mark.full
def test_nothing_is_listed_unless_asked_for() -> None:
    with lossy_relay() as relay:
        assert load(relay.address).streams == ()


def test_duplicates_are_counted_and_received_once() -> None:
    with lossy_relay(lambda it: Fault(copies=3 if is_rtp(it) and it.number == 7 else 1)) as relay:
        report = load_packets(relay, drain_s=20)
    assert report.both.duplicates == 2 * RTP_STREAMS
    assert report.both.received == report.both.sent
    assert report.both.lost == 0


def test_reordered_packets_are_counted_and_not_lost() -> None:
    with lossy_relay(lambda it: Fault(behind=2 if is_rtp(it) and it.number in (5, 25) else 0)) as relay:
        report = load_packets(relay, drain_s=20)
    assert report.both.reordered == 2 * RTP_STREAMS
    assert report.both.lost == 0
    assert report.both.received == report.both.sent


@pytest.mark.full
def test_packets_at_the_wrong_phone_are_counted_there_and_lost_where_they_belong() -> None:
    with lossy_relay(lambda it: Fault(astray=is_rtp(it) and it.number == 30)) as relay:
        report = load_packets(relay)
    assert report.misrouted == RTP_STREAMS
    assert report.caller.misrouted == report.callee.misrouted == CALLS
    assert report.both.lost == RTP_STREAMS
    assert report.both.received == report.both.sent - RTP_STREAMS


def test_what_a_re_invite_costs_is_kept_apart_from_loss() -> None:
    with lossy_relay(renegotiation_s=0.2) as relay:
        report = load_until(
            relay, lambda it: it._counters.negotiations["re-invite"] >= CALLS, reinvite=1, duration="1"
        )
    assert report.signalled.renegotiations.keys() == {"re-invite"}
    assert report.both.lost == 0
    assert report.both.lost_moving > 0
    assert report.both.received + report.both.lost_moving == report.both.sent


@pytest.mark.full
def test_nothing_is_sent_on_hold() -> None:
    with lossy_relay(renegotiation_s=0) as relay:
        report = load_until(
            relay,
            lambda it: it._counters.negotiations["resume"] >= CALLS,
            hold=1,
            duration="1",
            drain_s=20,
        )
    assert report.signalled.renegotiations.keys() == {"hold", "resume"}
    assert relay.received_on_hold == 0
    assert report.both.sent > 0
    assert report.both.lost == 0


def test_calls_that_are_one_way_have_one_stream() -> None:
    with lossy_relay() as relay:
        report = load(relay.address, one_way=1)
    assert report.caller.media.sent == 0
    assert report.callee.media.sent > 0
    assert report.both.lost == 0


def test_refused_calls_are_told_with_their_reason() -> None:
    with lossy_relay() as relay:
        relay.refuse_offers = True
        report = load(relay.address)
    [failure] = report.signalled.failures
    assert (failure.what, failure.count) == ("set-up", CALLS)
    assert "Ran out of ports" in failure.reason
    assert report.both.sent == 0
    assert judge(report).limit is Limit.SETUP


@pytest.mark.full
def test_calls_that_end_are_replaced() -> None:
    with lossy_relay() as relay:
        report = load_until(
            relay, lambda it: it._counters.calls_set_up > 2 * CALLS, duration="0.2", drain_s=20
        )
        assert len(relay.deleted) == report.signalled.calls_set_up
    assert report.signalled.calls_set_up > 2 * CALLS
    assert report.both.lost == 0


@pytest.mark.full
@pytest.mark.timeout(120)
def test_requests_without_a_reply_are_sent_again() -> None:
    with lossy_relay() as relay:
        relay.ignore_first_tries = True
        report = load(relay.address, calls=1)
    assert report.signalled.calls_set_up == 1
    assert report.signalled.failures == ()


def test_a_report_is_json() -> None:
    with lossy_relay() as relay:
        report = load(relay.address)
    decoded = json.loads(report.to_json())
    assert decoded["both"]["sent"] == report.both.sent
    assert msgspec.json.decode(report.to_json(), type=Report) == report


@pytest.mark.full
def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from tools.rtpload.report.plot import plot_report  # noqa: PLC0415  needs matplotlib

    with lossy_relay() as relay:
        report = load(relay.address)
    for name in ("load.svg", "load.png"):
        plot_report(report, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
