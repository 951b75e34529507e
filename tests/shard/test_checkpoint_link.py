"""nh.shard.recovery.checkpoint_link: checkpoints reach the supervisor, also after it did not read."""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from nh.calls.media import Endpoint
from nh.ipc.backup_messages import (
    MAX_SNAPSHOT_BYTES,
    PART_BYTES,
    BackupMessage,
    DropCall,
    ReleaseSockets,
    SaveCall,
    StoreSockets,
)
from nh.ipc.channel import Channel
from nh.ipc.fd_passing import MAX_FDS
from nh.ipc.link_codec import are_together, changes_of, decode_from_shard, decode_together
from nh.loop import SelectorLoop
from nh.shard.recovery.checkpoint_link import LinkCheckpointSink
from nh.stats import ShardStatus
from nh.supervisor.shards.backup import ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget


class Sides:
    """A LinkCheckpointSink, and a backup that takes its messages when the test lets it."""

    def __init__(self) -> None:
        self.loop = SelectorLoop()
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel = Channel(self.loop, near, lambda record, fds: None, lambda: None)
        self.sink = LinkCheckpointSink(self.channel)
        self.backup = ShardBackup(ShardStatus(), FdBudget(1000))
        self.far.setblocking(False)
        self.records = 0

    def hear(self) -> None:
        """Take all messages, until no more come."""
        while True:
            try:
                record, fds, _, _ = socket.recv_fds(self.far, 200_000, MAX_FDS)
            except BlockingIOError:
                if not self.channel.queued:
                    return
                self.loop.turn(0)
                continue
            self.records += 1
            if are_together(record):
                changes = changes_of(decode_together(record))
            else:
                message = decode_from_shard(record)
                assert isinstance(message, BackupMessage)
                changes = [message]
            self.backup.apply(changes, fds)
            assert fds == []

    def far_is_empty(self) -> bool:
        """Whether nothing waits to be heard."""
        try:
            return not self.far.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True

    def fill(self) -> None:
        """Send more than the link takes."""
        for number in range(200):
            self.sink.save_call(b"filler", bytes(PART_BYTES) + b"%d" % number)


@pytest.fixture
def sides() -> Iterator[Sides]:
    sides = Sides()
    yield sides
    sides.channel.close()
    sides.far.close()
    sides.backup.close()
    sides.loop.close()


def endpoints(count: int) -> list[Endpoint]:
    return [Endpoint("127.0.0.1", 10_000 + number) for number in range(count)]


def test_the_supervisor_has_all_checkpoints(sides: Sides) -> None:
    many = endpoints(MAX_FDS + 1)
    with Path(os.devnull).open() as file:
        sides.sink.store_sockets(many, [file.fileno()] * len(many))
    sides.sink.save_call(b"a", bytes(3 * PART_BYTES))
    sides.sink.save_call(b"b", b"")
    sides.sink.save_call(b"c", b"x")
    sides.sink.drop_call(b"c")
    sides.sink.release_sockets(many[1:])
    sides.hear()
    assert dict(sides.backup.calls) == {b"a": bytes(3 * PART_BYTES), b"b": b""}
    assert list(sides.backup.sockets) == many[:1]


def test_the_checkpoints_stay_as_they_are_once_the_shard_ends_its_calls(sides: Sides) -> None:
    (where,) = endpoints(1)
    with Path(os.devnull).open() as file:
        sides.sink.store_sockets([where], [file.fileno()])
        sides.sink.save_call(b"a", b"1")
        sides.hear()
        sides.sink.close()
        sides.sink.save_call(b"a", b"2")
        sides.sink.save_call(b"b", b"1")
        sides.sink.drop_call(b"a", b"record")
        sides.sink.release_sockets([where])
        sides.sink.catch_up()
    assert sides.far_is_empty()


def test_what_could_not_be_said_is_caught_up_with_and_the_latest_counts(sides: Sides) -> None:
    with Path(os.devnull).open() as file:
        sides.sink.store_sockets(endpoints(2), [file.fileno()] * 2)
        sides.sink.save_call(b"ends", b"1")
        sides.fill()
        sides.sink.save_call(b"goes on", b"1")
        sides.sink.save_call(b"goes on", b"2")
        sides.sink.drop_call(b"ends")
        sides.sink.release_sockets(endpoints(1))
        sides.sink.store_sockets(endpoints(3)[2:], [file.fileno()])
    sides.sink.catch_up()
    sides.hear()
    sides.sink.catch_up()
    sides.hear()
    assert sides.backup.calls[b"goes on"] == b"2"
    assert sides.backup.calls[b"filler"].endswith(b"199")
    assert b"ends" not in sides.backup.calls
    assert list(sides.backup.sockets) == endpoints(2)[1:]
    sides.sink.save_call(b"now", b"at once")
    sides.hear()
    assert sides.backup.calls[b"now"] == b"at once"


