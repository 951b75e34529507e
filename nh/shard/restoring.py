"""Restoring: a shard goes on with calls that another process had."""

import logging
import time
from collections.abc import Iterable

from nh.calls.restore import restore_call
from nh.calls.snapshot import decode_snapshot
from nh.calls.table import CallTable
from nh.errors import NhError
from nh.shard.plane import SocketPlane

logger = logging.getLogger(__name__)


def restore_calls(
    table: CallTable, plane: SocketPlane, snapshots: Iterable[tuple[bytes, bytes, float]]
) -> list[bytes]:
    """Put calls back into a table, with the sockets that are in `plane.inherited` where they were held open.

    Arguments:
        snapshots: of each call its call-id, the snapshot, and the seconds to add to its times.

    Returns the call-ids of those that could not be restored: the log says why. One of those costs no other.
    """
    failed: list[bytes] = []
    for call_id, encoded, shift_s in snapshots:
        plane.owner = call_id
        try:
            restore_call(table, decode_snapshot(encoded), shift_s=shift_s, now=time.monotonic())
        except NhError as exc:
            failed.append(call_id)
            logger.error("call %r cannot be restored: %s", call_id, exc)
        except Exception:
            failed.append(call_id)
            logger.exception("call %r cannot be restored", call_id)
    return failed
