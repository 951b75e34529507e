"""What the relay says of lost packets after a fault: only what no process of it can have had."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nh.client import NativeClient
from nh.commands import Activate
from tests.survival.faults import EACH_FAULT
from tests.survival.speech import Speech
from tools.harness.deployment import Deployment, deployed_relay
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 4
BEFORE = AFTER = 100


@pytest.fixture(params=["user space", pytest.param("kernel", marks=pytest.mark.kernel)])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    path: dict[str, Any] = {}
    if request.param == "kernel":
        path = {"kernel": "on", "kernel_interface": "lo"}
    with deployed_relay(state=tmp_path / "calls", silent_s=3600, **path) as deployment:
        deployment.start()
        yield deployment


@pytest.mark.parametrize("happen", EACH_FAULT)
def test_packets_that_a_relay_may_have_passed_on_are_not_lost(
    deployment: Deployment, happen: Callable[[Deployment], None]
) -> None:
    calls = deployment.make_calls(CALLS)
    with Speech(calls) as speech:
        eventually(lambda: speech.sent >= BEFORE, "they talk")
        with NativeClient(deployment.address, TIMEOUT_S) as client:
            for call in calls:
                client.request(Activate(call.key))  # saves the streams as they are
        eventually(lambda: speech.sent >= 2 * BEFORE, "of the packets that follow no snapshot says anything")
        happen(deployment)
        heard = list(speech.heard)
        eventually(lambda: min(map(int.__sub__, speech.heard, heard)) >= AFTER, "they talk on")
    legs = [deployment.relay.call(call.call_id).sessions[0].pairs[0].from_ for call in calls]
    assert [sum(stream.lost for stream in leg.streams) for leg in legs] == [0] * CALLS
