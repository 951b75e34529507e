"""Calls in which two phones talk through a running relay, and what new ones meet where there is no room."""

import contextlib
import itertools
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pytest

from nh.calls.media import Media, Side
from nh.client import Client, NativeClient
from nh.commands import Activate, Allocate, Close, TransactionKey
from nh.errors import PortsExhausted
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.relay import Relay
from tools.harness.waiting import eventually

V4 = "127.0.0.1"

_numbers = itertools.count()


class Talk:
    """A call, begun by construction, with media both ways whenever asked.

    Arguments:
        relay: the relay.

    Raises what the relay refuses it with; then the relay knows nothing of it.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.key = TransactionKey(b"talk-%d" % next(_numbers), 1, b"alice", b"bob")
        with contextlib.ExitStack() as undo:
            self.alice, self.bob = (undo.enter_context(MediaPeer(V4)) for _ in range(2))
            self._client = undo.enter_context(NativeClient(relay.unix_address))
            undo.callback(self._client.close)
            try:
                self.bob_sends_to = self._allocate(Side.FROM, self.alice)
                self.alice_sends_to = self._allocate(Side.TO, self.bob)
                self._client.request(Activate(self.key, {}))
            finally:
                self._client.close()  # who holds no connection is not in the way of others
            undo.pop_all()

    @property
    def call_id(self) -> bytes:
        """Its call-id."""
        return self.key.call_id

    def goes_on(self) -> None:
        """Packets pass both ways, RTP and RTCP."""
        for component in (RTP, RTCP):
            self.alice.send(b"from alice", self.alice_sends_to, component)
            assert self.bob.receive(component)[0] == b"from alice"
            self.bob.send(b"from bob", self.bob_sends_to, component)
            assert self.alice.receive(component)[0] == b"from bob"

    def hang_up(self) -> None:
        """The call ends, and its phones are gone."""
        with NativeClient(self._relay.unix_address) as client:
            client.request(Close(self.key))
        self.close()

    def close(self) -> None:
        """The phones are gone."""
        self.alice.close()
        self.bob.close()

    def _allocate(self, side: Side, peer: MediaPeer) -> tuple[str, int]:
        media = (Media(V4, peer.port, 2, "RTP/AVP", "audio"),)
        (relay_media,) = self._client.request(Allocate(self.key, side, V4, media)).media
        return relay_media.address, relay_media.port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def assert_new_calls_are_refused(relay: Relay, why: str, times: int = 3) -> None:
    """New calls are refused several times over, in each protocol's words: `why` where it has any.

    Net::SIP's has none: its answer is undef.
    """
    client = Client(relay.unix_address)
    for number in range(times):
        with pytest.raises(PortsExhausted, match=why):
            Talk(relay)
        media = [Media(V4, 40_000, 2, "RTP/AVP", "audio")]
        basic = [f"refused-{number}", 1, "alice", "bob", "", ""]
        assert client.allocate_sockets(basic, Side.FROM, V4, media) is None


def lines_with(relay: Relay, text: str) -> list[str]:
    """What the relay said that has `text` in it."""
    return [line for line in relay.program.lines if text in line]


def until_new_calls_are_taken(relay: Relay) -> None:
    """Return once calls come through again, and the relay has said so."""

    def one_comes_through() -> bool:
        try:
            talk = Talk(relay)
        except PortsExhausted:
            return False
        with talk:
            talk.goes_on()
            talk.hang_up()
        return bool(lines_with(relay, "has room again"))

    eventually(one_comes_through, "new calls are taken, and it is said")


@contextlib.contextmanager
def nothing_worse_is_said(relay: Relay) -> Iterator[None]:
    """Within the block no shard dies or is killed, and nothing fails inside nh."""
    yield
    assert not lines_with(relay, "Traceback"), relay.program.output
    assert not lines_with(relay, "failed"), relay.program.output
    assert relay.stats().totals.restarts == 0, relay.program.output
