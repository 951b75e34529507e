"""nh.shard.recovery: a relay goes on with calls whose sockets are gone, and backs them up as it serves."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from nh.calls.media import Endpoint, Media, Side
from nh.calls.settings import RelayConfig
from nh.commands import Activate, Allocate, TransactionKey
from nh.ipc.fd_passing import MAX_FDS
from nh.ipc.link_messages import RestoreCall
from nh.loop import SelectorLoop
from nh.results import Allocated
from nh.shard.media.sockets.media_socket import MediaSocket
from nh.shard.recovery import refresh
from nh.shard.recovery.recovery import Recovery
from nh.shard.recovery.restore import RestoreCounts
from nh.shard.relay import Relay
from tests.shard.held import Held
from tests.shard.testbed import PACKET, V4
from tools.harness.ports import claim_ports


class Restored:
    """A relay that has been told to restore calls, and what its supervisor has of it."""

    def __init__(
        self,
        ports: tuple[int, int],
        calls: dict[bytes, bytes],
        sockets: dict[Endpoint, int],
        *,
        has_backlog: bool,
    ) -> None:
        self.held = Held(has_backlog=has_backlog)
        self.loop = SelectorLoop()
        self.relay = Relay(RelayConfig(ports=ports))
        self._recovery = Recovery(self.relay, self.held)
        restorer = self._recovery.restorer
        self.counts = restorer.restore(sockets, [RestoreCall(*each) for each in calls.items()])

    def serve(self) -> None:
        self._recovery.attach(self.loop)

    def turn_until(self, condition: object) -> None:
        assert callable(condition)
        while not condition():
            self.loop.turn(0.1)

    @property
    def sockets(self) -> list[MediaSocket]:
        groups = {id(group): group for call in self.relay.table for _, group in call.groups}
        return [each for group in groups.values() for each in group.sockets if isinstance(each, MediaSocket)]

    def close(self) -> None:
        self.relay.close()
        self.loop.close()


class Phone:
    """Both ends of a call: what it sends to one port of the relay comes back from the other."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((V4, 0))
        self.socket.setblocking(False)
        self.media = (Media(V4, self.socket.getsockname()[1], 2, "RTP/AVP", "audio"),)

    def is_heard(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            return self.socket.recv(2048) == PACKET
        return False


@pytest.fixture
def phone() -> Iterator[Phone]:
    phone = Phone()
    with contextlib.closing(phone.socket):
        yield phone


@contextlib.contextmanager
def restored(
    phone: Phone, count: int = 1, *, has_backlog: bool = False, inherited: int = 0
) -> Iterator[tuple[Restored, list[int]]]:
    """A relay with calls of another one, which is gone; and the ports of the first call.

    Args:
        phone: both ends of the calls.
        count: of calls.
        has_backlog: whether the link has no room at first.
        inherited: how many sockets the supervisor has, and passes on; all others are gone.
    """
    with claim_ports(4 * count + 4) as claimed:
        ports = claimed[0], claimed[-1]
        held, loop, relay = Held(), SelectorLoop(), Relay(RelayConfig(ports=ports))
        recovery = Recovery(relay, held)
        recovery.attach(loop)
        where: list[int] = []
        for number in range(count):
            key = TransactionKey(b"%d" % number, 1, b"alice", b"bob")
            for side in Side:
                allocated = relay.execute(Allocate(key, side, V4, phone.media))
                assert isinstance(allocated, Allocated)
                where.append(allocated.media[0].port)
            relay.execute(Activate(key))
        for port in where[:2]:  # the first call latches
            phone.socket.sendto(PACKET, (V4, port))
            while not phone.is_heard():
                loop.turn(0.1)
        recovery.checkpointer.save_all()
        calls = dict(held.snapshots)
        sockets = {local: os.dup(fd) for local, fd in list(held.sockets.items())[:inherited]}
        relay.close()
        loop.close()
        after = Restored(ports, calls, sockets, has_backlog=has_backlog)
        try:
            yield after, where[:2]
        finally:
            after.close()


def test_media_pass_at_once_and_sockets_are_connected_later(phone: Phone) -> None:
    with restored(phone) as (after, (port, _)):
        assert after.counts == RestoreCounts(restored=1, failed=0)
        after.serve()
        assert sum(each.connected for each in after.sockets) == 0
        phone.socket.sendto(PACKET, (V4, port))
        after.turn_until(phone.is_heard)
        after.turn_until(lambda: sum(each.connected for each in after.sockets) == 2)
        phone.socket.sendto(PACKET, (V4, port))
        after.turn_until(phone.is_heard)


def test_a_relay_that_goes_on_after_a_pause_has_its_sockets_back_whatever_became_of_them(
    phone: Phone, ports: range
) -> None:
    """A successor has the same sockets, and may have connected them before it was gone."""
    with restored(phone) as (after, (port, _)):
        after.serve()
        phone.socket.sendto(PACKET, (V4, port))
        after.turn_until(phone.is_heard)
        after.turn_until(lambda: sum(each.connected for each in after.sockets) == 2)
        after.relay.pause()
        for each in after.sockets:
            with socket.socket(fileno=os.dup(each.fileno())) as of_successor:
                of_successor.connect((V4, ports[0]))
        after.relay.resume()
        phone.socket.sendto(PACKET, (V4, port))
        after.turn_until(phone.is_heard)


def test_what_came_before_it_served_is_passed_on(phone: Phone) -> None:
    with restored(phone) as (after, (port, _)):
        phone.socket.sendto(PACKET, (V4, port))
        after.serve()
        after.turn_until(phone.is_heard)


def test_sockets_are_backed_up_in_parts_before_it_serves(phone: Phone) -> None:
    count = MAX_FDS // 4 + 10
    with restored(phone, count) as (after, _):
        assert len(after.held.sockets) == MAX_FDS
        after.serve()
        expected = {each.local: each.fileno() for each in after.sockets}
        assert len(expected) == 4 * count
        assert after.held.sockets == expected
        assert after.held.largest == MAX_FDS


def test_sockets_for_which_the_link_has_no_room_are_backed_up_later(phone: Phone) -> None:
    count = MAX_FDS // 4 + 10
    with restored(phone, count, has_backlog=True) as (after, _):
        after.serve()
        after.loop.turn(0.1)
        assert not after.held.sockets
        after.held.has_backlog = False
        expected = {each.local: each.fileno() for each in after.sockets}
        after.turn_until(lambda: after.held.sockets == expected)
        assert after.held.largest == MAX_FDS


def test_sockets_that_the_supervisor_has_are_not_backed_up_again(phone: Phone) -> None:
    """Else it would have two descriptors of each after every death of the shard."""
    with restored(phone, 2, inherited=3) as (after, _):
        assert sum(each.adopted for each in after.sockets) == 3
        after.serve()
        bound_anew = {each.local: each.fileno() for each in after.sockets if not each.adopted}
        assert len(bound_anew) == 5
        assert after.held.sockets == bound_anew


def test_sockets_that_were_closed_before_are_not_backed_up(phone: Phone) -> None:
    with restored(phone, 2) as (after, _):
        after.relay.close_call(b"0")
        after.serve()
        expected = {each.local: each.fileno() for each in after.sockets}
        assert len(expected) == 4
        after.turn_until(lambda: after.held.sockets == expected)


def test_calls_are_saved_in_the_first_refresh(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "FIRST_REFRESH_S", 0.0)
    with restored(phone, 3) as (after, _):
        assert not after.held.saved, "the supervisor has them already"
        after.serve()
        after.turn_until(lambda: len(after.held.saved) == 3)


def test_a_call_whose_keys_must_not_be_used_twice_is_saved_before_it_is_served(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nh.shard.recovery.restore.has_secrets", lambda _: True)
    with restored(phone) as (after, _):
        assert after.held.saved == {b"0": 1}
