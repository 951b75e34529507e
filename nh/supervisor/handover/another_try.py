"""Another try of a start behind execve(2): an error there, once, costs no call and no client.

The supervisor before is gone by then. So what was handed over is sent once more, into a socket of this
process, and a start that fails is begun anew from there, by execve(2). It undoes nothing, as one that is
killed: its shards are orphans, and every step of a start copes with what such a start leaves.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from nh.errors import NhError
from nh.ipc.inherited import Inherited
from nh.reasons import reason
from nh.supervisor.handover.send import (
    HandoverState,
    execute_with,
    own_argv,
    send_connections,
    send_state,
)

logger = logging.getLogger(__name__)

TRIES_S: Final = 5.0
"""So long a start that fails is tried again: the calls have no supervisor meanwhile."""

PAUSE_S: Final = 0.1
"""Between two tries, besides the time that Python takes to start."""


def keep_for_another_try(inherited: Inherited) -> None:
    """Give `inherited` what another try needs, if time for tries is left and the system has room for it.

    Args:
        inherited: received behind execve(2), and nothing of it taken yet.
    """
    if not inherited:
        return
    try_until = inherited.message.try_until or time.monotonic() + TRIES_S
    if time.monotonic() >= try_until:
        return
    message = msgspec.structs.replace(inherited.message, try_until=try_until)
    state = HandoverState(message, inherited.fds, inherited.connections)
    try:
        inherited.another_try = _sent(state)
    except OSError as exc:
        logger.warning(
            "the handover cannot be kept for another try: %s; nh ends if this start fails", reason(exc)
        )


def _sent(state: HandoverState) -> socket.socket:
    """A connection from which the state can be received. Raises OSError."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near:
        try:
            send_state(near, state)
            send_connections(near, state)
        except OSError:
            far.close()
            raise
    return far


@contextlib.contextmanager
def trying_again(inherited: Inherited) -> Iterator[None]:
    """Within the block, begin the start anew on an error, if `inherited` has what that needs.

    Raises:
        Exception: of the block, if it has none, or this process cannot execute nh again.
    """
    try:
        yield
    except Exception as exc:
        kept = inherited.another_try
        if kept is None:
            raise
        bug = None if isinstance(exc, NhError | OSError) else exc
        logger.error("nh cannot start: %s; trying again", reason(exc), exc_info=bug)
        time.sleep(PAUSE_S)
        try:
            execute_with(kept, own_argv())
        except OSError as refusal:
            logger.critical("nh cannot be executed again: %s", reason(refusal))
        inherited.drop_another_try()
        raise
