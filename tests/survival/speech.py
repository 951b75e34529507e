"""Speech: what callers say while something happens to their relay."""

import threading
from typing import Self

from tests.calls.rtp import rtp_packet
from tools.harness.call import RelayedCall


class Speech:
    """The caller of each call sends RTP, which the callee receives, from begin to end of a thread.

    Attributes:
        sent: packets of each call.
        heard: packets that each callee has received.
    """

    def __init__(self, calls: list[RelayedCall]) -> None:
        self.sent = 0
        self.heard = [0] * len(calls)
        self._calls = calls
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._speak)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _speak(self) -> None:
        while not self._is_over.wait(0.005):
            for call in self._calls:
                call.alice.send(rtp_packet(self.sent, 160 * self.sent), call.for_alice)
            self.sent += 1
            self.listen()

    def listen(self) -> list[int]:
        """Receive what has come; returns `heard`."""
        for number, call in enumerate(self._calls):
            self.heard[number] += len(call.bob.pending())
        return self.heard
