"""nh.supervisor.host.signals: signals become events of the loop, and go back to what they were."""

import os
import signal
import subprocess
import sys

from nh.loop import SelectorLoop
from nh.supervisor.host.signals import signals_on


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


EXECUTES_ITSELF = """
import os, signal, sys
from nh.loop import SelectorLoop
from nh.supervisor.host.signals import signals_on

loop, told = SelectorLoop(), []
with signals_on(loop, (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP), told.append) as leave:
    if sys.argv[1:]:
        os.kill(os.getpid(), signal.SIGUSR1)
        leave([signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGHUP)
        os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
    while len(told) < 3:
        loop.turn(10)
    print(*sorted(number.name for number in told))
"""


def test_signals_that_are_left_are_told_in_the_program_that_is_executed() -> None:
    """One that was not read, one that was not obeyed, and one that comes when they are left already."""
    command = [sys.executable, "-c", EXECUTES_ITSELF, EXECUTES_ITSELF]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "SIGHUP SIGTERM SIGUSR1\n", "")


IN_TURN = """
import os, signal, threading
from nh.loop import SelectorLoop
from nh.supervisor.host.signals import signals_on
from nh.threads import start_thread

loop, told, blocked, over = SelectorLoop(), [], [], threading.Event()
numbers = (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP)

def wait():
    # one that got a signal could end nh before the second user has its handlers, or a moment too late
    blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    over.wait()

with signals_on(loop, numbers, told.append) as leave:
    start_thread(threading.Thread(target=wait))
    os.kill(os.getpid(), signal.SIGUSR1)
    leave(())
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGHUP)
with signals_on(loop, numbers, told.append):
    while len(told) < 3:
        loop.turn(10)
over.set()
assert blocked[0] >= set(numbers)
print(*sorted(number.name for number in told))
"""


def test_signals_between_two_users_of_them_wait_for_the_second_one() -> None:
    """A standby becomes the relay in between, and its store has a thread."""
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "SIGHUP SIGTERM SIGUSR1\n", "")
