"""nh.supervisor.dispatch: who is asked, and what becomes of many answers."""

from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import nh
from nh import commands
from nh.calls.call_event import NO_CLIENT, Client
from nh.calls.media import Side
from nh.commands import (
    Activate,
    Allocate,
    Answer,
    BlockMedia,
    CallOrder,
    Close,
    CloseCall,
    Command,
    Delete,
    DeleteAll,
    Extension,
    GetStats,
    ListCalls,
    Offer,
    OfferOptions,
    Ping,
    Query,
    RelayCommand,
    ShowCall,
)
from nh.errors import Refused
from nh.logs.settings import LogLevel
from nh.results import (
    CallList,
    CallSummary,
    Closed,
    Demoting,
    DrainState,
    Failure,
    LogState,
    Pong,
    RelayResult,
    Reloaded,
    Result,
    Stats,
    Upgrading,
)
from nh.rpc.events import RequestOrigin
from nh.stats import StatsReader, SupervisorStats, create_segment, segment_name
from nh.supervisor.dispatch import Dispatcher, merge_pages
from nh.supervisor.reload import Reloader
from nh.supervisor.shards.drain import DrainPolicy
from nh.supervisor.shards.routing import ShardMap, shard_of
from tests.rpc.frontend_testbed import key
from tests.supervisor.fake_slots import slots_that_are_up
from tests.supervisor.manual_loop import ManualLoop

SHARDS = 3


class FakeReloader:
    def reload(self) -> Reloaded:
        return Reloaded(("silent_s",), ("shards",))

    def set_log(self, level: LogLevel | None, area: str) -> LogState:
        if area == "weather":
            raise Refused("the log has no area 'weather'")
        return LogState(level or LogLevel.INFO, {})


class PlayedShard:
    """A shard that the test plays."""

    def __init__(self, number: int, testbed: "DispatchTestbed") -> None:
        self.number = number
        self.testbed = testbed

    def execute(
        self,
        command: RelayCommand,
        answer: Callable[[RelayResult], None],
        client: Client,
        sender: Hashable,
    ) -> None:
        self.testbed.asked.append((self.number, command, answer))
        self.testbed.clients.append(client)
        self.testbed.senders.append(sender)


class DispatchTestbed:
    """A dispatcher over shards that the test plays: what was asked waits in `asked`."""

    def __init__(self, reader: StatsReader) -> None:
        self.asked: list[tuple[int, RelayCommand, Callable[[RelayResult], None]]] = []
        self.clients: list[Client] = []
        self.senders: list[Hashable] = []
        self.results: list[Result] = []
        self.stats = SupervisorStats()
        loop = ManualLoop()
        self.slots = slots_that_are_up(loop, self.stats.shards[:SHARDS])
        self.drain = DrainPolicy(loop, self.slots, stats=self.stats, on_over=lambda why: None)
        self.dispatch = Dispatcher(
            [PlayedShard(number, self) for number in range(SHARDS)],
            find_shard=ShardMap(SHARDS).find,
            reader=reader,
            stats=self.stats,
            drain=self.drain,
            reloader=cast(Reloader, FakeReloader()),
            upgrade=lambda shards, reply: reply(Upgrading(f"{shards} shards")),
            demote=lambda command, reply: reply(Demoting(command.to, 1)),
        )

    def order(self, command: Command) -> None:
        self.dispatch(command, self.results.append, RequestOrigin("ng", "192.0.2.5:2223"))


@pytest.fixture
def testbed(tmp_path: Path) -> Iterator[DispatchTestbed]:
    segment = create_segment(segment_name(tmp_path), SHARDS)
    yield DispatchTestbed(StatsReader(segment))
    segment.unlink()
    segment.close()


def summary(call_id: bytes, shard: int = 0) -> CallSummary:
    return CallSummary(call_id, shard, 0.0, 0.0, 0, 0, 0, 0)


