"""A shard is killed while calls are set up at full speed: a client that asks again gets the right answer.

No command may be executed twice: a second one would take more ports, or begin a second session.
"""

import functools
import random
import time

import pytest

from nh.client import NativeClient
from nh.commands import Close
from tools.harness.deployment import Deployment
from tools.harness.waiting import eventually
from tools.survive.background_load import background_load
from tools.survive.call_setup import CallSetup
from tools.survive.faults import FaultKind, inject
from tools.survive.scenario import load_options
from tools.survive.verdict import Verdict

TALKING = 100
A_FEW = 50


@pytest.mark.parametrize("kills", [0, 3])
def test_set_up_at_full_speed_outlives_shards(relay: Deployment, rng: random.Random, kills: int) -> None:
    with background_load(load_options(relay.address, calls=TALKING)) as load:
        load.wait_until_up()
        with CallSetup(relay.address, threads=4) as clients:
            faults = []
            eventually(functools.partial(_has_set_up, clients, A_FEW), "set-up goes on")
            for _ in range(kills):
                time.sleep(rng.uniform(0, 0.3))  # any instant of a command
                faults.append(inject(FaultKind.KILL_SHARD, relay, rng))
                enough = clients.calls_set_up + A_FEW
                eventually(functools.partial(_has_set_up, clients, enough), "set-up goes on")
            answers = clients.stop()
        assert not clients.errors, clients.errors
        assert bool(clients.repeated) == bool(kills), "a command was under way when a shard died"
        with NativeClient(relay.address) as client:
            wrong = [line for answer in answers for line in answer.differences(client)]
            assert not wrong, "\n".join(wrong)
            assert all(client.request(Close(answer.key)).sessions == 1 for answer in answers)
        report = load.stop()
    findings = list(Verdict(faults, kernel=relay.kernel, hang_s=0).findings(report.streams))
    assert not findings, "\n".join(findings)
    assert report.signalled.failures == ()
    eventually(lambda: relay.stats().totals.ports_free == relay.stats().totals.ports_total, "ports are free")


def _has_set_up(clients: CallSetup, calls: int) -> bool:
    return clients.calls_set_up >= calls or bool(clients.errors)
