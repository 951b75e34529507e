"""Runs of ports that programs claim at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

from tools.harness.ports import claim_ports

CLAIMANTS = 4
ROUNDS = 20


def test_all_that_claim_ports_at_once_get_ports_of_their_own() -> None:
    together = threading.Barrier(CLAIMANTS, timeout=90)

    def claim(_: int) -> range:
        together.wait()
        with claim_ports(401) as ports:
            together.wait()
            return ports

    with ThreadPoolExecutor(CLAIMANTS) as claimants:
        for _ in range(ROUNDS):
            claimed = list(claimants.map(claim, range(CLAIMANTS)))
            assert not [two for two in combinations(claimed, 2) if set(two[0]) & set(two[1])]
