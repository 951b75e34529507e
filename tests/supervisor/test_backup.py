"""nh.supervisor.shards.backup: what is stored of a shard, and that no descriptor is left behind."""

import logging
import os
from collections.abc import Iterator

import psutil
import pytest

from nh.calls.media import Endpoint
from nh.ipc.backup_messages import PART_BYTES, DropCall, ReleaseSockets, SaveCall, StoreSockets, parts
from nh.stats import ShardStatus
from nh.supervisor.shards.backup import ProtocolViolation, ShardBackup
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.store.packing import Packed
from tests.descriptors import descriptors_here

ENDPOINTS = tuple(Endpoint("127.0.0.1", 10_000 + number) for number in range(4))


class RecordingStore:
    def __init__(self) -> None:
        self.entries: list[tuple[bytes, bytes | None]] = []

    def put(self, call_id: bytes, snapshot: bytes) -> None:
        self.entries.append((call_id, snapshot))

    def delete(self, call_id: bytes) -> None:
        self.entries.append((call_id, None))

    def hold_packed(self, call_id: bytes, snapshot: bytes, packed: Packed) -> None:
        assert packed.unpack() == snapshot


class Room:
    """A backup, and how many descriptors this process has because of it."""

    def __init__(self, sockets: int = 100) -> None:
        self.before = descriptors_here()
        self.status = ShardStatus()
        self.call_store = RecordingStore()
        self.backup = ShardBackup(self.status, FdBudget(sockets), store=self.call_store)

    def store(self, *endpoints: Endpoint, fds: int | None = None) -> None:
        came = [os.open("/dev/null", os.O_RDONLY) for _ in range(len(endpoints) if fds is None else fds)]
        try:
            self.backup.apply([StoreSockets(endpoints)], came)
        finally:
            for fd in came:
                os.close(fd)

    def open(self) -> int:
        return psutil.Process().num_fds() - self.before


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.backup.close()
    assert room.open() == 0


def test_descriptors_of_one_record_go_to_its_messages_in_order(room: Room) -> None:
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    first, second, third = fds
    room.backup.apply(
        [
            ReleaseSockets(ENDPOINTS[:1]),
            StoreSockets(ENDPOINTS[:2]),
            SaveCall(b"call", b"snapshot"),
            StoreSockets(ENDPOINTS[2:]),  # the kernel had no room for the last one
        ],
        fds,
    )
    assert fds == []
    assert room.backup.sockets == dict(zip(ENDPOINTS, (first, second, third), strict=False))
    assert room.backup.calls == {b"call": b"snapshot"}
    assert room.status.sockets_not_held == 1


def test_descriptors_beyond_the_messages_of_a_record_are_a_violation(room: Room) -> None:
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(2)]
    with pytest.raises(ProtocolViolation):
        room.backup.apply([StoreSockets(ENDPOINTS[:1])], fds)
    assert len(fds) == 1
    os.close(fds.pop())


def test_sockets_are_stored_until_they_are_released(room: Room) -> None:
    room.store(*ENDPOINTS)
    assert (room.open(), room.status.sockets_held) == (4, 4)
    room.backup.apply([ReleaseSockets((*ENDPOINTS[:3], Endpoint("127.0.0.1", 1)))], [])
    assert list(room.backup.sockets) == [ENDPOINTS[3]]
    assert (room.open(), room.status.sockets_held) == (1, 1)


def test_a_socket_that_is_opened_anew_takes_the_place_of_the_one_before(room: Room) -> None:
    for _ in range(3):
        room.store(*ENDPOINTS)
    assert (room.open(), room.status.sockets_held) == (4, 4)


def test_no_more_sockets_are_stored_than_there_is_room_for_which_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room(sockets=3)
    with caplog.at_level(logging.WARNING):
        room.store(*ENDPOINTS)
        room.store(Endpoint("127.0.0.2", 10_000))
    assert (room.open(), room.status.sockets_held, room.status.sockets_not_held) == (3, 3, 2)
    assert len(caplog.records) == 1
    room.backup.apply([ReleaseSockets(ENDPOINTS[:1])], [])
    room.store(ENDPOINTS[0])
    assert room.open() == 3
    room.backup.close()
    assert room.open() == 0


