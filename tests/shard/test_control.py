"""nh.shard.link.control: a Relay behind the internal link, turned by hand."""

import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

import nh
from nh.calls.call_event import Client
from nh.calls.interfaces import Interface
from nh.calls.media import Endpoint, Media, Side
from nh.calls.settings import RelaySettings
from nh.commands import (
    Activate,
    Allocate,
    CloseCall,
    Delete,
    ListCalls,
    Offer,
    OfferOptions,
    Query,
    RelayCommand,
    ShowCall,
    TransactionKey,
)
from nh.ipc.backup_messages import BackupMessage, DropCall, ReleaseSockets, SaveCall, StoreSockets
from nh.ipc.link_codec import are_together, decode_from_shard, decode_together, encode
from nh.ipc.link_messages import (
    AllSaved,
    Configured,
    Executed,
    FromShard,
    KernelMaps,
    NoCallsLeft,
    Ready,
    RefuseNewCalls,
    Restore,
    RestoreCall,
    Restored,
    Restoring,
    SaveAll,
    Serve,
    TakeNewCalls,
    TakeSockets,
)
from nh.ipc.shared_deadline import SharedDeadline
from nh.loop import SelectorLoop
from nh.results import (
    Activated,
    Allocated,
    CallDetail,
    CallList,
    Closed,
    Failure,
    Queried,
    RelayResult,
    Rewritten,
)
from nh.shard.lease_end import KillTimer
from nh.shard.link.control import EXIT_CANNOT_START, EXIT_OK, EXIT_SUPERVISOR_GONE, Control
from nh.shard.recovery.restore import CallRestorer, RestoreCounts
from nh.stats import Segment, StatsReader
from tests.descriptors import descriptors_here
from tests.no_threads import no_threads
from tests.shard.link import Link
from tests.shard.testbed import V4
from tests.sip.sdp import MediaLine, write_sdp
from tools.harness.waiting import turn_until

AUDIO = (Media("127.0.0.11", 4000, 2, "RTP/AVP", "audio"),)
KEY = TransactionKey(b"call", 1, b"alice", b"bob")


class Shard:
    """A Control in this process."""

    def __init__(self) -> None:
        self.loop = SelectorLoop()
        self.link = Link()
        self.link.ours.setblocking(False)
        self.control = Control(self.loop, self.link.theirs)
        self._ended = False

    def next_message(self, *, backup: bool = False) -> FromShard:
        """The next one but Configured; those of checkpoints only on request."""
        for _ in range(1000):
            try:
                message = decode_from_shard(self.link.ours.recv(1_000_000))
            except BlockingIOError:
                self.loop.turn(0.01)
                continue
            if not isinstance(message, Configured) and (backup or not isinstance(message, BackupMessage)):
                return message
        raise AssertionError("no message came")

    def become_ready(self) -> Ready:
        """What it says once it serves calls, with none to restore."""
        assert self.next_message() == Restored()
        ready = self.next_message()
        assert isinstance(ready, Ready)
        return ready

    def next_together(self) -> tuple[list[Executed], list[int]]:
        """The results of the next record, and the descriptors that came with it."""
        for _ in range(1000):
            try:
                record, fds, _, _ = socket.recv_fds(self.link.ours, 1_000_000, 250)
            except BlockingIOError:
                self.loop.turn(0.01)
                continue
            if are_together(record):
                results = [each for each in decode_together(record) if isinstance(each, Executed)]
                if results:
                    return results, fds
                continue
            message = decode_from_shard(record)
            if isinstance(message, Executed):
                return [message], fds
        raise AssertionError("no results came")

    def records_up_to(self, last: bytes) -> list[bytes]:
        """The next records, the last one is `last`."""
        found: list[bytes] = []

        def has_come() -> bool:
            with contextlib.suppress(BlockingIOError):
                while found[-1:] != [last]:
                    found.append(self.link.ours.recv(1_000_000))
            return found[-1:] == [last]

        turn_until(self.loop, has_come, "the last record has come")
        return found

    def do(self, command: RelayCommand) -> RelayResult:
        request_id = self.link.execute(command)
        message = self.next_message()
        assert isinstance(message, Executed)
        assert message.id == request_id
        return message.result

    def end(self) -> None:
        """End the shard; no effect if it has ended."""
        if not self._ended:
            self._ended = True
            self.control.close()

    def close(self) -> None:
        self.end()
        self.link.close()
        self.loop.close()


