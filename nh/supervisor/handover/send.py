"""How a supervisor leaves while its shards relay on: for the code installed now, or for another process.

It takes no more commands, lets those that are under way be answered, and hands on its locks, its listening
sockets, and its clients' connections. Nothing is undone behind that: what would be ended or removed is
somebody else's by then.
"""

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

from nh.ipc.channel import batches
from nh.ipc.handover_messages import Connections, HandoverMessage, encode
from nh.loop import Loop
from nh.stats.layout import STATUS_TABLE, SUPERVISOR_TABLE, SupervisorStats, read_counters
from nh.supervisor.handover.receive import VARIABLE
from nh.supervisor.host.locked_dir import Lock
from nh.supervisor.shards.drain import Drain

logger = logging.getLogger(__name__)

POLL_S: Final = 0.01
"""How often it is looked whether commands are still under way."""


def when_quiet(loop: Loop, busy: Callable[[], bool], *, timeout_s: float, then: Callable[[], None]) -> None:
    """Call `then` from the loop, once nothing is under way, or after a time all the same.

    Arguments:
        loop: runs the timer.
        busy: whether anything is.
        timeout_s: longest wait.
    """
    deadline = loop.now() + timeout_s

    def look() -> None:
        if busy() and loop.now() < deadline:
            loop.call_later(POLL_S, look)
        else:
            then()

    loop.call_later(0, look)


class HandoverState(NamedTuple):
    """What a supervisor leaves.

    Arguments:
        bequest: what `fds` are, and how things stand.
        fds: locks and listening sockets.
        connections: clients' connections, by protocol.
    """

    bequest: HandoverMessage
    fds: Sequence[int]
    connections: Mapping[str, Sequence[int]]


def collect_handover_state(
    locks: Sequence[Lock],
    listeners: Sequence[tuple[tuple[str, str], int]],
    connections: Mapping[str, Sequence[int]],
    drain: Drain,
    stats: SupervisorStats,
    *,
    shards: int,
) -> HandoverState:
    """What a supervisor leaves.

    Arguments:
        locks: that it holds.
        listeners: its listening sockets: what each is to an InheritedFds, and its descriptor.
        connections: see Legacy.
        drain: how far it is.
        stats: whose counters go on.
        shards: how many it has.
    """
    bequest = HandoverMessage(
        locks=tuple(str(lock.path) for lock in locks),
        listeners=tuple(what for what, _ in listeners),
        draining=drain.draining,
        drain_left_s=drain.left_s,
        counters=read_counters(stats, SUPERVISOR_TABLE),
        shard_counters=tuple(read_counters(status, STATUS_TABLE) for status in stats.shards[:shards]),
    )
    return HandoverState(bequest, [*(lock.fd for lock in locks), *(fd for _, fd in listeners)], connections)


def send_handover(end: socket.socket, legacy: HandoverState) -> None:
    """Say what is left; the descriptors go with it and stay open here too. Raises OSError.

    Connections that do not go, for want of room, are no reason to stay: their clients connect again.
    """
    socket.send_fds(end, [encode(legacy.bequest)], list(legacy.fds))
    end.setblocking(False)
    try:
        for protocol, fds in legacy.connections.items():
            for batch in batches(fds):
                socket.send_fds(end, [encode(Connections(protocol))], list(batch))
    except OSError as exc:
        logger.warning("not all clients' connections can be handed on: %s", exc.strerror)


def become_new_code(legacy: HandoverState, argv: Sequence[str]) -> NoReturn:
    """Go on as the same process with the code that is installed now (execve(2)).

    Arguments:
        legacy: for this process itself.
        argv: the program and its arguments.

    Raises OSError if the program cannot be run.
    """
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        send_handover(near, legacy)
        os.set_inheritable(far.fileno(), True)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(argv[0], list(argv), {**os.environ, VARIABLE: str(far.fileno())})


def own_argv(shards: int | None = None) -> list[str]:
    """This process's command line, for the interpreter that runs it now.

    Arguments:
        shards: a number of shards instead of the one in the settings; None: theirs.
    """
    argv = [sys.executable, *sys.orig_argv[1:]]
    if shards is None:
        return argv
    if argv[-2:-1] == ["--shards"]:  # from the last time
        del argv[-2:]
    return [*argv, "--shards", str(shards)]


def end_without_undoing(status: int) -> NoReturn:
    """End this process at once: files, locks and shared memory are the next one's, and stay as they are."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
