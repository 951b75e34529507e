"""200 calls with media both ways, every packet numbered, while something is done to the relay.

Promises: tools/survive/limits.py and docs/reference/reliability.md. Faults strike at random instants
under a seed that is printed; NH_SURVIVE_SEED repeats it, NH_SURVIVE_RUNS=20 lets each strike 20 times.
"""

import random

import pytest

from tools.harness.deployment import Deployment
from tools.harness.waiting import eventually
from tools.survive.faults import FaultKind
from tools.survive.scenario import CALLS, play_through


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.NONE,
        FaultKind.KILL_SHARD,
        FaultKind.KILL_SHARD_TEN_TIMES,
        FaultKind.KILL_EVERY_SHARD,
        FaultKind.HANG_SHARD,
        FaultKind.KILL_SUPERVISOR,
        FaultKind.UPGRADE,
        FaultKind.MORE_SHARDS,
        FaultKind.FEWER_SHARDS,
        FaultKind.TAKEOVER,
        FaultKind.KILL_ALL,
        FaultKind.RESTART,
    ],
)
def test_calls_survive(relay: Deployment, rng: random.Random, kind: FaultKind) -> None:
    outcome = play_through(relay, kind, rng)
    print(outcome)
    assert not outcome.failures, "\n".join([str(outcome), *outcome.failures])
    assert outcome.report.signalled.calls_set_up == CALLS
    assert len(outcome.report.streams) == 4 * CALLS
    assert not outcome.report.generator.send_failures
    eventually(lambda: relay.stats().totals.ports_free == relay.stats().totals.ports_total, "ports are free")
