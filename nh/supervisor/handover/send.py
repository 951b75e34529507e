"""What a supervisor hands over, and how: to another process, or to the code that it executes (execve(2))."""

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

import msgspec

from nh.config.sources import LoadedSettings
from nh.ipc.fd_passing import batches
from nh.ipc.handover_messages import Connections, HandoverMessage, encode
from nh.room import when_there_is_room
from nh.start_again import HANDOVER_FD
from nh.stats.fields import read_counters
from nh.stats.layout import STATUS_TABLE, SUPERVISOR_TABLE, SupervisorStats
from nh.supervisor.handover.settings import encode_settings
from nh.supervisor.host.locked_dir import Lock
from nh.supervisor.shards.drain import DrainPolicy

logger = logging.getLogger(__name__)

SHORT_S: Final = 5.0
"""So long a step waits for room: the calls have no supervisor meanwhile, and nothing is undone any more."""


class HandoverState(NamedTuple):
    """All that one supervisor hands over to the next. The next one has it as Inherited (nh.ipc.inherited).

    Attributes:
        message: what `fds` are, the counters, and the state of the drain.
        fds: locks, then listening sockets.
        connections: client connections, by protocol.
    """

    message: HandoverMessage
    fds: Sequence[int]
    connections: Mapping[str, Sequence[int]]

    def with_listeners(self, names: Collection[tuple[str, str]]) -> "HandoverState":
        """The same with the listening sockets of these names only."""
        first = len(self.message.locks)
        listeners = zip(self.message.listeners, self.fds[first:], strict=True)
        kept = [(name, fd) for name, fd in listeners if name in names]
        message = msgspec.structs.replace(self.message, listeners=tuple(name for name, _ in kept))
        return self._replace(message=message, fds=[*self.fds[:first], *(fd for _, fd in kept)])

    def with_settings(self, loaded: LoadedSettings) -> "HandoverState":
        """The same with settings in force, for this process alone: they have secrets."""
        return self._replace(message=msgspec.structs.replace(self.message, settings=encode_settings(loaded)))


def collect_handover_state(
    locks: Sequence[Lock],
    listeners: Sequence[tuple[tuple[str, str], int]],
    connections: Mapping[str, Sequence[int]],
    drain: DrainPolicy,
    stats: SupervisorStats,
    *,
    shards: int,
    recorded: Mapping[str, int] | None,
    group: str,
) -> HandoverState:
    """Collect what a supervisor hands over.

    Args:
        locks: of the directories that it uses.
        listeners: its listening sockets: (kind, address) as in HandoverMessage, and the descriptor.
        connections: see HandoverState.
        drain: whether and how long new calls are refused.
        stats: its counters and the start of nh go on.
        shards: how many shards it has.
        recorded, group: see HandoverMessage.
    """
    message = HandoverMessage(
        locks=tuple(str(lock.path) for lock in locks),
        listeners=tuple(what for what, _ in listeners),
        draining=drain.draining,
        drain_left_s=drain.left_s,
        counters=read_counters(stats, SUPERVISOR_TABLE),
        shard_counters=tuple(read_counters(status, STATUS_TABLE) for status in stats.shards[:shards]),
        running_since=stats.running_since,
        recorded=dict(recorded or {}),
        group=group,
    )
    return HandoverState(message, [*(lock.fd for lock in locks), *(fd for _, fd in listeners)], connections)


def send_handover(end: socket.socket, state: HandoverState) -> None:
    """Send what is handed over. The descriptors stay open here too.

    If some connections cannot be sent, for want of room, the handover goes on: their clients connect again.

    Raises:
        OSError: the other end is gone, or there is no room for SHORT_S.
    """
    when_there_is_room(lambda: send_state(end, state), SHORT_S)
    try:
        send_connections(end, state)
    except OSError as exc:
        logger.warning(
            "some client connections cannot be handed over: %s; these clients have to connect again",
            exc.strerror,
        )


def send_state(end: socket.socket, state: HandoverState) -> None:
    """Send what is handed over, but for client connections. Raises OSError."""
    socket.send_fds(end, [encode(state.message)], list(state.fds))


def send_connections(end: socket.socket, state: HandoverState) -> None:
    """Send client connections behind the state, as many as the socket takes now. Raises OSError."""
    end.setblocking(False)
    for protocol, fds in state.connections.items():
        for batch in batches(fds):
            socket.send_fds(end, [encode(Connections(protocol))], list(batch))


def execute_next(state: HandoverState, argv: Sequence[str]) -> NoReturn:
    """Execute the next supervisor in this process (execve(2)), with the state on a descriptor.

    Args:
        state: what is handed over.
        argv: the program and its arguments.

    Raises:
        OSError: the program cannot be executed, or there is no room for SHORT_S.
    """
    near, far = when_there_is_room(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET), SHORT_S)
    with near, far:
        send_handover(near, state)
        execute_with(far, argv)


def execute_with(end: socket.socket, argv: Sequence[str]) -> NoReturn:
    """Execute the next supervisor in this process, which receives the state from `end`.

    Raises:
        OSError: the program cannot be executed, or there is no room for SHORT_S.
    """
    os.set_inheritable(end.fileno(), True)
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, HANDOVER_FD: str(end.fileno())}
    when_there_is_room(lambda: os.execve(argv[0], list(argv), environment), SHORT_S)
    raise AssertionError  # execve(2) returns only if it fails


def execute_anew() -> NoReturn:
    """Execute the installed code in this process with the same command line, and hand over nothing.

    Raises:
        OSError: the program cannot be executed, or there is no room for SHORT_S.
    """
    argv = own_argv()
    logging.shutdown()
    sys.stdout.flush()
    when_there_is_room(lambda: os.execv(argv[0], argv), SHORT_S)
    raise AssertionError  # execv(3) returns only if it fails


def own_argv(shards: int | None = None) -> list[str]:
    """The command line of this process, with the same interpreter.

    Args:
        shards: the number of shards, which overrides the settings; None: as in the settings.
    """
    argv = [sys.executable, *sys.orig_argv[1:]]
    if shards is None:
        return argv
    if argv[-2:-1] == ["--shards"]:  # of the last change of the number
        del argv[-2:]
    return [*argv, "--shards", str(shards)]


@contextlib.contextmanager
def ending_unless_executed(program: str) -> Iterator[None]:
    """Within the block, end this process if it cannot execute the program."""
    try:
        yield
    except OSError as exc:
        logger.critical(
            "nh cannot go on: %s: %s; its shards relay without a supervisor: start nh again",
            program,
            exc.strerror,
        )
        end_without_undoing(1)


def end_without_undoing(status: int) -> NoReturn:
    """End this process at once. Files, locks and shared memory stay: they belong to the next supervisor."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
