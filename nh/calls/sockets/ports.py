"""Which media ports are free, by local address; RTP takes an even port and the next one (RFC 3550 11).

This is bookkeeping only: whether the host lets a port be bound shows when the media plane opens it.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from nh.errors import PortsExhausted

Opened = TypeVar("Opened")

MAX_ATTEMPTS = 200
"""Runs that are tried, for each pair of ports of a run, before an allocation is refused because other
programs hold a port of each."""

MAX_IDLE_POOLS = 64
"""Most addresses without a call whose port pools are kept, so that their latest ports rest."""

_FREE = b"\0"
_TAKEN = b"\1"


class PortInUse(Exception):
    """Another program or call holds a port.

    Args:
        address: local IP address.
        port: the port.

    Attributes:
        port: the same.
    """

    def __init__(self, address: str, port: int) -> None:
        super().__init__(f"{address} port {port}")
        self.port = port


class PortPool:
    """The ports of one slice on one address, in pairs that begin at an even port.

    Each search begins where the last one ended, so a port rests as long as possible before its next call. For
    restored calls, where the previous process's last search ended is unknown. After each reservation the
    search therefore begins half a slice away: next to the latest calls are the ports of calls that have just
    ended, and phones may still send to these.

    Args:
        low: lowest port, even.
        high: highest port, odd, above `low`.
        begin: where in the slice the first search begins, from 0 to below 1.

    Attributes:
        low, high: as above.

    Raises:
        ValueError: the slice does not begin at an even and end at an odd port.
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
        """Number of free ports."""
        return 2 * (len(self._pairs) - self._taken)

    def take(self, count: int) -> int | None:
        """Take `count` (1 or more) consecutive ports; returns the first, an even one, or None."""
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

    def skip(self, base: int, count: int, port: int) -> None:
        """Free what take() took, but for the pair of a port that another program holds; go on behind that.

        Args:
            base, count: of take().
            port: one of these ports. release() frees its pair.
        """
        self.release(base, count)
        at = (port - self.low) // 2
        self._pairs[at : at + 1] = _TAKEN
        self._taken += 1
        self._cursor = (at + 1) % len(self._pairs)

    def __contains__(self, base: int) -> bool:
        """Whether the pair of ports at `base` (even) is in the slice."""
        return self.low <= base < self.high

    def reserve(self, base: int, count: int) -> bool:
        """Take `count` ports of the slice from `base` (even) on; returns False if one is taken already."""
        pairs = (count + 1) // 2
        at = (base - self.low) // 2
        if _TAKEN in self._pairs[at : at + pairs]:
            return False
        self._pairs[at : at + pairs] = _TAKEN * pairs
        self._taken += pairs
        self._cursor = _aligned((at + pairs + len(self._pairs) // 2) % len(self._pairs))
        return True

    def release(self, base: int, count: int) -> None:
        """Free the ports that take(count) or reserve(base, count) took."""
        pairs = (count + 1) // 2
        at = (base - self.low) // 2
        self._pairs[at : at + pairs] = _FREE * pairs
        self._taken -= pairs


class PortSpace:
    """One slice of ports, on each local address that calls use.

    Args:
        low, high: see PortPool.
        own: slices of the addresses that have their own, by address.
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
        # (address, even port) of reserved pairs outside the slice
        self._beyond: set[tuple[str, int]] = set()

    @property
    def total(self) -> int:
        """Number of ports in the slice, on each address."""
        low, high = self._bounds
        return high - low + 1

    @property
    def free(self) -> int:
        """Number of free ports on the address that has the fewest."""
        return min((pool.free for pool in self._pools.values()), default=self.total)

    def free_share(self, address: str) -> float:
        """What share of the ports of an address is free, 0 to 1."""
        pool = self._pools.get(address)
        return 1.0 if pool is None else pool.free / pool.total

    def open_run(
        self, address: str, count: int, open_sockets: Callable[[str, int, int], Opened]
    ) -> tuple[int, Opened]:
        """Take `count` consecutive ports on `address` and open their sockets.

        Args:
            address: local IP address.
            count: number of ports, 1 or more.
            open_sockets: called with (address, first port, count). If it raises PortInUse, the next run
                without that port is tried.

        Returns:
            The first port, which is even, and what `open_sockets` returned.

        Raises:
            PortsExhausted: no run can be had. Other errors of `open_sockets` are passed on. In all cases no
                port is taken.
        """
        pool = self._pools.get(address)
        if pool is None:
            pool = self._new_pool(address)
        held: list[int] = []
        try:
            for _ in range(MAX_ATTEMPTS * ((count + 1) // 2)):
                base = pool.take(count)
                if base is None:
                    break
                try:
                    opened = open_sockets(address, base, count)
                except PortInUse as exc:
                    pool.skip(base, count, exc.port)
                    held.append(exc.port & ~1)
                except BaseException:
                    pool.release(base, count)
                    raise
                else:
                    # not before: an address that cannot be bound leaves no pool behind
                    self._pools[address] = pool
                    return base, opened
        finally:
            for pair in held:
                pool.release(pair, 2)
        others = f", other programs hold at least {len(held)} of these" if held else ""
        raise PortsExhausted(
            f"no {count} consecutive ports free on {address} in {pool.low}-{pool.high}"
            f" ({pool.free} of {pool.total} free{others}); widen --ports"
        )

    def reserve(self, address: str, base: int, count: int) -> None:
        """Take the ports of a restored call. They may be outside the slice if the number of shards changed.

        Args:
            address: local IP address.
            base: first port, even.
            count: number of ports, 1 or more; the last is 65535 at most.

        Raises:
            PortInUse: one of them is taken; then none of the others is.
            ValueError: the arguments are out of range.
        """
        if base % 2 or not 0 < base <= 65536 - count:
            raise ValueError(f"{count} ports from {base} on are not a valid run")
        pool = self._pools.get(address) or self._new_pool(address)
        taken: list[int] = []
        for pair in range(base, base + count, 2):
            key = (address, pair)
            if pair in pool:
                free = pool.reserve(pair, 2)
            else:
                free = key not in self._beyond
                self._beyond.add(key)
            if not free:
                for each in taken:
                    self._release_pair(pool, address, each)
                raise PortInUse(address, pair)
            taken.append(pair)
        if any(pair in pool for pair in taken):
            self._pools[address] = pool

    def release(self, address: str, base: int, count: int) -> None:
        """Free a run that open_run() or reserve() took."""
        pool = self._pools.get(address)
        if self._beyond:
            for pair in range(base, base + count, 2):
                self._release_pair(pool, address, pair)
        elif pool is not None:
            pool.release(base, count)
        if pool is None:
            return
        if len(self._pools) > MAX_IDLE_POOLS and pool.free == pool.total:
            # all of 127.0.0.0/8 can be bound, so a client could fill the memory with pools of one call each
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
        raise ValueError(f"port slice {low}-{high} does not begin at an even and end at an odd port")


def _aligned(pair: int) -> int:
    """An even number of pairs, so that runs of two pairs leave no single pair at the end of the slice."""
    return pair & ~1
