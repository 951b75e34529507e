"""Browsers that come back all at once, as after a restart, hold up no media of others."""

import pytest

from tools.harness.deployment import deployed_relay
from tools.harness.ports import claim_ports
from tools.harness.waiting import eventually
from tools.survive.burst import play_burst

BROWSERS, CALLS = 100, 10
PORTS = 900
"""Twice what they need: call-ids are not dealt out evenly."""


@pytest.mark.full
def test_handshakes_of_many_browsers_at_once_cost_plain_calls_no_packet() -> None:
    with (
        claim_ports(1) as [port],
        deployed_relay(PORTS, ng=f"127.0.0.1:{port}", address="127.0.0.1", kernel="off") as deployment,
    ):
        deployment.start()
        ng = f"127.0.0.1:{port}"
        burst = play_burst(deployment, ng, "AEAD_AES_128_GCM", browsers=BROWSERS, calls=CALLS)
        assert burst.browsers.signalled.failures == burst.plain.signalled.failures == ()
        assert burst.browsers.signalled.commands["handshake"].count == BROWSERS
        eventually(lambda: deployment.stats().totals.dtls_ok == BROWSERS, "all handshakes are counted")
        assert burst.plain.both.sent > CALLS
        assert [str(stream) for stream in burst.plain.streams if stream.lost > stream.dropped_here] == []
