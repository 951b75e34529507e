"""20 calls on two hosts, every packet numbered, while the host that has them is killed, stopped or cut off.

What each stream lost, and what both hosts sent, is printed: NH_SURVIVE_SEED and NH_SURVIVE_RUNS as for
test_faults. Promises: tools/survive/limits.py and docs/how-to/failover.md.
"""

import random
from collections.abc import Iterator

import pytest

from tests.netns import needs_namespaces
from tools.harness.hosts import Hosts
from tools.survive.host_faults import HostFault
from tools.survive.host_scenario import CALLS, hosts_with_relays, play_on_hosts

pytestmark = pytest.mark.valkey


@pytest.fixture(params=["user-space", pytest.param("kernel", marks=pytest.mark.kernel)])
def network(request: pytest.FixtureRequest, alone: None) -> Iterator[Hosts]:
    """Two hosts whose relays have two shards, over either path."""
    needs_namespaces()
    with hosts_with_relays(kernel=request.param == "kernel") as network:
        yield network


@pytest.mark.parametrize("kind", list(HostFault))
def test_calls_survive_their_host(network: Hosts, rng: random.Random, kind: HostFault) -> None:
    outcome = play_on_hosts(network, kind, rng)
    print(outcome, *outcome.losses, sep="\n")
    assert not outcome.failures, "\n".join([str(outcome), *outcome.failures])
    assert outcome.outcome.report.signalled.calls_set_up == CALLS
    assert len(outcome.outcome.report.streams) == 4 * CALLS
    assert outcome.answered
