"""nh.shard.recovery.orphan: no call ends while a successor receives the calls, however slowly."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from nh.calls.events import CallObserver
from nh.calls.settings import RelayConfig
from nh.ipc.handover_messages import Transfer, encode
from nh.ipc.handover_socket import HandoverSocket
from nh.ipc.link_messages import Configure
from nh.shard.recovery.orphan import Orphan
from nh.shard.recovery.recovery import Recovery
from nh.shard.recovery.unconfirmed import UnconfirmedRecords
from tests.shard.conftest import MakePeer
from tests.shard.test_checkpoints import Saved
from tests.shard.testbed import RelayTestbed

LATER_S = 1_000_000.0
"""Every session is silent by then."""


class Rounds(CallObserver):
    """Counts what follows the expiry of each round."""

    def __init__(self) -> None:
        self.times = 0

    def housekeeping(self, _now: float) -> None:
        self.times += 1


@pytest.fixture
def testbed(ports: range) -> Iterator[RelayTestbed]:
    testbed = RelayTestbed(ports)
    yield testbed
    testbed.close()


def test_silent_calls_end_only_after_a_slow_successor_has_left(
    testbed: RelayTestbed,
    make_peer: MakePeer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("nh.shard.recovery.orphan.PATIENCE_S", 0.0)
    relay = testbed.relay
    recovery = Recovery(relay, Saved())
    listening = HandoverSocket.open(str(tmp_path / "shard-0.sock"))
    assert listening is not None
    configure = Configure(RelayConfig(), "no segment")
    orphan = Orphan(
        testbed.loop, recovery, configure, listening, records=UnconfirmedRecords(), on_over=lambda: None
    )
    testbed.call(make_peer(), make_peer())
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
        successor.connect(str(tmp_path / "shard-0.sock"))
        successor.send(encode(Transfer()))
        testbed.turn_until(lambda: "relays again" in caplog.text, "it relays again")
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + LATER_S)
        monkeypatch.setattr("nh.shard.ticker.time", later)
        rounds = Rounds()
        relay.observe(rounds)
        testbed.turn_until(lambda: rounds.times, "a round in which silent calls would end")
        assert relay.calls == 1
    testbed.turn_until(lambda: not relay.calls, "it ends")
    orphan.close()
    listening.close()