@pytest.mark.parametrize("call_id", [b"a", b"b\0\xff", b"c" * 10_000])
def test_everything_about_a_call_goes_to_its_shard(testbed: DispatchTestbed, call_id: bytes) -> None:
    about_it: list[Command] = [
        Allocate(key(call_id), Side.FROM, "127.0.0.1", ()),
        Activate(key(call_id)),
        Close(key(call_id)),
        CloseCall(call_id),
        ShowCall(call_id),
        Offer(call_id, b"a", b"", b"", b"v=0", OfferOptions()),
        Answer(call_id, b"a", b"b", b"", b"v=0", OfferOptions()),
        Delete(call_id),
        Query(call_id),
        BlockMedia(call_id, b"", True),
    ]
    for command in about_it:
        testbed.order(command)
    assert [command for _, command, _ in testbed.asked] == about_it
    assert {shard for shard, _, _ in testbed.asked} == {shard_of(call_id, SHARDS)}
    testbed.asked[3][2](Closed(2))
    assert testbed.results == [Closed(2)]


def test_what_shards_do_not_answer_is_counted(testbed: DispatchTestbed) -> None:
    for code in ("timeout", "unavailable", "not_found"):
        testbed.order(CloseCall(b"c"))
        testbed.asked.pop()[2](Failure(code, ""))
    assert (testbed.stats.rpc_timeouts, testbed.stats.rpc_unroutable) == (1, 1)
    assert len(testbed.results) == 3


def test_ping_and_stats_need_no_shard(testbed: DispatchTestbed) -> None:
    testbed.order(Ping())
    testbed.order(GetStats())
    assert testbed.results[0] == Pong(nh.__version__)
    assert isinstance(testbed.results[1], Stats)
    assert len(testbed.results[1].values["shards"]) == SHARDS  # type: ignore[arg-type]
    assert not testbed.asked


def test_a_drain_is_begun_and_taken_back_by_the_supervisor_itself(testbed: DispatchTestbed) -> None:
    testbed.order(commands.Drain(60.0))
    testbed.order(commands.Drain())
    testbed.order(commands.Undrain())
    assert testbed.results == [DrainState(True, 0, 60.0), DrainState(True, 0), DrainState(False, 0)]
    assert not testbed.asked


def test_the_supervisor_itself_reloads_and_sets_the_log(testbed: DispatchTestbed) -> None:
    for command in (commands.Reload(), commands.SetLog(LogLevel.DEBUG), commands.SetLog(None, "weather")):
        testbed.order(command)
    assert testbed.results == [
        Reloaded(("silent_s",), ("shards",)),
        LogState(LogLevel.DEBUG, {}),
        Failure("refused", "the log has no area 'weather'"),
    ]
    assert not testbed.asked


def test_a_drain_that_is_over_cannot_be_taken_back(testbed: DispatchTestbed) -> None:
    testbed.order(commands.Drain())
    for shard in range(SHARDS):
        testbed.slots[shard].report_no_calls_left(1)
    testbed.order(commands.Undrain())
    failure = testbed.results[-1]
    assert isinstance(failure, Failure)
    assert (failure.code, "is ending" in failure.message) == ("refused", True)


def test_an_extension_is_unknown_to_the_supervisor(testbed: DispatchTestbed) -> None:
    testbed.order(Extension("shout"))
    assert isinstance(testbed.results[0], Failure)
    assert testbed.results[0].code == "unknown_command"


def test_a_list_asks_all_shards_at_once_and_merges_by_call_id(testbed: DispatchTestbed) -> None:
    command = ListCalls(contains=b"x", limit=10)
    testbed.order(command)
    assert [(shard, asked) for shard, asked, _ in testbed.asked] == [(n, command) for n in range(SHARDS)]
    pages = [(summary(b"b"), summary(b"e")), (), (summary(b"a"), summary(b"d"))]
    for (_, _, answer), calls in zip(reversed(testbed.asked), pages, strict=True):
        assert not testbed.results
        answer(CallList(calls))
    (result,) = testbed.results
    assert isinstance(result, CallList)
    assert [call.call_id for call in result.calls] == [b"a", b"b", b"d", b"e"]
    assert result.next == b""


