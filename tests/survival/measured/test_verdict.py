"""The verdict over faults: what is allowed, what is not, and to which stream it is put down."""

import pytest

from tools.rtpload.streams.record import Gap, Hole, StreamRecord
from tools.survive.faults import FaultKind, Injected
from tools.survive.limits import counters_stay
from tools.survive.verdict import Verdict

S = 1_000_000_000
HANG_S = 0.5


def record(
    *,
    holes: tuple[Hole, ...] = (),
    doubled: tuple[int, ...] = (),
    gaps: tuple[Gap, ...] = (),
    dropped: int = 0,
    media: bool = True,
    sent: int = 500,
) -> StreamRecord:
    lost = sum(hole.packets for hole in holes)
    return StreamRecord(
        call=3,
        sender="callee",
        media=media,
        sent=sent,
        received=sent - lost,
        dropped_here=dropped,
        holes=holes,
        doubled=doubled,
        longest=max(gaps, key=lambda gap: gap.length_ns, default=None),
        gaps=gaps,
    )


def fault(kind: FaultKind, *, began_s: float = 10.0, over_s: float = 10.2, started_s: float = 0) -> Injected:
    return Injected(kind, int(began_s * S), int(over_s * S), int(started_s * S), "shard 0")


def judge(
    kind: FaultKind,
    told: StreamRecord,
    *,
    kernel: bool = False,
    started_s: float = 0,
    patience_s: float = 0,
) -> list[str]:
    verdict = Verdict([fault(kind, started_s=started_s)], kernel=kernel, hang_s=HANG_S, patience_s=patience_s)
    return list(verdict.findings([told]))


def gap(began_s: float, length_s: float) -> tuple[Gap, ...]:
    return (Gap(int(began_s * S), int(length_s * S)),)


def test_a_whole_stream_is_no_finding() -> None:
    assert judge(FaultKind.KILL_SHARD, record()) == []


def test_a_lost_packet_is_told_with_its_number_and_its_time() -> None:
    [line] = judge(FaultKind.KILL_SHARD, record(holes=(Hole(7, 8, int(10.05 * S)),)))
    assert line == "call 3, RTP of its callee: 2 of 500 packets lost: 7 to 8 (+50 ms from kill-shard)"


def test_what_the_generator_itself_dropped_is_no_loss() -> None:
    assert judge(FaultKind.KILL_SHARD, record(holes=(Hole(7, 8, 10 * S),), dropped=2)) == []


@pytest.mark.parametrize(("sent", "findings"), [(70, 0), (80, 1)])
def test_a_stream_may_be_lost_whole_if_it_is_no_longer_than_nh_was_away(sent: int, findings: int) -> None:
    told = record(holes=(Hole(0, sent - 1, 0),), sent=sent)
    assert len(judge(FaultKind.KILL_ALL, told, started_s=10.0)) == findings
    assert len(judge(FaultKind.KILL_SHARD, told)) == 1


@pytest.mark.parametrize(
    ("kernel", "media", "findings"), [(False, True, 0), (False, False, 0), (True, False, 0), (True, True, 1)]
)
def test_a_killed_shard_may_lose_one_packet_that_it_had_in_hand_and_no_rtp_of_the_kernel(
    kernel: bool, media: bool, findings: int
) -> None:
    one = record(holes=(Hole(7, 7, 10 * S),), media=media)
    two = record(holes=(Hole(7, 8, 10 * S),), media=media)
    assert len(judge(FaultKind.KILL_SHARD, one, kernel=kernel)) == findings
    assert len(judge(FaultKind.KILL_SHARD, two, kernel=kernel)) == 1
    assert len(judge(FaultKind.HANG_SHARD, one, kernel=kernel)) == findings
    assert len(judge(FaultKind.UPGRADE, one, kernel=kernel)) == 1


@pytest.mark.parametrize(
    ("kind", "user_space", "kernel"),
    [
        (FaultKind.NONE, True, True),
        (FaultKind.UPGRADE, True, True),
        (FaultKind.KILL_SUPERVISOR, True, True),
        (FaultKind.KILL_SHARD, False, True),
        (FaultKind.HANG_SHARD, False, True),
        (FaultKind.KILL_ALL, False, False),
    ],
)
def test_counters_go_back_only_where_the_process_that_counted_was_killed(
    kind: FaultKind, user_space: bool, kernel: bool
) -> None:
    assert counters_stay(kind, kernel=False) is user_space
    assert counters_stay(kind, kernel=True) is kernel


@pytest.mark.parametrize("kind", FaultKind)
def test_no_fault_excuses_a_doubled_packet(kind: FaultKind) -> None:
    [line] = judge(kind, record(doubled=(4, 9)))
    assert line.endswith("2 packets came twice: 4, 9")


@pytest.mark.parametrize(
    ("kind", "kernel", "allowed_s"),
    [
        (FaultKind.KILL_SHARD, False, 0.3),
        (FaultKind.KILL_SHARD_TEN_TIMES, False, 0.3),
        (FaultKind.HANG_SHARD, False, HANG_S + 0.3),
        (FaultKind.NONE, False, 0.25),
        (FaultKind.KILL_SHARD, True, 0.06),
        (FaultKind.HANG_SHARD, True, 0.06),
    ],
)
def test_gaps_are_as_long_as_promised(kind: FaultKind, kernel: bool, allowed_s: float) -> None:
    assert judge(kind, record(gaps=gap(10.01, allowed_s - 0.005)), kernel=kernel) == []
    assert len(judge(kind, record(gaps=gap(10.01, allowed_s + 0.005)), kernel=kernel)) == 1


def test_a_gap_long_before_a_fault_is_not_its_gap() -> None:
    assert len(judge(FaultKind.KILL_SHARD, record(gaps=gap(5, 0.28)))) == 1


@pytest.mark.parametrize("kind", [FaultKind.KILL_ALL, FaultKind.RESTART])
def test_where_everything_stopped_packets_are_lost_until_it_is_back_and_no_longer(kind: FaultKind) -> None:
    started_s = 10.5
    in_time = record(holes=(Hole(1, 40, 10 * S),), gaps=gap(9.99, 1.9))
    assert judge(kind, in_time, started_s=started_s) == []
    assert len(judge(kind, record(holes=(Hole(1, 1, int(9.5 * S)),)), started_s=started_s)) == 1
    assert len(judge(kind, record(holes=(Hole(1, 1, 13 * S),)), started_s=started_s)) == 1
    assert len(judge(kind, record(gaps=gap(9.99, 2.2)), started_s=started_s)) == 1


def test_what_waited_at_a_busy_host_is_lost_with_it_and_nothing_that_was_sent_before() -> None:
    waited, earlier = record(holes=(Hole(1, 40, int(9.8 * S)),)), record(holes=(Hole(1, 9, int(9.8 * S)),))
    for told, patience_s, findings in ((waited, 0.3, 0), (waited, 0.1, 1), (waited, 0, 1), (earlier, 0.3, 1)):
        assert len(judge(FaultKind.KILL_ALL, told, started_s=10.5, patience_s=patience_s)) == findings
