"""A call between two phones with real media, set up over nh's native protocol."""

import itertools
from types import TracebackType
from typing import Self

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, Close, CloseCall, TransactionKey
from nh.results import Activated, Allocated
from tools.harness.media_peer import RTCP, RTP, MediaPeer

HERE = "127.0.0.1"


class RelayedCall:
    """A call of Alice and Bob through a relay, from construction on.

    Arguments:
        address: where the relay serves RPC.
        call_id: the call's.

    `for_alice` and `for_bob` are where they send their media to.
    """

    def __init__(self, address: str, call_id: bytes) -> None:
        self.call_id = call_id
        self.key = TransactionKey(call_id, 1, b"alice", b"bob")
        self.alice, self.bob = MediaPeer(HERE), MediaPeer(HERE)
        self._payloads = (b"%s %d" % (call_id, number) for number in itertools.count())
        try:
            with NativeClient(address) as client:
                self.for_bob = self._allocate(client, Side.FROM, self.alice)
                self.for_alice = self._allocate(client, Side.TO, self.bob)
                assert client.request(Activate(self.key)) == Activated(True)
        except BaseException:
            self.hang_up()
            raise

    def talk(self) -> None:
        """Media go both ways, RTP and RTCP, and each phone sees them come from where it sends to."""
        for component in (RTP, RTCP):
            self._say(self.alice, self.for_alice, self.bob, self.for_bob, component)
            self._say(self.bob, self.for_bob, self.alice, self.for_alice, component)

    def end(self, address: str) -> int:
        """Close it as the proxy does that saw the BYE; returns how many sessions that ended."""
        with NativeClient(address) as client:
            return client.request(Close(TransactionKey(self.call_id, None, b"alice", b"bob"))).sessions

    def close(self, address: str) -> int:
        """Close it as an operator does; returns how many sessions that ended."""
        with NativeClient(address) as client:
            return client.request(CloseCall(self.call_id)).sessions

    def hang_up(self) -> None:
        """Close the phones' sockets; nobody is told."""
        self.alice.close()
        self.bob.close()

    def _allocate(self, client: NativeClient, side: Side, peer: MediaPeer) -> tuple[str, int]:
        media = (Media(HERE, peer.port, 2, "RTP/AVP", "audio"),)
        allocated = client.request(Allocate(self.key, side, HERE, media))
        assert isinstance(allocated, Allocated)
        return HERE, allocated.media[0].port

    def _say(
        self,
        sender: MediaPeer,
        to: tuple[str, int],
        receiver: MediaPeer,
        seen_from: tuple[str, int],
        component: int,
    ) -> None:
        payload = next(self._payloads)
        sender.send(payload, to, component)
        address, port = seen_from
        assert receiver.receive(component) == (payload, (address, port + component))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