@pytest.fixture
def unconfigured() -> Iterator[Shard]:
    shard = Shard()
    yield shard
    shard.close()


@pytest.fixture
def shard(unconfigured: Shard, segment: Segment, ports: range) -> Shard:
    unconfigured.link.configure(ports, segment.name, shard=1, shards=2)
    unconfigured.become_ready()
    return unconfigured


def test_a_configured_shard_is_ready_and_says_who_it_is(
    unconfigured: Shard, segment: Segment, ports: range
) -> None:
    unconfigured.link.configure(ports, segment.name, shard=1, shards=2)
    assert unconfigured.become_ready() == Ready(pid=os.getpid(), version=nh.__version__)
    published = StatsReader(segment).read().shards[1]
    assert (published.pid, published.ports_free) == (os.getpid(), len(ports))
    assert published.heartbeat > 0


def test_a_shard_that_cannot_use_the_kernel_s_tables_relays_without_them(
    unconfigured: Shard, segment: Segment, ports: range, caplog: pytest.LogCaptureFixture
) -> None:
    no_table, other_end = os.pipe()
    unconfigured.link.configure(
        ports, segment.name, kernel=KernelMaps(no_table, no_table, first_index=0, indexes=8)
    )
    unconfigured.become_ready()
    assert "shard 0 relays in user space, not inside the kernel" in caplog.text
    for side in Side:
        unconfigured.do(Allocate(KEY, side, V4, AUDIO))
    unconfigured.do(Activate(KEY))
    call = unconfigured.do(ShowCall(b"call"))
    assert isinstance(call, CallDetail)
    because = call.sessions[0].pairs[0].from_.user_space_because
    assert because.startswith("its shard cannot use the kernel's tables: ")
    for descriptor in (no_table, other_end):
        os.close(descriptor)


def test_commands_before_the_settings_are_answered_with_an_error(unconfigured: Shard) -> None:
    result = unconfigured.do(ListCalls())
    assert isinstance(result, Failure)
    assert result.code == "unavailable"


def test_commands_are_executed_and_answered_under_their_ids(shard: Shard) -> None:
    assert isinstance(shard.do(Allocate(KEY, Side.FROM, V4, AUDIO)), Allocated)
    assert isinstance(shard.do(Allocate(KEY, Side.TO, V4, AUDIO)), Allocated)
    assert shard.do(Activate(KEY)) == Activated(created=True)
    assert shard.do(CloseCall(b"call")) == Closed(1)


def test_a_message_that_only_another_version_knows_is_left_alone(
    shard: Shard, caplog: pytest.LogCaptureFixture
) -> None:
    shard.link.ours.send(msgspec.msgpack.encode({"type": "mood", "how": "fine"}))
    assert shard.do(ListCalls()) == CallList(())
    assert "the supervisor's message mood is left alone" in caplog.text


def test_many_commands_in_flight_are_all_answered(shard: Shard) -> None:
    ids = [shard.link.execute(ListCalls()) for _ in range(50)]
    answers = [shard.next_message() for _ in ids]
    assert {message.id for message in answers if isinstance(message, Executed)} == set(ids)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (ShowCall(b"none"), "not_found"),
        (Activate(KEY), "not_found"),
        (Allocate(KEY, Side.FROM, "203.0.113.200", AUDIO), "bad_address"),
        (Allocate(KEY, Side.FROM, "nowhere", AUDIO), "bad_request"),
        (Allocate(KEY, Side.FROM, V4, AUDIO * 200), "no_ports"),
    ],
)
def test_a_refusal_says_which_and_why(shard: Shard, command: RelayCommand, code: str) -> None:
    result = shard.do(command)
    assert isinstance(result, Failure)
    assert result.code == code
    assert result.message


