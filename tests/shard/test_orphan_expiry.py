"""nh.shard.recovery.orphan: silent calls wait for a successor that is slow, and not for one that hangs."""

import contextlib
import errno
import itertools
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from nh.calls.events import CallObserver
from nh.calls.media import Endpoint
from nh.calls.settings import RelayConfig
from nh.ipc.backup_messages import SaveCall
from nh.ipc.channel import receive_record
from nh.ipc.fd_passing import close_all
from nh.ipc.handover_messages import CallSockets, HandedOver, Transfer, decode_from_old, encode
from nh.ipc.handover_socket import HandoverSocket
from nh.ipc.link_messages import Configure
from nh.shard.recovery.orphan import Orphan
from nh.shard.recovery.recovery import Recovery
from nh.shard.recovery.unconfirmed import UnconfirmedRecords
from tests.shard.conftest import MakePeer
from tests.shard.test_checkpoints import Saved
from tests.shard.testbed import RelayTestbed

LATER_S = 1_000_000.0
"""Every session is silent by then."""

CALLS = 5
TAKEN = 2
"""Of so many the kernel takes the sockets at once."""


class Rounds(CallObserver):
    """Counts what follows the expiry of each round."""

    def __init__(self) -> None:
        self.times = 0

    def housekeeping(self, _now: float) -> None:
        self.times += 1


@pytest.fixture
def testbed(ports: range) -> Iterator[RelayTestbed]:
    testbed = RelayTestbed(ports)
    yield testbed
    testbed.close()


@pytest.fixture
def orphan(testbed: RelayTestbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the shard waits for a successor, with which it has no patience."""
    monkeypatch.setattr("nh.shard.recovery.orphan.PATIENCE_S", 0.0)
    path = tmp_path / "shard-0.sock"
    listening = HandoverSocket.open(str(path))
    assert listening is not None
    recovery, configure = Recovery(testbed.relay, Saved()), Configure(RelayConfig(), "no segment")
    orphan = Orphan(
        testbed.loop, recovery, configure, listening, records=UnconfirmedRecords(), on_over=lambda: None
    )
    yield path
    orphan.close()
    listening.close()


@contextlib.contextmanager
def hanging_successor(path: Path) -> Iterator[socket.socket]:
    """It reads nothing of what it asked for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
        successor.connect(str(path))
        successor.send(encode(Transfer()))
        successor.setblocking(False)
        yield successor


def let_all_calls_be_silent(testbed: RelayTestbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if much time had passed, and a round in which silent calls would end."""
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + LATER_S)
    monkeypatch.setattr("nh.shard.ticker.time", later)
    rounds = Rounds()
    testbed.relay.observe(rounds)
    testbed.turn_until(lambda: rounds.times, "a round in which silent calls would end")


def test_silent_calls_wait_for_a_slow_successor(
    testbed: RelayTestbed,
    orphan: Path,
    make_peer: MakePeer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    testbed.call(make_peer(), make_peer())
    with hanging_successor(orphan):
        testbed.turn_until(lambda: "relays again" in caplog.text, "it relays again")
        let_all_calls_be_silent(testbed, monkeypatch)
        assert testbed.relay.calls == 1
    testbed.turn_until(lambda: not testbed.relay.calls, "it ends")


def test_silent_calls_end_beside_a_successor_that_hangs_and_none_gets_the_sockets_of_another(
    testbed: RelayTestbed,
    orphan: Path,
    make_peer: MakePeer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("nh.shard.recovery.orphan.EXPIRY_S", 0.0)
    for _ in range(CALLS):
        testbed.call(make_peer(), make_peer())
    taken = itertools.count(1)

    def send_fds(sock: socket.socket, buffers: Sequence[bytes], fds: Sequence[int]) -> int:
        if next(taken) > TAKEN:  # as where too many wait in sockets that are not read
            raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))
        return send(sock, buffers, fds)

    send = socket.send_fds
    with hanging_successor(orphan) as successor:
        monkeypatch.setattr("socket.send_fds", send_fds)
        testbed.turn_until(lambda: "relays again" in caplog.text, "it relays again")
        let_all_calls_be_silent(testbed, monkeypatch)
        testbed.turn_until(lambda: not testbed.relay.calls, "they end")
        others = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4 * CALLS)]
        monkeypatch.setattr("socket.send_fds", send)
        sent = list(received(testbed, successor))
        for other in others:
            other.close()
    for call_id, where, bound in sent:
        assert where, call_id
        assert bound == where
    assert len(sent) == TAKEN + 1, "the last of them had to wait; those that had ended were not sent"


def received(
    testbed: RelayTestbed, successor: socket.socket
) -> Iterator[tuple[bytes, list[Endpoint], list[Endpoint]]]:
    """Each call that comes: where its sockets are said to be bound, and where they are."""
    where: list[Endpoint] = []
    bound: list[Endpoint] = []
    while True:
        testbed.turn_until(lambda: select.select([successor], [], [], 0)[0], "a record comes")
        record, fds = receive_record(successor)
        message = decode_from_old(record)
        match message:
            case CallSockets(_, endpoints):
                where += endpoints
                for fd in fds:
                    with socket.socket(fileno=os.dup(fd)) as sock:
                        bound.append(Endpoint(*sock.getsockname()[:2]))
            case SaveCall():
                yield message.call_id, where, bound
                where, bound = [], []
            case HandedOver():
                return
        close_all(fds)
