"""Which media ports are free, by local address: RTP wants an even port and its neighbours (RFC 3550 11).

Pure bookkeeping: whether the host really lets a port be bound is the business of whoever opens it.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from nh.errors import PortsExhausted

Opened = TypeVar("Opened")

MAX_ATTEMPTS = 200
"""How many runs of ports that other programs hold are tried before an allocation is refused."""

MAX_IDLE_POOLS = 64
"""How many addresses are remembered after their last call, so that their ports rest before the next."""

_FREE = b"\0"
_TAKEN = b"\1"


class PortInUse(Exception):
    """Somebody else holds one of the ports; another run may do."""


class PortPool:
    """The ports of one slice on one address, handed out in pairs that begin at an even port.

    Arguments:
        low: lowest port, even.
        high: highest port, odd, above low.
        begin: how far into the slice the first search begins, 0 up to 1.

    Raises ValueError for anything else. The search goes on where the last one ended, so a port rests as
    long as possible before its next call. Where a predecessor's search ended is not known: after each
    reservation the search goes on as far from it as possible, because around the newest calls are the ports
    of those that ended a moment ago, or were forgotten, and to which phones may still send.
    """

    def __init__(self, low: int, high: int, begin: float = 0.0) -> None:
        _check_slice(low, high)
        self.low = low
        self.high = high
        self._pairs = bytearray((high - low + 1) // 2)
        self._cursor = _aligned(int(begin * len(self._pairs)))
        self._taken = 0

    @property
    def total(self) -> int:
        """Number of ports in the slice."""
        return 2 * len(self._pairs)

    @property
    def free(self) -> int:
        """Number of ports that are free."""
        return 2 * (len(self._pairs) - self._taken)

    def take(self, count: int) -> int | None:
        """The even base of `count` consecutive ports (1 or more), now taken; None if there is no such run."""
        pairs = (count + 1) // 2
        at = self._pairs.find(_FREE * pairs, self._cursor)
        if at < 0:
            at = self._pairs.find(_FREE * pairs, 0, self._cursor + pairs - 1)
        if at < 0:
            return None
        self._pairs[at : at + pairs] = _TAKEN * pairs
        self._taken += pairs
        self._cursor = (at + pairs) % len(self._pairs)
        return self.low + 2 * at

    def __contains__(self, base: int) -> bool:
        """Whether the pair that begins at `base` (even) is of the slice."""
        return self.low <= base < self.high

    def reserve(self, base: int, count: int) -> bool:
        """Take `count` ports from `base` (even) on; False if one of them is taken. All are of the slice."""
        pairs = (count + 1) // 2
        at = (base - self.low) // 2
        if _TAKEN in self._pairs[at : at + pairs]:
            return False
        self._pairs[at : at + pairs] = _TAKEN * pairs
        self._taken += pairs
        self._cursor = _aligned((at + pairs + len(self._pairs) // 2) % len(self._pairs))
        return True

    def release(self, base: int, count: int) -> None:
        """Give back what take(count) handed out as `base`."""
        pairs = (count + 1) // 2
        at = (base - self.low) // 2
        self._pairs[at : at + pairs] = _FREE * pairs
        self._taken -= pairs


class PortSpace:
    """The same slice of ports on every local address that calls ask for.

    Arguments:
        low, high: see PortPool.
        own: other slices, for the addresses that have one of their own.
        begin: see PortPool.
    """

    def __init__(
        self, low: int, high: int, own: Mapping[str, tuple[int, int]] | None = None, *, begin: float = 0.0
    ) -> None:
        self._bounds = (low, high)
        self._begin = begin
        self._own = dict(own or {})
        for bounds in (self._bounds, *self._own.values()):
            _check_slice(*bounds)
        self._pools: dict[str, PortPool] = {}
        # (address, even port) of reserved pairs that are in another slice
        self._beyond: set[tuple[str, int]] = set()

    @property
    def total(self) -> int:
        """Number of ports in the slice (on each address)."""
        low, high = self._bounds
        return high - low + 1

    @property
    def free(self) -> int:
        """Free ports on the address that has the fewest: what the next call may meet."""
        return min((pool.free for pool in self._pools.values()), default=self.total)

    def open_run(
        self, address: str, count: int, open_sockets: Callable[[str, int, int], Opened]
    ) -> tuple[int, Opened]:
        """Take `count` consecutive ports on `address` and open them.

        Arguments:
            address: local IP address.
            count: number of ports, 1 or more.
            open_sockets: called with (address, base, count); raises PortInUse to be asked for another run.

        Returns the even base port and what open_sockets returned. Raises PortsExhausted, and whatever
        else open_sockets raises; then no port is taken.
        """
        pool = self._pools.get(address)
        if pool is None:
            pool = self._new_pool(address)
        refused: list[int] = []
        try:
            for _ in range(MAX_ATTEMPTS):
                base = pool.take(count)
                if base is None:
                    break
                try:
                    opened = open_sockets(address, base, count)
                except PortInUse:
                    refused.append(base)
                except BaseException:
                    pool.release(base, count)
                    raise
                else:
                    # only now: an address that cannot be bound must not leave a pool behind
                    self._pools[address] = pool
                    return base, opened
        finally:
            for base in refused:
                pool.release(base, count)
        held = f", {len(refused)} runs are held by other programs" if refused else ""
        raise PortsExhausted(
            f"no {count} consecutive ports free on {address} in {pool.low}-{pool.high}"
            f" ({pool.free} of {pool.total} free{held}); widen --ports"
        )

    def reserve(self, address: str, base: int, count: int) -> None:
        """Take `count` ports from `base` on for a call that is restored, wherever they are.

        With another number of shards than before, they may be in another slice, or half in this one.

        Arguments:
            address: local IP address.
            base: lowest port, even.
            count: number of ports, 1 or more; the last is 65535 at most.

        Raises PortInUse if one of them is taken; then none is.
        """
        if base % 2 or not 0 < base <= 65536 - count:
            raise ValueError(f"{count} ports from {base} on are no run of ports")
        pool = self._pools.get(address) or self._new_pool(address)
        taken: list[int] = []
        for pair in range(base, base + count, 2):
            place = (address, pair)
            if pair in pool:
                free = pool.reserve(pair, 2)
            else:
                free = place not in self._beyond
                self._beyond.add(place)
            if not free:
                for each in taken:
                    self._release_pair(pool, address, each)
                raise PortInUse(f"port {pair} on {address}")
            taken.append(pair)
        if any(pair in pool for pair in taken):
            self._pools[address] = pool

    def release(self, address: str, base: int, count: int) -> None:
        """Give back a run that open_run returned, or that was reserved."""
        pool = self._pools.get(address)
        if self._beyond:
            for pair in range(base, base + count, 2):
                self._release_pair(pool, address, pair)
        elif pool is not None:
            pool.release(base, count)
        if pool is None:
            return
        if pool.free == pool.total and len(self._pools) > MAX_IDLE_POOLS:
            # all of 127.0.0.0/8 can be bound: nobody may fill the memory with pools of one call each
            del self._pools[address]

    def _new_pool(self, address: str) -> PortPool:
        return PortPool(*self._own.get(address, self._bounds), begin=self._begin)

    def _release_pair(self, pool: PortPool | None, address: str, pair: int) -> None:
        if pool is not None and pair in pool:
            pool.release(pair, 2)
        else:
            self._beyond.discard((address, pair))


def _check_slice(low: int, high: int) -> None:
    if low % 2 or not high % 2 or high < low:
        raise ValueError(f"port slice {low}-{high} is not from an even to an odd port")


def _aligned(pair: int) -> int:
    """Where a search may begin: runs of two pairs then leave no odd one over at the end of the slice."""
    return pair & ~1
