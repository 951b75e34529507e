"""nh.supervisor.main with ng: the ready line, the configuration of shards, and replies."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from nh.calls.interfaces import Interface
from nh.supervisor.shards.routing import shard_of
from nh.wire.ng import bencode
from tests.supervisor.test_run import SHARDS, Run
from tests.wire.ng import offer, payload

INTERFACES = "pub/127.0.0.1!192.0.2.1@1500-1899,priv/127.0.0.2"


def ask(address: tuple[str, int], message: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(address)
        client.send(message)
        return client.recv(65536)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started = Run(tmp_path / "run", ng="127.0.0.1:0", interface=INTERFACES)
    with started.program:
        yield started


def address_of(run: Run) -> tuple[str, int]:
    found = re.search(r"; ng (127\.0\.0\.1):(\d+); ports 1100-1499;", run.program.wait_for_line("ready"))
    assert found is not None
    return found[1], int(found[2])


def test_ng_is_served_where_the_ready_line_says(run: Run) -> None:
    address = address_of(run)
    assert ask(address, b"1 d7:command4:pinge") == b"1 d6:result4:ponge"
    assert ask(address, b"2 " + payload("list")) == b"2 d5:callsle6:result2:oke"
    with socket.create_connection(address, timeout=20) as stream:
        stream.sendall(b"3 d7:command4:pinge")
        assert stream.recv(100) == b"3 d6:result4:ponge"


def test_each_shard_has_its_slice_of_each_interface(run: Run) -> None:
    address, configured = address_of(run), {}
    for number in range(40):
        call_id = b"call-%d" % number
        reply = bencode.decode(ask(address, b"%d " % number + offer(call_id=call_id)).split(b" ", 1)[1])
        assert isinstance(reply, dict)
        configured[shard_of(call_id, SHARDS)] = msgspec.json.decode(reply[b"sdp"], type=tuple[Interface, ...])
    priv = Interface("priv", "127.0.0.2", "127.0.0.2")
    assert configured == {
        0: (Interface("pub", "127.0.0.1", "192.0.2.1", (1500, 1699)), priv),
        1: (Interface("pub", "127.0.0.1", "192.0.2.1", (1700, 1899)), priv),
    }


def test_a_shard_that_dies_sends_its_callers_to_another_relay(run: Run) -> None:
    address = address_of(run)
    assert b"6:result10:load limit" in ask(address, b"1 " + offer(call_id="die", supports=["load limit"]))
    # the same request again is the same reply, and costs no further shard
    assert b"6:result10:load limit" in ask(address, b"1 " + offer(call_id="die", supports=["load limit"]))
    assert b"Load limit exceeded" in ask(address, b"2 " + offer(call_id="die"))
