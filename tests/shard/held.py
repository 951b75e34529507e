"""What a supervisor has of a shard's calls, for shards that run in the test's own process."""

import contextlib
from collections import Counter
from collections.abc import Sequence

from nh.calls.media import Endpoint


class Held:
    """A CheckpointSink: what the supervisor has."""

    def __init__(self, *, has_backlog: bool = False) -> None:
        self.has_backlog = has_backlog
        self.sockets: dict[Endpoint, int] = {}
        self.snapshots: dict[bytes, bytes] = {}
        self.saved: Counter[bytes] = Counter()
        self.largest = 0

    def in_one_record(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def store_sockets(self, endpoints: Sequence[Endpoint], fds: Sequence[int]) -> None:
        self.largest = max(self.largest, len(fds))
        self.sockets.update(zip(endpoints, fds, strict=True))

    def release_sockets(self, endpoints: Sequence[Endpoint]) -> None:
        for endpoint in endpoints:
            self.sockets.pop(endpoint, None)

    def save_call(self, call_id: bytes, snapshot: bytes) -> None:
        self.snapshots[call_id] = snapshot
        self.saved[call_id] += 1

    def drop_call(self, call_id: bytes, record: bytes = b"") -> None:
        self.snapshots.pop(call_id, None)
