"""A control that sends a command without an answer again, as SIP proxies do.

Whether a command was carried out is not known when its answer is missing. All commands may be repeated: a
relay gives the same ports again, and what is closed already was closed by the try before.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Final, TypeVar

from nh.errors import Unavailable, UnknownCall
from tools.rtpload.controls.interface import Control
from tools.rtpload.ends import MediaEnd, Targets, TransactionKey

PAUSE_S: Final = 0.05

T = TypeVar("T")


class RetryingControl:
    """See Control.

    Args:
        control: what sends the commands. It has to raise Unavailable without an answer, so Net::SIP's
            protocol will not do.
        retry_s: when to give up, in seconds from the first try on.
    """

    def __init__(self, control: Control, retry_s: float) -> None:
        self._control = control
        self._retry_s = retry_s

    def check(self) -> None:
        """See Control."""
        self._retry(self._control.check)

    def negotiate(self, key: TransactionKey, caller: MediaEnd, callee: MediaEnd, *, hold: bool) -> Targets:
        """See Control."""
        return self._retry(lambda: self._control.negotiate(key, caller, callee, hold=hold))

    def tear_down(self, key: TransactionKey) -> None:
        """See Control."""
        tries = 0

        def close() -> None:
            nonlocal tries
            tries += 1
            with contextlib.nullcontext() if tries == 1 else contextlib.suppress(UnknownCall):
                self._control.tear_down(key)

        self._retry(close)

    def close(self) -> None:
        """See Control."""
        self._control.close()

    def _retry(self, command: Callable[[], T]) -> T:
        deadline = time.monotonic() + self._retry_s
        while True:
            try:
                return command()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_S)
