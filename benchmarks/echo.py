"""The least that an exchange between processes takes where nh runs: a process that sends back what it gets.

It does no work. So what its client waits for is the host: the scheduler of both CPUs, and what else runs.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

from tools.rtpload.streams.histogram import Histogram

MESSAGE = bytes(200)
"""As long as a command."""


@contextlib.contextmanager
def echo_on(cpu: int, times: Histogram) -> Iterator[Callable[[], None]]:
    """Run an echo on a CPU; what is yielded makes one exchange, and notes in `times` how long it took."""
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=_echo, args=(theirs, cpu), daemon=True)
    process.start()
    theirs.close()

    def exchange() -> None:
        start = time.perf_counter_ns()
        ours.send(MESSAGE)
        ours.recv(len(MESSAGE), socket.MSG_WAITALL)
        times.record(time.perf_counter_ns() - start)

    try:
        yield exchange
    finally:
        process.kill()
        process.join()
        ours.close()


def _echo(sock: socket.socket, cpu: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setaffinity(0, {cpu})
    while message := sock.recv(len(MESSAGE)):
        sock.sendall(message)
