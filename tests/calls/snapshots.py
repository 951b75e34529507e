"""What tests of snapshots share: a call over there, from its bytes."""

from nh.calls.snapshots.call import Clock, restore_call, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.calls.table import CallTable


def written(table: CallTable, call_id: bytes, *, now: float) -> bytes:
    """The snapshot of a call as bytes."""
    call = table.get_call(call_id)
    return encode_snapshot(take_snapshot(call, clock=Clock(monotonic=now, wall=now + 1e9)))


def move_calls(before: CallTable, after: CallTable, *, now: float, shift_s: float = 0.0) -> None:
    """All calls of one table in another one, as they are after the way through bytes."""
    for call in before:
        snapshot = decode_snapshot(written(before, call.call_id, now=now))
        restore_call(after, snapshot, shift_s=shift_s, now=now + shift_s)
