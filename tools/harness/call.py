"""A call between two phones with real media, set up over nh's native protocol."""

import contextlib
import itertools
from types import TracebackType
from typing import Final, Self

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, Close, CloseCall, TransactionKey
from nh.results import Activated
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import TIMEOUT_S

LOOPBACK: Final = "127.0.0.1"
MEDIA_S: Final = 0.05
"""How long to wait for a packet that may be lost."""

_numbers = itertools.count()


class RelayedCall:
    """A call of Alice and Bob through a relay. Construction sets it up.

    Args:
        address: where the relay serves RPC.
        call_id: its call-id; None: one that no other call of this process has.
        phones: the IP address of both phones.
        media: the IP address at which the relay receives media.

    Attributes:
        call_id, key: the call, and its only transaction.
        alice, bob: the phones.
        for_alice, for_bob: where Alice and Bob send their media.

    Raises:
        NhError: the relay refuses it. The phones are closed again.
    """

    def __init__(
        self,
        address: str,
        call_id: bytes | None = None,
        *,
        phones: str = LOOPBACK,
        media: str = LOOPBACK,
    ) -> None:
        self.call_id = b"relayed-%d" % next(_numbers) if call_id is None else call_id
        self.key = TransactionKey(self.call_id, 1, b"alice", b"bob")
        self._address, self._media = address, media
        self._payloads = (b"%s %d" % (self.call_id, number) for number in itertools.count())
        with contextlib.ExitStack() as undo:
            self.alice, self.bob = (undo.enter_context(MediaPeer(phones)) for _ in range(2))
            with NativeClient(address, TIMEOUT_S) as client:
                self.for_bob = self._allocate(client, Side.FROM, self.alice)
                self.for_alice = self._allocate(client, Side.TO, self.bob)
                assert client.request(Activate(self.key)) == Activated(True)
            undo.pop_all()

    def talk(self) -> None:
        """Media go both ways, RTP and RTCP. Each phone receives them from the address that it sends to."""
        for component in (RTP, RTCP):
            self._send(self.alice, self.for_alice, self.bob, self.for_bob, component)
            self._send(self.bob, self.for_bob, self.alice, self.for_alice, component)

    def media_flow(self, within_s: float = MEDIA_S) -> bool:
        """Whether an RTP packet of each phone reaches the other one, by the ports that the call has.

        Args:
            within_s: how long each packet may be on its way, seconds.
        """
        for sender, to, receiver, by in (
            (self.alice, self.for_alice, self.bob, self.for_bob),
            (self.bob, self.for_bob, self.alice, self.for_alice),
        ):
            payload = next(self._payloads)
            sender.send(payload, to)
            if not any(packet == (payload, by) for packet in receiver.arriving(within_s)):
                return False
        return True

    def end(self) -> int:
        """Close it as a proxy does after a BYE. Returns how many sessions that ended."""
        with NativeClient(self._address, TIMEOUT_S) as client:
            return client.request(Close(TransactionKey(self.call_id, None, b"alice", b"bob"))).sessions

    def close_by_operator(self) -> int:
        """Close it as an operator does. Returns how many sessions that ended."""
        with NativeClient(self._address, TIMEOUT_S) as client:
            return client.request(CloseCall(self.call_id)).sessions

    def hang_up(self) -> None:
        """Close the phones' sockets. The relay is not told."""
        self.alice.close()
        self.bob.close()

    def _allocate(self, client: NativeClient, side: Side, peer: MediaPeer) -> tuple[str, int]:
        media = (Media(peer.address, peer.port, 2, "RTP/AVP", "audio"),)
        [allocated] = client.request(Allocate(self.key, side, self._media, media)).media
        return allocated.address, allocated.port

    def _send(
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
