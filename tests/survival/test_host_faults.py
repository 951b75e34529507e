"""Faults of a host under load, in small: what `make survive` measures with more calls (measured/)."""

import random

import pytest

from tests.netns import needs_namespaces
from tools.survive.host_faults import HostFault
from tools.survive.host_scenario import hosts_with_relays, play_on_hosts

pytestmark = [pytest.mark.valkey, pytest.mark.full, pytest.mark.timeout(180)]

LEASE_S = 12
"""Four times that of `make survive`: a busy host renews it late."""
PATIENCE_S = 25.0
"""Other tests use the CPUs: gaps and starts are longer, also by the lease, and nothing else."""


@pytest.mark.parametrize("kind", list(HostFault))
def test_calls_and_packets_have_one_host(kind: HostFault) -> None:
    needs_namespaces()
    with hosts_with_relays(lease_s=LEASE_S) as network:
        outcome = play_on_hosts(network, kind, random.Random(kind), calls=4, patience_s=PATIENCE_S)
    assert not outcome.failures, "\n".join([str(outcome), *outcome.failures])
    assert outcome.outcome.report.signalled.calls_set_up == 4
    assert outcome.answered