def test_a_bug_costs_one_command(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_command: RelayCommand, _client: Client) -> RelayResult:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        assert shard.control._shard is not None
        broken.setattr(shard.control._shard.relay, "execute", fail)
        result = shard.do(ShowCall(b"call"))
    assert isinstance(result, Failure)
    assert result.code == "internal"
    assert "ZeroDivisionError" in caplog.text
    assert shard.do(ListCalls()) == CallList(())


def test_a_bug_in_a_list_costs_one_list(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not isinstance(shard.do(Allocate(KEY, Side.FROM, "127.0.0.1", ())), Failure)
    with monkeypatch.context() as broken:
        broken.delattr("nh.shard.views.call_list.summarise_call")
        result = shard.do(ListCalls())
    assert isinstance(result, Failure)
    assert result.code == "internal"
    assert "NameError" in caplog.text
    assert isinstance(shard.do(ListCalls()), CallList)


def test_an_answer_that_is_too_long_becomes_an_error(shard: Shard) -> None:
    for number in range(20):
        key = TransactionKey(b"call", 1, b"alice", b"%016000d" % number)
        shard.do(Allocate(key, Side.TO, V4, AUDIO))
    result = shard.do(ShowCall(b"call"))
    assert isinstance(result, Failure)
    assert "bytes" in result.message
    assert shard.do(CloseCall(b"call")) == Closed(0)


def test_a_reading_that_is_too_long_loses_its_details_and_the_delete_is_one(
    unconfigured: Shard, segment: Segment, ports: range
) -> None:
    unconfigured.link.configure(ports, segment.name, interfaces=(Interface("default", V4, V4),))
    unconfigured.become_ready()
    sdp = write_sdp([MediaLine("127.0.0.11", 4000)]).encode()
    for number in range(10):
        offer = Offer(b"call", b"%016000d" % number, b"", b"", sdp, OfferOptions())
        assert isinstance(unconfigured.do(offer), Rewritten)
    for command in (Query(b"call"), Delete(b"call")):
        reading = unconfigured.do(command)
        assert isinstance(reading, Queried)
        assert (reading.tags, reading.complete) == ((), False)
    assert unconfigured.do(ListCalls()) == CallList(())


def test_a_shard_that_drains_refuses_new_calls_and_says_once_that_none_is_left(shard: Shard) -> None:
    shard.do(Allocate(KEY, Side.FROM, V4, AUDIO))
    shard.link.send(RefuseNewCalls(7))
    refused = shard.do(Allocate(TransactionKey(b"new", 1, b"alice"), Side.FROM, V4, AUDIO))
    assert isinstance(refused, Failure)
    assert refused.code == "draining"
    assert isinstance(shard.do(Allocate(KEY, Side.TO, V4, AUDIO)), Allocated)
    assert shard.do(CloseCall(b"call")) == Closed(0)
    assert shard.next_message() == NoCallsLeft(7)
    assert isinstance(shard.do(ListCalls()), CallList)


def test_an_empty_shard_says_at_once_that_no_call_is_left_in_each_round(shard: Shard) -> None:
    for drain_round in (1, 2):
        shard.link.send(RefuseNewCalls(drain_round))
        assert shard.next_message() == NoCallsLeft(drain_round)
        shard.link.send(TakeNewCalls())
    assert isinstance(shard.do(Allocate(KEY, Side.FROM, V4, AUDIO)), Allocated)


def test_a_call_that_expires_was_the_last_one_too(
    unconfigured: Shard, segment: Segment, ports: range
) -> None:
    unconfigured.link.configure(ports, segment.name, RelaySettings(unused_s=1.0))
    unconfigured.become_ready()
    unconfigured.do(Allocate(KEY, Side.FROM, V4, AUDIO))
    unconfigured.link.send(RefuseNewCalls(1))
    assert unconfigured.next_message() == NoCallsLeft(1)


def test_statistics_are_published_twice_a_second(shard: Shard, segment: Segment) -> None:
    reader = StatsReader(segment)
    told = [reader.read().shards[1]]
    shard.do(Allocate(KEY, Side.FROM, V4, AUDIO))

    def soon_told_again() -> bool:
        """A busy host may delay one publication, and does not delay each."""
        published = reader.read().shards[1]
        if published.heartbeat > told[-1].heartbeat:
            told.append(published)
        return any(later.heartbeat - sooner.heartbeat < 1 for sooner, later in itertools.pairwise(told))

    turn_until(shard.loop, soon_told_again, "two publications are less than a second apart")
    turn_until(
        shard.loop,
        lambda: (last := reader.read().shards[1]).calls == last.allocate_ok == 1 and last.sockets == 2,
        "the call is published",
    )


@pytest.fixture
def together(unconfigured: Shard, segment: Segment, ports: range, monkeypatch: pytest.MonkeyPatch) -> Shard:
    """A shard whose supervisor takes results together, and which reads all commands that wait in one turn."""
    monkeypatch.setattr(SelectorLoop, "is_behind", True)  # it tells by the clock, and a busy host can stop it
    unconfigured.link.configure(ports, segment.name, together=True)
    unconfigured.become_ready()
    return unconfigured


def allocate(call_id: bytes, media: tuple[Media, ...] = AUDIO) -> Allocate:
    return Allocate(TransactionKey(call_id, 1, b"alice"), Side.FROM, V4, media)


def close_fds(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def test_results_of_commands_that_wait_come_in_one_record_with_all_that_they_changed(together: Shard) -> None:
    commands: list[RelayCommand] = [
        allocate(b"a"),
        allocate(b"b"),
        ShowCall(b"none"),
        allocate(b"gone"),
        CloseCall(b"gone"),
    ]
    ids = [together.link.execute(command) for command in commands]

    results, fds = together.next_together()

    assert [each.id for each in results] == ids
    expected: list[type[RelayResult]] = [Allocated, Allocated, Failure, Allocated, Closed]
    assert [type(each.result) for each in results] == expected
    sockets, *calls = results[0].backup
    assert isinstance(sockets, StoreSockets)
    assert len(sockets.endpoints) == len(fds) == 4, "those that are closed again are not sent"
    assert [(type(each), each.call_id) for each in calls if isinstance(each, SaveCall | DropCall)] == [
        (SaveCall, b"a"),
        (SaveCall, b"b"),
        (DropCall, b"gone"),
    ]
    assert not any(each.backup for each in results[1:])
    close_fds(fds)


def test_a_list_among_commands_that_wait_is_answered_too(together: Shard) -> None:
    ids = {together.link.execute(command) for command in (allocate(b"a"), ListCalls(), CloseCall(b"a"))}
    answered: set[int] = set()
    while answered != ids:
        results, fds = together.next_together()
        answered |= {each.id for each in results}
        close_fds(fds)


def test_what_one_record_has_no_room_for_comes_before_the_results(
    together: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nh.shard.recovery.checkpoint_link.MAX_FDS", 4)
    for call_id in (b"a", b"b", b"c"):
        together.link.execute(allocate(call_id))
    backup = [together.next_message(backup=True) for _ in range(4)]
    results, fds = together.next_together()
    assert [type(message) for message in backup] == [StoreSockets, SaveCall, SaveCall, SaveCall]
    assert [(type(each.result), each.backup) for each in results] == [(Allocated, ())] * 3
    assert not fds


def test_a_shard_says_that_it_is_empty_behind_the_result_of_the_last_command(together: Shard) -> None:
    together.link.execute(allocate(b"a"))
    close_fds(together.next_together()[1])
    together.link.send(RefuseNewCalls(3))
    together.link.execute(allocate(b"new"))
    together.link.execute(CloseCall(b"a"))
    results, _ = together.next_together()
    assert [type(each.result) for each in results] == [Failure, Closed]
    assert together.next_message() == NoCallsLeft(3)


def test_a_supervisor_that_takes_no_results_together_gets_each_by_itself(shard: Shard) -> None:
    ids = [shard.link.execute(command) for command in (allocate(b"a"), CloseCall(b"a"))]
    found = []
    for _ in ids:
        results, fds = shard.next_together()
        found.append(([each.id for each in results], len(results[0].backup)))
        close_fds(fds)
    assert found == [([ids[0]], 2), ([ids[1]], 2)]


@pytest.mark.parametrize("takes", [False, True])
def test_changes_come_in_one_record_to_a_supervisor_that_says_so(
    unconfigured: Shard, segment: Segment, ports: range, takes: bool
) -> None:
    """One that runs since before an upgrade on the disk takes results in one record, and no changes."""
    unconfigured.link.configure(ports, segment.name, together=True, changes_together=takes)
    unconfigured.become_ready()
    for call_id in (b"a", b"b"):
        unconfigured.link.execute(allocate(call_id))
        close_fds(unconfigured.next_together()[1])
    unconfigured.link.send(SaveAll())

    saved = unconfigured.records_up_to(encode(AllSaved()))[:-1]

    assert any(map(are_together, saved)) == takes
    assert {
        each.call_id
        for record in saved
        for each in (decode_together(record) if are_together(record) else [decode_from_shard(record)])
        if isinstance(each, SaveCall)
    } == {b"a", b"b"}


# --- what outlives a shard ------------------------------------------------------------------------


def test_the_supervisor_has_the_sockets_and_the_state_of_a_call_with_the_result(shard: Shard) -> None:
    for command, expected in (
        (Allocate(KEY, Side.FROM, V4, AUDIO), [StoreSockets, SaveCall]),
        (ShowCall(b"call"), []),
        (CloseCall(b"call"), [ReleaseSockets, DropCall]),
        (CloseCall(b"unknown"), []),
    ):
        shard.link.execute(command)
        executed = shard.next_message(backup=True)
        assert isinstance(executed, Executed)
        assert [type(message) for message in executed.backup] == expected


def test_what_is_too_long_for_the_record_of_the_result_comes_before_it(shard: Shard) -> None:
    requests = []
    for cseq in (1, 2, 3):
        key = TransactionKey(b"call", cseq, b"alice", b"bob")
        shard.do(Allocate(key, Side.FROM, V4, AUDIO))
        shard.do(Allocate(key, Side.TO, V4, AUDIO))
        requests.append(Activate(key, {"long": "x" * 60_000}))
    for request in requests[:-1]:
        shard.do(request)
    shard.link.execute(requests[-1])
    came = [shard.next_message(backup=True) for _ in range(4)]
    assert [type(message) for message in came] == [SaveCall, SaveCall, SaveCall, Executed]
    last = came[-1]
    assert isinstance(last, Executed)
    assert last.backup == ()


class ScriptedRestorer:
    """Restores what is asked of it: every call but `bad`, each with one socket at the port that it says."""

    def __init__(self) -> None:
        self.restored: list[tuple[bytes, bytes, bool]] = []

    def restore(self, sockets: dict[Endpoint, int], calls: list[RestoreCall]) -> RestoreCounts:
        good = [call for call in calls if call.call_id != b"bad"]
        for call in good:
            fd = sockets.pop(Endpoint(V4, len(call.call_id)), None)
            self.restored.append((call.call_id, call.snapshot, fd is not None))
            if fd is not None:
                os.close(fd)
        return RestoreCounts(len(good), len(calls) - len(good))


@pytest.fixture
def restorer(monkeypatch: pytest.MonkeyPatch) -> ScriptedRestorer:
    restorer = ScriptedRestorer()
    monkeypatch.setattr(CallRestorer, "restore", lambda _, sockets, calls: restorer.restore(sockets, calls))
    return restorer


def give(shard: Shard, *ports: int) -> None:
    with Path(os.devnull).open() as file:
        message = TakeSockets(tuple(Endpoint(V4, port) for port in ports))
        socket.send_fds(shard.link.ours, [encode(message)], [file.fileno()] * len(ports))


def test_a_successor_restores_what_it_is_given_before_it_is_ready(
    unconfigured: Shard, segment: Segment, ports: range, restorer: ScriptedRestorer
) -> None:
    link = unconfigured.link
    link.configure(ports, segment.name, start=False)
    unconfigured.loop.turn(0)
    before = descriptors_here()
    give(unconfigured, 1, 2, 77)
    for message in (
        RestoreCall(b"a", b"how ", last=False),
        RestoreCall(b"a", b"it is"),
        RestoreCall(b"bad", b"?"),
        RestoreCall(b"long", b"elsewhere"),
        Restore(),
    ):
        link.send(message)
    assert unconfigured.next_message(backup=True) == ReleaseSockets((Endpoint(V4, 2), Endpoint(V4, 77)))
    assert unconfigured.next_message() == Restored(restored=2, failed=1)
    link.send(Serve())
    assert isinstance(unconfigured.next_message(), Ready)
    assert restorer.restored == [(b"a", b"how it is", True), (b"long", b"elsewhere", False)]
    unconfigured.loop.turn(0)
    assert psutil.Process().num_fds() <= before + 1, "the pacer has one"
    assert unconfigured.do(ListCalls()) == CallList(())


def test_a_careful_successor_says_which_call_it_is_at(
    unconfigured: Shard, segment: Segment, ports: range, restorer: ScriptedRestorer
) -> None:
    unconfigured.link.configure(ports, segment.name, start=False)
    for message in (RestoreCall(b"a", b"x"), RestoreCall(b"bad", b"?"), Restore(report_each=True)):
        unconfigured.link.send(message)
    assert [unconfigured.next_message() for _ in range(3)] == [Restoring(n) for n in range(3)]
    assert unconfigured.next_message() == Restored(restored=1, failed=1)


def test_commands_before_the_start_are_answered_with_an_error(
    unconfigured: Shard, segment: Segment, ports: range
) -> None:
    unconfigured.link.configure(ports, segment.name, start=False)
    assert isinstance(unconfigured.do(ListCalls()), Failure)


def run_until_it_ends(shard: Shard) -> int:
    shard.loop.call_later(10, shard.loop.stop)
    shard.loop.run()
    return shard.control.exit_status


def test_a_shutdown_ends_the_loop_with_status_0(shard: Shard) -> None:
    shard.link.shut_down()
    assert run_until_it_ends(shard) == EXIT_OK


def test_a_shutdown_is_one_although_the_link_ends_with_it(shard: Shard) -> None:
    shard.link.shut_down()
    shard.link.ours.close()
    assert run_until_it_ends(shard) == EXIT_OK


def test_the_end_of_the_link_ends_the_loop_with_another_status(shard: Shard) -> None:
    shard.link.ours.close()
    assert run_until_it_ends(shard) == EXIT_SUPERVISOR_GONE


@pytest.fixture
def unheard(unconfigured: Shard, segment: Segment, ports: range, tmp_path: Path) -> tuple[Shard, Path]:
    """A shard that could not listen for the next supervisor, and where it would."""
    path = tmp_path / "full" / "shard-0.sock"
    unconfigured.link.configure(ports, segment.name, handover_path=str(path))
    unconfigured.become_ready()
    return unconfigured, path


def test_a_shard_that_could_not_listen_for_the_next_supervisor_tries_again(
    unheard: tuple[Shard, Path], caplog: pytest.LogCaptureFixture
) -> None:
    shard, path = unheard
    said = [record.getMessage() for record in caplog.get_records("setup")]
    assert [text.endswith("the next nh cannot take over from this process") for text in said] == [True]
    path.parent.mkdir()
    turn_until(shard.loop, path.exists, "it listens")


@pytest.mark.parametrize("has_room", [True, False])
def test_a_shard_that_the_next_supervisor_cannot_find_says_that_its_calls_wait_in_the_store(
    unheard: tuple[Shard, Path], caplog: pytest.LogCaptureFixture, has_room: bool
) -> None:
    shard, path = unheard
    assert isinstance(shard.do(Allocate(KEY, Side.FROM, V4, AUDIO)), Allocated)
    if has_room:
        path.parent.mkdir()
    shard.link.ours.close()
    said = "relays its 1 call until" if has_room else "no supervisor would find it; only a store has"
    turn_until(shard.loop, lambda: said in caplog.text, "that is said")
    assert path.exists() == has_room


def test_a_call_that_begins_with_the_last_command_before_the_end_of_the_link_goes_on(
    unheard: tuple[Shard, Path], caplog: pytest.LogCaptureFixture
) -> None:
    shard, path = unheard
    path.parent.mkdir()
    shard.link.execute(Allocate(KEY, Side.FROM, V4, AUDIO))
    shard.link.ours.close()
    turn_until(shard.loop, lambda: "relays its 1 call until" in caplog.text, "the call goes on")


@pytest.fixture
def leased(
    unconfigured: Shard, segment: Segment, ports: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Shard, SharedDeadline]]:
    """A shard whose lease can end, and the deadline; it is not killed then."""
    monkeypatch.setattr(KillTimer, "set", lambda _timer, _at_ns: None)
    path = tmp_path / "lease"
    with contextlib.closing(SharedDeadline(path, writable=True)) as deadline:
        unconfigured.link.configure(ports, segment.name, deadline_path=str(path))
        unconfigured.become_ready()
        yield unconfigured, deadline
        unconfigured.end()


@pytest.mark.parametrize("calls", [0, 1])
def test_the_calls_of_a_shard_whose_lease_is_over_stay_for_the_relay_that_may_have_them(
    leased: tuple[Shard, SharedDeadline], caplog: pytest.LogCaptureFixture, calls: int
) -> None:
    shard, deadline = leased
    for _ in range(calls):
        shard.do(Allocate(KEY, Side.FROM, V4, AUDIO))
    deadline.write_ns(1)
    assert run_until_it_ends(shard) == EXIT_OK
    assert ("another relay may have them" in caplog.text) == bool(calls), "without calls there is no harm"
    caplog.set_level(logging.INFO, "nh")
    shard.end()
    assert "ended after" not in caplog.text


def test_the_last_counters_are_published_at_the_end(shard: Shard, segment: Segment) -> None:
    shard.do(Allocate(KEY, Side.FROM, V4, AUDIO))
    shard.do(Allocate(KEY, Side.TO, V4, AUDIO))
    shard.do(Activate(KEY))
    shard.end()
    published = StatsReader(segment).read().shards[1]
    assert (published.sessions_started, published.sessions_ended) == (1, 1)
    assert (published.calls, published.sockets) == (0, 0)


def test_a_shard_that_cannot_start_ends_with_a_status_of_its_own_and_says_why(
    unconfigured: Shard, ports: range, caplog: pytest.LogCaptureFixture
) -> None:
    unconfigured.link.configure(ports, "nh-no-such-segment", shard=1, shards=2)
    assert run_until_it_ends(unconfigured) == EXIT_CANNOT_START
    assert "shard 1 cannot start" in caplog.text


def test_a_shard_without_a_thread_for_its_lease_says_which_limit_to_raise(
    unconfigured: Shard, ports: range, segment: Segment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lease"
    with contextlib.closing(SharedDeadline(path, writable=True)), no_threads("lease"):
        unconfigured.link.configure(ports, segment.name, shard=1, shards=2, deadline_path=str(path))
        assert run_until_it_ends(unconfigured) == EXIT_CANNOT_START
    assert "shard 1 cannot start: no thread can be started; raise the limit on processes" in caplog.text
    assert not any(each.exc_info for each in caplog.records)
