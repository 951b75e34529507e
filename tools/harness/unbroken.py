"""Media that must not suffer: numbered packets in many calls while something is done to their relay."""

import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from tools.harness import HarnessError
from tools.harness.call import RelayedCall
from tools.harness.media_peer import MediaPeer
from tools.harness.waiting import eventually

PACE_S: Final = 0.01
AROUND: Final = 20
"""How many packets each phone sends at least before the block begins, and again before it ends."""


class UnbrokenMedia:
    """Both phones of each call send numbered packets during a block; behind it, each has come exactly once.

    Args:
        calls: whose media flow already.

    Raises:
        HarnessError: at the end of the block: packets were lost, or came twice.
    """

    def __init__(self, calls: Sequence[RelayedCall]) -> None:
        self._ways = [
            way for call in calls for way in ((call.alice, call.for_alice), (call.bob, call.for_bob))
        ]
        self._sent = 0
        self._received: dict[MediaPeer, Counter[bytes]] = {peer: Counter() for peer, _ in self._ways}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="unbroken media", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait_for_more()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._wait_for_more()
        finally:
            self._ended.set()
            self._thread.join()
        if error is None:
            eventually(self._is_whole, "each packet has come once", details=self._describe)

    def _wait_for_more(self) -> None:
        first = self._sent
        eventually(lambda: self._sent >= first + AROUND, "the phones send")

    def _run(self) -> None:
        while not self._ended.wait(PACE_S):
            for sender, to in self._ways:
                sender.send(b"number %d" % self._sent, to)
            self._sent += 1
            self._receive()

    def _receive(self) -> None:
        for peer, received in self._received.items():
            received.update(peer.pending())

    def _is_whole(self) -> bool:
        self._receive()
        if any(count > 1 for received in self._received.values() for count in received.values()):
            raise HarnessError(f"packets came twice: {self._describe()}")
        return all(len(received) == self._sent for received in self._received.values())

    def _describe(self) -> str:
        numbers = {b"number %d" % number for number in range(self._sent)}
        lost = [sorted(numbers - received.keys()) for received in self._received.values()]
        twice = [[each for each, count in some.items() if count > 1] for some in self._received.values()]
        return f"{self._sent} were sent to each phone; lost {lost}, twice {twice}"
