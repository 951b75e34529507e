"""The flows of one shard: what the kernel relays for it.

All shards share two maps, `flows` and `counters`; each shard has a range of the latter
(nh.fastpath.counter_range). The module knows the layout of a flow (nh.fastpath.layout), not the reason for
one.
"""

import contextlib
from collections.abc import Iterator

from nh.calls.media import Endpoint
from nh.errors import KernelPathUnavailable, KernelTableFull
from nh.fastpath import bpf, layout
from nh.fastpath.counter_range import CounterRange


class FlowTable:
    """The flows of one shard.

    Args:
        flows_fd, counters_fd: descriptors of the maps; they stay open as long as the table is used.
        shard: number of the shard, 0 to 65535.
        first_index, indexes: the shard's range of the counters map: one entry for the carry-over, then one
            for each flow.
        carry_over: packets and bytes that the totals begin with.
        successor: True: keep the flows and counters that a predecessor left, for adopt_stale_flow();
            False: remove them.

    Attributes:
        counters: of the flows.
        held: whether another process is to go on with the flows, so that their users change none; see hold().
        unknown: why the flows that a predecessor left are not known, which still forward; "": they are. No
            flow may be added then: its counters may be those of one of them.
        refused: how many changes and questions the kernel has refused.

    Raises:
        KernelPathUnavailable: the kernel refuses; so for every method that says nothing else.
    """

    def __init__(
        self,
        flows_fd: int,
        counters_fd: int,
        *,
        shard: int,
        first_index: int,
        indexes: int,
        carry_over: tuple[int, int] = (0, 0),
        successor: bool = False,
    ) -> None:
        self.shard = shard
        self.held = False
        self.unknown = ""
        self.refused = 0
        self._flows_fd = flows_fd
        self.counters = CounterRange(counters_fd, first_index, indexes)
        self._share = indexes - 1
        self._flows: dict[bytes, tuple[Endpoint, layout.FlowEntry]] = {}
        self._markers: dict[bytes, bytes] = {}  # the key of each, and that of its flow
        self._to_mark: dict[bytes, None] = {}  # keys of flows
        self._doubtful: set[bytes] = set()  # keys of flows that may be others in the kernel
        self._stale: dict[bytes, bytes] = {}  # a predecessor's, by key, which are not adopted yet
        if successor:
            self.find_stale_flows()
        else:
            self._clear()
            self.counters.clear(carry_over)

    def __len__(self) -> int:
        """How many flows there are."""
        return len(self._flows)

    def add(self, local: Endpoint, flow: layout.FlowEntry) -> None:
        """Let the kernel relay what arrives at `local`.

        Raises:
            KernelTableFull: there is no room for another flow.
        """
        key = layout.pack_key(local)
        if len(self._flows) + len(self._markers) >= self._share and self._markers:
            self._remove_marker(next(iter(self._markers)))
        self._write(key, flow, bpf.UpdateMode.NEW)
        self._flows[key] = local, flow
        self._mark_later(key, layout.pack_key(flow.out))

    def replace(self, local: Endpoint, flow: layout.FlowEntry) -> None:
        """Change what the kernel does with packets for `local`.

        Raises:
            KernelTableFull: another process had removed the flow, and there is no room for it any more.
        """
        key = layout.pack_key(local)
        mode = bpf.UpdateMode.ANY if key in self._doubtful else bpf.UpdateMode.REPLACE
        self._write(key, flow, mode)
        self._doubtful.discard(key)
        _, before = self._flows[key]
        self._flows[key] = local, flow
        if (before.out, before.target) != (flow.out, flow.target):
            self._unmark(key, before)
            self._mark_later(key, layout.pack_key(before.out), layout.pack_key(flow.out))

    def remove(self, local: Endpoint) -> None:
        """Leave packets for `local` to the socket; a packet in flight may still be counted."""
        key = layout.pack_key(local)
        self._delete(key)
        self._doubtful.discard(key)
        _, flow = self._flows.pop(key)
        self._unmark(key, flow)
        self._mark_later(layout.pack_key(flow.out))

    # --- another process that was to go on with the flows ---------------------------------------------------

    def hold(self) -> None:
        """Leave the flows to another process."""
        self.held = True

    def release(self) -> None:
        """Have the flows back. Each is doubtful until replace(): the other process may have removed it.

        It may have made markers, too, which nothing else would remove.
        """
        self.held = False
        self.doubt()
        with contextlib.suppress(KernelPathUnavailable):
            for key, _, owner in self._own_flows():
                if not owner.mtu_bytes:
                    self._delete(key)
            self._markers = {}
        self._mark_later(*self._flows)

    def doubt(self) -> None:
        """Have each flow be doubtful until replace(): the program may have shortened it."""
        self._doubtful = set(self._flows)

    def is_doubtful(self, local: Endpoint) -> bool:
        """Whether the flow at `local` may be another one in the kernel, or none."""
        return bool(self._doubtful) and layout.pack_key(local) in self._doubtful

    # --- markers: which flow the packets that leave by a port came by --------------------------------------

    def update_markers(self) -> None:
        """Mark the flows that need it since the last call; to be called once or twice a second.

        The directions of a call begin, and end, one after the other: in between, few flows need a marker.
        """
        keys, self._to_mark = self._to_mark, {}
        for key in keys:
            self._mark(key)

    def _mark_later(self, *keys: bytes) -> None:
        self._to_mark.update(dict.fromkeys(keys))

    def _mark(self, key: bytes) -> None:
        """Let the program find a flow by where its packets go to, where no opposite flow does so.

        A marker is a flow that takes no packet. With none, a router's "packet too big" is noticed later.

        Args:
            key: of the flow, if there is one.
        """
        if key not in self._flows:
            return
        local, flow = self._flows[key]
        opposite = self._flows.get(layout.pack_key(flow.out))
        if opposite is not None and opposite[1].out == local:
            self._unmark(key, flow)
            return
        marker = layout.pack_marker_key(flow.out, flow.target)
        if marker in self._markers or len(self._flows) + len(self._markers) >= self._share:
            return
        leads = layout.FlowEntry(
            source=flow.target,
            out=local,
            target=flow.source,
            ifindex=0,
            counter_index=0,
            mtu_bytes=0,
            shard=self.shard,
        )
        with contextlib.suppress(KernelPathUnavailable):
            self._write(marker, leads, bpf.UpdateMode.NEW)
            self._markers[marker] = key

    def _unmark(self, key: bytes, flow: layout.FlowEntry) -> None:
        """Remove the marker of a flow, if it has one."""
        marker = layout.pack_marker_key(flow.out, flow.target)
        if self._markers.get(marker) == key:
            self._remove_marker(marker)

    def _remove_marker(self, marker: bytes) -> None:
        with contextlib.suppress(KernelPathUnavailable):
            self._delete(marker)
            del self._markers[marker]

    # --- a predecessor's flows ------------------------------------------------------------------------

    def find_stale_flows(self) -> None:
        """Find the flows that a predecessor left; before any flow is added or adopted.

        A predecessor that relays begins and ends flows: once it has stopped, find them again. If the kernel
        refuses, `unknown` says why.
        """
        self._stale = {}
        taken: set[int] = set()
        try:
            found = self._own_flows()
        except KernelPathUnavailable as refusal:
            self.unknown = str(refusal)
            return
        self.unknown = ""
        for key, value, owner in found:
            if owner.mtu_bytes:
                self._stale[key] = value
                taken.add(owner.counter_index)
                continue
            with contextlib.suppress(KernelPathUnavailable):
                self._delete(key)
        self.counters.continue_from(taken)

    @property
    def stale(self) -> int:
        """How many flows that a predecessor left are neither adopted nor removed."""
        return len(self._stale)

    def has_stale_flow(self, local: Endpoint) -> bool:
        """Whether a predecessor left a flow at `local` that is not adopted yet."""
        return bool(self._stale) and layout.pack_key(local) in self._stale

    def adopt_stale_flow(self, local: Endpoint) -> layout.FlowEntry | None:
        """Take over the flow that a predecessor left at `local`; None: there is none."""
        stale = self._stale.pop(layout.pack_key(local), None)
        if stale is None:
            return None
        flow = layout.unpack_flow(stale)
        self._flows[layout.pack_key(local)] = local, flow
        self._mark_later(layout.pack_key(local), layout.pack_key(flow.out))
        return flow

    def remove_stale_flows(self) -> None:
        """Remove the flows of the predecessor that were not adopted; after a refusal, call it again."""
        for key, value in list(self._stale.items()):
            self._delete(key)
            self.counters.free_index(layout.unpack_flow(value).counter_index)
            del self._stale[key]

    def close(self) -> None:
        """Remove all flows and let go of the memory, whether or not the former can be done."""
        try:
            self._clear()
        finally:
            self.counters.close()

    def _clear(self) -> None:
        for key, _, _ in self._own_flows():
            self._delete(key)
        self._flows = {}
        self._markers = {}
        self._to_mark = {}

    def _own_flows(self) -> list[tuple[bytes, bytes, layout.Owner]]:
        """Keys and values of this shard's flows, and of their markers."""
        with self._counting_refusals():
            return list(_flows_of(self._flows_fd, self.shard))

    def _write(self, key: bytes, flow: layout.FlowEntry, mode: bpf.UpdateMode) -> None:
        with self._counting_refusals():
            bpf.update(self._flows_fd, key, layout.pack_flow(flow), mode)

    def _delete(self, key: bytes) -> None:
        with self._counting_refusals():
            bpf.delete(self._flows_fd, key)

    @contextlib.contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        try:
            yield
        except KernelTableFull:
            raise  # it is counted where a direction stays in user space
        except KernelPathUnavailable:
            self.refused += 1
            raise


def remove_flows(flows_fd: int, shard: int) -> None:
    """Remove all flows of a shard and their markers, those of the process before, too.

    Raises:
        KernelPathUnavailable: the kernel refuses.
    """
    for key, _, _ in list(_flows_of(flows_fd, shard)):
        bpf.delete(flows_fd, key)


def _flows_of(flows_fd: int, shard: int) -> Iterator[tuple[bytes, bytes, layout.Owner]]:
    """Keys and values of a shard's flows, and of their markers."""
    for key, value in bpf.elements(flows_fd, layout.KEY.size, layout.FLOW.size):
        owner = layout.owner_of(value)
        if owner.shard == shard:
            yield key, value, owner
