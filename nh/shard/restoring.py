"""Restoring: a shard goes on with calls that another process had."""

import logging
import time
from collections.abc import Iterable

from nh.calls.restore import restore_call
from nh.calls.snapshot import decode_snapshot
from nh.calls.table import CallTable
from nh.errors import NhError, PortsExhausted
from nh.shard.clocks import clock_at, shift_since
from nh.shard.plane import SocketPlane
from nh.throttle import Throttle

logger = logging.getLogger(__name__)


def restore_calls(
    table: CallTable, plane: SocketPlane, snapshots: Iterable[tuple[bytes, bytes, float | None]]
) -> list[bytes]:
    """Put calls back into a table, with the sockets that are in `plane.inherited` where they were held open.

    Arguments:
        snapshots: of each call its call-id, the snapshot, and the seconds to add to its times; None: it was
            stored, maybe in another life of this host (nh.shard.clocks).

    Returns the call-ids of those that could not be restored: the log says why. One of those costs no other.
    """
    failed: list[bytes] = []
    shortages = Throttle(logger, time.monotonic)
    for call_id, encoded, known_shift_s in snapshots:
        plane.owner = call_id
        try:
            snapshot = decode_snapshot(encoded)
            now = time.monotonic()
            shift_s = known_shift_s
            if shift_s is None:
                shift_s = shift_since(snapshot.clock, clock_at(now))
            restore_call(table, snapshot, shift_s=shift_s, now=now)
        except PortsExhausted as exc:  # it may be so for all of them
            failed.append(call_id)
            shortages.log(logging.ERROR, "call %r cannot be restored: %s", call_id, exc)
        except NhError as exc:
            failed.append(call_id)
            logger.error("call %r cannot be restored: %s", call_id, exc)
        except Exception:
            failed.append(call_id)
            logger.exception("call %r cannot be restored", call_id)
    return failed
