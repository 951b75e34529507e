"""nh.supervisor.signals: signals become events of the loop, and go back to what they were."""

import os
import signal

from nh.loop import SelectorLoop
from nh.supervisor.signals import signals_on


def test_signals_are_told_in_the_loop_and_the_handlers_are_restored() -> None:
    loop = SelectorLoop()
    told: list[signal.Signals] = []
    before = signal.getsignal(signal.SIGUSR1)
    with signals_on(loop, (signal.SIGUSR1, signal.SIGUSR2), told.append):
        os.kill(os.getpid(), signal.SIGUSR1)
        assert told == []
        loop.turn(10)
        assert told == [signal.SIGUSR1]
        os.kill(os.getpid(), signal.SIGUSR2)
        loop.turn(10)
        assert told == [signal.SIGUSR1, signal.SIGUSR2]
    assert signal.getsignal(signal.SIGUSR1) == before
    assert signal.set_wakeup_fd(-1) == -1
    loop.close()