@pytest.mark.parametrize("in_records", [False, True])
def test_a_snapshot_that_waits_brings_back_no_call_that_has_ended_and_no_earlier_state(
    sides: Sides, in_records: bool
) -> None:
    """The link has room again, and the snapshot is not sent yet."""
    sides.fill()
    for call_id in (b"ends", b"goes on"):
        sides.sink.save_call(call_id, b"1")
    sides.hear()
    with sides.sink.in_one_record() if in_records else contextlib.nullcontext():
        sides.sink.drop_call(b"ends")
        sides.sink.save_call(b"goes on", b"2")
    for _ in range(2):
        sides.sink.catch_up()
        sides.hear()
    assert b"ends" not in sides.backup.calls
    assert sides.backup.calls[b"goes on"] == b"2"


def test_the_last_word_on_each_call_and_socket_goes_out_with_the_result(sides: Sides) -> None:
    a, b, c = endpoints(3)
    with Path(os.devnull).open() as file:
        fd = file.fileno()
        sides.sink.store_sockets([a], [fd])
        sides.hear()
        sides.sink.hold()
        sides.sink.release_sockets([a])
        sides.sink.store_sockets([a, b, c], [fd] * 3)
        sides.sink.release_sockets([b])
        sides.sink.save_call(b"call", b"1")
        sides.sink.save_call(b"call", b"2")
        sides.sink.save_call(b"over", b"1")
        sides.sink.drop_call(b"over")
        sent: list[tuple[list[BackupMessage], list[int]]] = []

        def send(messages: Sequence[BackupMessage], fds: Sequence[int]) -> bool:
            sent.append((list(messages), list(fds)))
            return True

        sides.sink.flush(send)
    expected: list[BackupMessage] = [
        ReleaseSockets((a,)),
        StoreSockets((a, c)),
        SaveCall(b"call", b"2"),
        DropCall(b"over"),
    ]
    assert sent == [(expected, [fd, fd])]
    assert sides.far_is_empty()


@pytest.mark.parametrize(
    ("together", "size_bytes", "records"),
    [
        pytest.param(True, 1000, 1, id="one record"),
        pytest.param(True, PART_BYTES, 20, id="no record has room for all"),
        pytest.param(False, 1000, 20, id="the supervisor does not take several messages in one record"),
    ],
)
def test_the_calls_of_a_turn_go_out_in_one_record_if_it_has_room_for_them(
    sides: Sides, together: bool, size_bytes: int, records: int
) -> None:
    sides.sink.together = together
    calls = {b"%d" % number: bytes(size_bytes) for number in range(20)}
    with sides.sink.in_one_record():
        for call_id, snapshot in calls.items():
            sides.sink.save_call(call_id, snapshot)
    sides.hear()
    assert dict(sides.backup.calls) == calls
    assert sides.records == records


def test_a_call_that_cannot_be_saved_keeps_no_other_of_its_turn_from_it(sides: Sides) -> None:
    sides.sink.together = True
    with pytest.raises(RuntimeError), sides.sink.in_one_record():
        sides.sink.save_call(b"a", b"1")
        raise RuntimeError("a bug")
    sides.sink.save_call(b"b", b"2")
    sides.hear()
    assert dict(sides.backup.calls) == {b"a": b"1", b"b": b"2"}


def test_the_calls_of_a_turn_wait_while_the_supervisor_does_not_read(sides: Sides) -> None:
    sides.sink.together = True
    sides.fill()
    with sides.sink.in_one_record():
        sides.sink.save_call(b"a", b"1")
        sides.sink.drop_call(b"b")
    sides.hear()
    sides.sink.catch_up()
    sides.hear()
    assert sides.backup.calls[b"a"] == b"1"


def test_what_does_not_go_out_with_the_result_goes_out_before_it(sides: Sides) -> None:
    sides.sink.hold()
    with Path(os.devnull).open() as file:
        sides.sink.store_sockets(endpoints(2), [file.fileno()] * 2)
        sides.sink.save_call(b"call", b"1")
        sides.sink.drop_call(b"over")
        sides.sink.flush(lambda _messages, _fds: False)
    sides.hear()
    assert dict(sides.backup.calls) == {b"call": b"1"}
    assert list(sides.backup.sockets) == endpoints(2)


def test_a_command_while_the_supervisor_does_not_read_leaves_its_changes_in_the_backlog(sides: Sides) -> None:
    sides.fill()
    sides.sink.hold()
    sides.sink.save_call(b"call", b"1")
    sides.sink.flush(lambda _messages, _fds: pytest.fail("the backlog has to go first"))
    sides.hear()
    sides.sink.catch_up()
    sides.hear()
    assert sides.backup.calls[b"call"] == b"1"


def test_a_snapshot_that_is_too_long_leaves_the_one_before(sides: Sides) -> None:
    sides.sink.save_call(b"a", b"old")
    sides.sink.save_call(b"a", bytes(MAX_SNAPSHOT_BYTES + 1))
    sides.hear()
    assert sides.backup.calls[b"a"] == b"old"


def test_at_the_end_all_stays_as_it_is(sides: Sides) -> None:
    sides.sink.save_call(b"a", b"old")
    sides.sink.close()
    sides.sink.drop_call(b"a")
    sides.sink.release_sockets(endpoints(1))
    sides.hear()
    assert list(sides.backup.calls) == [b"a"]
