"""Signals as events of the loop: handlers only queue, whatever they cause is done by the loop.

Python writes each signal's number into a socket (signal.set_wakeup_fd), which the loop reads like any other.
Works in the main thread only, as signals do in Python.

A process that is about to execute another program can leave its signals to that: see LeaveSignals.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from nh.loop import Loop

LeaveSignals = Callable[[Sequence[signal.Signals]], None]
"""Leaves signals to the program that this process is about to execute: they wait until its signals_on().

Without that they would end it, as long as it is not ready for them. Left are those that come from now on,
those that on_signal was not told of yet, and those of the argument, which it was told of and nobody obeyed.
No other thread may be there that would get them.
"""


@contextlib.contextmanager
def signals_on(
    loop: Loop, numbers: Sequence[signal.Signals], on_signal: Callable[[signal.Signals], None]
) -> Iterator[LeaveSignals]:
    """Within the block, call `on_signal` from the loop for each of the signals; afterwards all is as before.

    Signals that the program before this one has left are among them.

    Arguments:
        loop: where on_signal is called.
        numbers: which signals; several of one kind in a row may become one, as with any signal.
        on_signal: told which one came.

    Gives the block a LeaveSignals.
    """
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)

    def came() -> list[signal.Signals]:
        with contextlib.suppress(BlockingIOError):
            return [signal.Signals(number) for number in near.recv(4096) if number in numbers]
        return []

    def read() -> None:
        for number in came():
            on_signal(number)

    def leave(not_obeyed: Sequence[signal.Signals]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in (*not_obeyed, *came()):
            os.kill(os.getpid(), number)

    with near, far:
        loop.add_reader(near.fileno(), read)
        wakeup_before = signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, _queued) for number in numbers}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        try:
            yield leave
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            loop.remove_reader(near.fileno())


def _queued(number: int, frame: FrameType | None) -> None:
    """Nothing to do: the number is in the socket already."""