def test_an_orphans_sockets_are_stored_beyond_the_budget_while_there_are_descriptors() -> None:
    before = descriptors_here()
    fds = sorted(os.open("/dev/null", os.O_RDONLY) for _ in ENDPOINTS)
    backup = ShardBackup(ShardStatus(), FdBudget(1, highest=fds[2]))
    backup.add_sockets(list(zip(ENDPOINTS, fds, strict=True)))
    assert backup.sockets == dict(zip(ENDPOINTS[:3], fds[:3], strict=True))
    assert descriptors_here() == before + 3
    backup.close()
    assert descriptors_here() == before


def test_sockets_whose_descriptors_did_not_arrive_are_counted(room: Room) -> None:
    room.store(*ENDPOINTS, fds=1)
    assert list(room.backup.sockets) == [ENDPOINTS[0]]
    assert room.status.sockets_not_held == 3


def test_more_descriptors_than_sockets_make_no_sense(room: Room) -> None:
    with pytest.raises(ProtocolViolation):
        room.store(*ENDPOINTS, fds=5)


def test_the_latest_snapshot_of_a_call_counts_until_it_is_dropped(room: Room) -> None:
    for snapshot in (b"1", b"2"):
        room.backup.apply([SaveCall(b"call", snapshot)], [])
    assert (dict(room.backup.calls), room.status.calls_saved) == ({b"call": b"2"}, 1)
    for _ in range(2):
        room.backup.apply([DropCall(b"call")], [])
    assert (dict(room.backup.calls), room.status.calls_saved) == ({}, 0)
    assert room.call_store.entries == [(b"call", b"1"), (b"call", b"2"), (b"call", None)]


def test_a_long_snapshot_comes_in_parts(room: Room) -> None:
    snapshot = os.urandom(3 * PART_BYTES + 1)
    for part, data, last in parts(snapshot):
        room.backup.apply([SaveCall(b"call", data, part, last)], [])
    assert dict(room.backup.calls) == {b"call": snapshot}


def test_a_snapshot_that_is_not_finished_leaves_the_one_before(room: Room) -> None:
    room.backup.apply([SaveCall(b"call", b"old")], [])
    room.backup.apply([SaveCall(b"call", b"new", 0, last=False)], [])
    assert room.backup.calls[b"call"] == b"old"
    room.backup.shard_died()
    with pytest.raises(ProtocolViolation):
        room.backup.apply([SaveCall(b"call", b"er", 1, last=True)], [])
    assert room.backup.calls[b"call"] == b"old"


def test_a_snapshot_that_is_begun_anew_drops_what_came_of_it(room: Room) -> None:
    room.backup.apply([SaveCall(b"call", b"never finished", 0, last=False)], [])
    room.backup.apply([SaveCall(b"call", b"ne", 0, last=False)], [])
    room.backup.apply([SaveCall(b"call", b"w", 1, last=True)], [])
    assert room.backup.calls[b"call"] == b"new"


@pytest.mark.parametrize(
    "nonsense", [SaveCall(b"call", b"x", 1, last=True), SaveCall(b"other", b"x", 1, last=True)]
)
def test_parts_that_do_not_follow_each_other_make_no_sense(room: Room, nonsense: SaveCall) -> None:
    if nonsense.call_id == b"other":
        room.backup.apply([SaveCall(b"call", b"x", 0, last=False)], [])
    with pytest.raises(ProtocolViolation):
        room.backup.apply([nonsense], [])


def test_a_snapshot_without_end_makes_no_sense(room: Room) -> None:
    part = bytes(PART_BYTES)
    with pytest.raises(ProtocolViolation, match="more than"):
        for number in range(1000):
            room.backup.apply([SaveCall(b"call", part, number, last=False)], [])
