"""Restoring: a shard goes on with calls that another process had."""

import logging
import time
from collections.abc import Sequence

from nh.calls.media import Endpoint
from nh.calls.restore import restore_call
from nh.calls.snapshot import decode_snapshot
from nh.calls.table import CallTable
from nh.errors import NhError
from nh.shard.plane import SocketPlane

logger = logging.getLogger(__name__)


def restore_calls(
    table: CallTable,
    plane: SocketPlane,
    sockets: dict[Endpoint, int],
    snapshots: Sequence[tuple[bytes, float]],
) -> tuple[int, int]:
    """Put calls back into an empty table, with the sockets that they had where somebody held them open.

    Arguments:
        sockets: descriptors by where they are bound; what no call needs is closed.
        snapshots: of the calls, each with the seconds to add to its times.

    Returns how many were restored, and how many could not be: the log says why. One of those costs no other.
    """
    plane.inherited = sockets
    failed = 0
    for encoded, shift_s in snapshots:
        try:
            snapshot = decode_snapshot(encoded)
            plane.owner = snapshot.call_id
            restore_call(table, snapshot, shift_s=shift_s, now=time.monotonic())
        except NhError as exc:
            failed += 1
            logger.error("a call cannot be restored: %s", exc)
        except Exception:
            failed += 1
            logger.exception("a call cannot be restored")
    plane.close_inherited()
    if plane.kernel is not None:
        plane.kernel.forget_left()
    return len(snapshots) - failed, failed
