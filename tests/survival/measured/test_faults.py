"""200 calls with media both ways, 100 with SRTP, every packet numbered, while something is done to the relay.

Promises: tools/survive/limits.py and docs/reference/reliability.md. Faults strike at random instants
under a seed that is printed; NH_SURVIVE_SEED repeats it, NH_SURVIVE_RUNS=20 lets each strike 20 times.
"""

import random

import pytest

from tools.harness.deployment import Deployment
from tools.harness.waiting import eventually
from tools.survive.faults import FaultKind
from tools.survive.scenario import CALLS, Outcome, browser_load, play_through, secured_load

GCM, CM = "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"


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
        FaultKind.BROKEN_TAKEOVER,
        FaultKind.KILL_ALL,
        FaultKind.RESTART,
    ],
)
def test_calls_survive(relay: Deployment, rng: random.Random, kind: FaultKind) -> None:
    assert_survived(relay, play_through(relay, kind, rng), CALLS)


@pytest.mark.parametrize(
    ("kind", "suite"),
    [
        (FaultKind.NONE, GCM),
        (FaultKind.KILL_SHARD, CM),
        (FaultKind.KILL_SHARD_TEN_TIMES, GCM),
        (FaultKind.KILL_EVERY_SHARD, CM),
        (FaultKind.HANG_SHARD, GCM),
        (FaultKind.KILL_SUPERVISOR, GCM),
        (FaultKind.UPGRADE, CM),
        (FaultKind.FEWER_SHARDS, GCM),
        (FaultKind.TAKEOVER, GCM),
        (FaultKind.BROKEN_TAKEOVER, CM),
        (FaultKind.KILL_ALL, CM),
        (FaultKind.RESTART, GCM),
    ],
)
def test_calls_with_srtp_on_one_side_survive(
    secured_relay: Deployment, rng: random.Random, kind: FaultKind, suite: str
) -> None:
    options = secured_load(secured_relay, str(secured_relay.settings["ng"]), suite)
    assert_survived(secured_relay, play_through(secured_relay, kind, rng, options=options), options.calls)


@pytest.mark.parametrize(
    ("kind", "suite"),
    [
        (FaultKind.NONE, CM),
        (FaultKind.KILL_SHARD, GCM),
        (FaultKind.KILL_SHARD_TEN_TIMES, CM),
        (FaultKind.KILL_EVERY_SHARD, GCM),
        (FaultKind.HANG_SHARD, CM),
        (FaultKind.KILL_SUPERVISOR, CM),
        (FaultKind.UPGRADE, GCM),
        (FaultKind.MORE_SHARDS, CM),
        (FaultKind.FEWER_SHARDS, GCM),
        (FaultKind.TAKEOVER, CM),
        (FaultKind.BROKEN_TAKEOVER, GCM),
        (FaultKind.KILL_ALL, GCM),
        (FaultKind.RESTART, CM),
    ],
)
def test_calls_of_browsers_survive(
    secured_relay: Deployment, rng: random.Random, kind: FaultKind, suite: str
) -> None:
    options = browser_load(secured_relay, str(secured_relay.settings["ng"]), suite)
    outcome = play_through(secured_relay, kind, rng, options=options)
    assert_survived(secured_relay, outcome, options.calls, media=2)
    assert outcome.report.browsers is not None
    assert outcome.report.browsers.answered > options.calls, "consent was checked meanwhile"


def assert_survived(relay: Deployment, outcome: Outcome, calls: int, *, media: int = 1) -> None:
    """All promises were kept, and nothing was left behind."""
    print(outcome)
    assert not outcome.failures, "\n".join([str(outcome), *outcome.failures])
    assert outcome.report.signalled.calls_set_up == calls
    assert len(outcome.report.streams) == 4 * media * calls
    assert not outcome.report.generator.send_failures
    eventually(lambda: relay.stats().totals.ports_free == relay.stats().totals.ports_total, "ports are free")