def test_a_list_fails_once_if_one_shard_does(testbed: DispatchTestbed) -> None:
    testbed.order(ListCalls())
    testbed.asked[1][2](Failure("unavailable", "shard 1 is down"))
    testbed.asked[0][2](CallList(()))
    testbed.asked[2][2](Failure("timeout", "shard 2 did not answer"))
    assert testbed.results == [Failure("unavailable", "the list is incomplete: shard 1 is down")]


def test_all_sessions_are_deleted_in_all_shards(testbed: DispatchTestbed) -> None:
    testbed.order(DeleteAll())
    for _, _, answer in testbed.asked:
        answer(Closed(2))
    assert testbed.results == [Closed(2 * SHARDS)]


def test_nothing_behind_a_short_page_is_shown_before_its_rest() -> None:
    merged = merge_pages(
        [CallList((summary(b"a"),), b"a", True), CallList((summary(b"b"), summary(b"c")))],
        ListCalls(limit=10),
    )
    assert ([call.call_id for call in merged.calls], merged.next) == ([b"a"], b"a")


def shard_page(call_ids: list[bytes], after: bytes, limit: int) -> CallList:
    found = [each for each in call_ids if each > after]
    page = tuple(summary(each) for each in found[:limit])
    return CallList(page, page[-1].call_id if len(found) > limit else b"", len(found) > limit)


@given(
    st.sets(st.binary(min_size=1, max_size=3), max_size=40),
    st.integers(1, 5),
    st.lists(st.integers(1, 5), min_size=3, max_size=3),
)
def test_pages_together_show_every_call_once_and_in_order(
    call_ids: set[bytes], limit: int, sizes: list[int]
) -> None:
    # each shard's own page may be shorter than the limit, as where long call-ids fill a message
    shards = [sorted(c for c in call_ids if shard_of(c, SHARDS) == n) for n in range(SHARDS)]
    shown: list[bytes] = []
    after = b""
    while True:
        pages = [
            shard_page(shard, after, min(limit, size)) for shard, size in zip(shards, sizes, strict=True)
        ]
        merged = merge_pages(pages, ListCalls(limit=limit))
        assert len(merged.calls) <= limit
        shown += [call.call_id for call in merged.calls]
        if not merged.next:
            break
        assert merged.next > after
        after = merged.next
    assert shown == sorted(call_ids)


@given(
    st.dictionaries(st.binary(min_size=1, max_size=3), st.integers(0, 5), max_size=40),
    st.integers(1, 8),
    st.lists(st.integers(1, 8), min_size=3, max_size=3),
)
def test_a_sorted_page_has_the_first_calls_of_all_shards(
    ages: dict[bytes, int], limit: int, sizes: list[int]
) -> None:
    command = ListCalls(limit=limit, sort=CallOrder.AGE)
    calls = sorted(
        (replace(summary(call_id), age_s=float(age)) for call_id, age in ages.items()), key=command.sort.rank
    )
    pages = []
    for shard, size in enumerate(sizes):  # a page may be shorter than the limit, as above
        own = [call for call in calls if shard_of(call.call_id, SHARDS) == shard]
        most = min(limit, size)
        pages.append(CallList(tuple(own[:most]), more=len(own) > most))
    merged = merge_pages(pages, command)
    assert list(merged.calls) == calls[: len(merged.calls)]
    assert (len(merged.calls) <= limit, merged.next) == (True, b"")
    assert merged.more == (len(merged.calls) < len(calls))
    if min(sizes) >= limit:
        assert len(merged.calls) == min(limit, len(calls))


def test_a_shard_learns_who_changes_its_calls_and_not_who_looks(testbed: DispatchTestbed) -> None:
    client = Client("ng", "192.0.2.5:2223", "delete")
    for command in (Delete(b"a"), ShowCall(b"a"), ListCalls(), DeleteAll()):
        testbed.order(command)
    assert testbed.clients == [client, *[NO_CLIENT] * (1 + SHARDS), *[client] * SHARDS]
    assert set(testbed.senders) == {client.address}, "each of them has the turns of its sender"
