"""Any order of opening, restoring and closing runs on several addresses: no port is handed out twice.

Restored runs may be outside the slice, as after a change of the number of shards.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nh.calls.sockets.ports import PortInUse, PortSpace
from nh.errors import PortsExhausted
from tests.profiles import examples

SHARED = (20_000, 20_015)
OWN = (20_008, 20_019)
SLICES = {"192.0.2.1": SHARED, "192.0.2.2": SHARED, "192.0.2.3": OWN}

ADDRESSES = st.sampled_from(sorted(SLICES))
COUNTS = st.integers(1, 7)
BASES = st.integers(0, 15).map(lambda pair: 19_992 + 2 * pair)


def pairs(base: int, count: int) -> set[int]:
    return set(range(base, base + count, 2))


class SpaceMachine(RuleBasedStateMachine):
    """A plain set has the pairs of ports of each address that are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.space = PortSpace(*SHARED, {"192.0.2.3": OWN})
        self.taken: dict[str, set[int]] = {address: set() for address in SLICES}
        self.runs: list[tuple[str, int, int]] = []

    def take(self, address: str, base: int, count: int) -> None:
        assert not pairs(base, count) & self.taken[address], "a port was handed out twice"
        self.taken[address] |= pairs(base, count)
        self.runs.append((address, base, count))

    @rule(address=ADDRESSES, count=COUNTS, others=st.sets(BASES, max_size=3))
    def open(self, address: str, count: int, others: set[int]) -> None:
        """Open a run, while other programs hold some pairs."""

        def open_sockets(_address: str, base: int, count: int) -> int:
            for held in sorted(pairs(base, count) & others):
                raise PortInUse(address, held)
            return base

        low, high = SLICES[address]
        try:
            base, opened = self.space.open_run(address, count, open_sockets)
        except PortsExhausted:
            starts = range(low, high + 1 - count + count % 2, 2)
            taken = self.taken[address] | others
            assert all(pairs(start, count) & taken for start in starts), "there was such a run"
            return
        assert base == opened
        assert low <= base <= high + 1 - count
        assert base % 2 == 0
        self.take(address, base, count)

    @rule(address=ADDRESSES, base=BASES, count=COUNTS)
    def restore(self, address: str, base: int, count: int) -> None:
        try:
            self.space.reserve(address, base, count)
        except PortInUse:
            assert pairs(base, count) & self.taken[address], "all of it was free"
        else:
            self.take(address, base, count)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        address, base, count = run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        self.taken[address] -= pairs(base, count)
        self.space.release(address, base, count)

    @invariant()
    def the_ports_of_each_slice_are_accounted_for(self) -> None:
        for address, (low, high) in SLICES.items():
            free = pairs(low, high + 1 - low) - self.taken[address]
            assert self.space.free_share(address) == len(free) / ((high + 1 - low) / 2)

    def teardown(self) -> None:
        for run in self.runs:
            self.space.release(*run)
        for address in SLICES:
            self.space.reserve(address, 19_992, 32)


TestAnyRunsOnAnyAddress = SpaceMachine.TestCase
TestAnyRunsOnAnyAddress.settings = settings(max_examples=examples(50), stateful_step_count=30, deadline=None)
