"""Signals as events of the loop: handlers only queue, the loop acts.

Python writes the number of each signal into a socket (signal.set_wakeup_fd), which the loop reads like any
other. This works in the main thread only. A process that is about to execute another program can leave its
signals to that program: see LeaveSignals.
"""

import contextlib
import functools
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from nh.loop import Loop, call_each

LeaveSignals = Callable[[Sequence[signal.Signals]], None]
"""Leaves signals to the next signals_on(): of this program, or of one that this process is about to execute.

Unblocked they would end this process while it has no handlers. Three kinds are left: signals that come from
now on, signals that on_signal did not get yet, and those of the argument, which on_signal got and deferred.
Other threads are those of nh.threads, which do not get them.
"""


@contextlib.contextmanager
def signals_on(
    loop: Loop, numbers: Sequence[signal.Signals], on_signal: Callable[[signal.Signals], None]
) -> Iterator[LeaveSignals]:
    """Within the block, call `on_signal` from the loop for each signal; gives a LeaveSignals.

    Signals that were left before, also by the program before execve(2), are among them. After the block the
    handlers are as before.

    Args:
        loop: calls on_signal.
        numbers: which signals; several of one kind in a row may become one, as with any signal.
        on_signal: called with the number of a signal.
    """
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)

    def came() -> list[signal.Signals]:
        with contextlib.suppress(BlockingIOError):
            return [signal.Signals(number) for number in near.recv(4096) if number in numbers]
        return []

    def read() -> None:
        call_each(functools.partial(on_signal, number) for number in came())

    def leave(deferred: Sequence[signal.Signals]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in (*deferred, *came()):
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
    """The number is in the socket already."""
