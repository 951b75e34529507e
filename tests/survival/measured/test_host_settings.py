"""Shortages of the whole host, by its real settings: calls go on, new ones are refused or wait, all recovers.

For some seconds every program of the host has the shortage, so they are skipped unless NH_HOST_SETTINGS=1
says that it may. In tests/exhaustion the same is said to nh alone, which is what the system would say.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.client import NativeClient
from nh.commands import Ping
from nh.errors import Unavailable
from tests.exhaustion.new_calls import lines_with, no_shard_fails, wait_until_calls_are_taken
from tests.ng.client import NgClient, NgError
from tests.ng.ng_call import AUDIO, NgCall
from tools.harness.call import RelayedCall
from tools.harness.ports import claim_ports
from tools.harness.relay import Relay, place_for_relay
from tools.harness.waiting import eventually

LIKE_OTHERS = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--")
"""Without the capability for which there is always one file more."""

pytestmark = [
    pytest.mark.survive,
    pytest.mark.skipif(
        os.environ.get("NH_HOST_SETTINGS") != "1" or os.geteuid() != 0 or not shutil.which("setpriv"),
        reason="changes settings of the whole host for some seconds: NH_HOST_SETTINGS=1, as root",
    ),
]


@contextlib.contextmanager
def setting(name: str, value: object) -> Iterator[None]:
    """Within the block a setting of sysctl(8) is another one."""
    path = Path("/proc/sys", *name.split("."))
    before = path.read_text()
    path.write_text(str(value))
    try:
        yield
    finally:
        path.write_text(before)


def drops_at(port: int) -> int:
    """How many packets the kernel has dropped at a UDP port: the last column of /proc/net/udp."""
    sockets = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()]
    return sum(int(columns[-1]) for columns in sockets if columns[1].endswith(f":{port:04X}"))


@pytest.fixture
def ng_port() -> Iterator[int]:
    with claim_ports(1) as claimed:
        yield claimed[0]


@pytest.fixture
def relay(ng_port: int) -> Iterator[Relay]:
    """A relay of one shard for which the limits count."""
    with place_for_relay() as place:
        settings = {"NH_NG": f"127.0.0.1:{ng_port}", "NH_INTERFACE": "near/127.0.0.1"}
        relay = Relay(place, 1, settings, wrapped_in=LIKE_OTHERS)
        with relay.program as program:
            relay.wait_until_ready()
            with no_shard_fails(relay):
                yield relay
            assert program.stop() == 0, program.output


def assert_is_told_and_recovers(relay: Relay, ng_port: int, name: str, value: object, why: str) -> None:
    """While a setting is so low, calls go on, new ones by datagrams are refused, and new clients wait."""
    with NgClient(("127.0.0.1", ng_port)) as client, RelayedCall(relay.unix_address) as one:
        one.talk()
        with setting(name, value):
            for _ in range(3):
                with pytest.raises(NgError, match="Ran out of ports"):
                    NgCall(client).offer(AUDIO)
            # by TCP, as no client gets another Unix socket
            with pytest.raises(Unavailable), NativeClient(relay.tcp_address, 0.3) as impatient:
                impatient.request(Ping())
            one.talk()
            [line] = lines_with(relay, "refuses new calls, those that it has go on")
            assert why in line
            eventually(lambda: lines_with(relay, "new clients have to wait"), "that is said too")
            assert len(lines_with(relay, "new clients have to wait")) == 1
        wait_until_calls_are_taken(relay)
        one.talk()
        one.end()
    eventually(lambda: relay.stats().totals.calls == 0, "nothing is left of those that were refused")


def test_no_files(relay: Relay, ng_port: int) -> None:
    why = "Too many open files in system; raise the host's limit on descriptors"
    assert_is_told_and_recovers(relay, ng_port, "fs.file-max", 1, why)


def test_no_watches(relay: Relay, ng_port: int) -> None:
    why = "no more sockets can be watched: No space left on device; raise fs.epoll.max_user_watches"
    assert_is_told_and_recovers(relay, ng_port, "fs.epoll.max_user_watches", 1, why)


def test_no_memory_for_packets(relay: Relay) -> None:
    with RelayedCall(relay.unix_address) as one:
        one.talk()
        _, port = one.for_alice
        shard = relay.shard_processes()[0]
        with setting("net.ipv4.udp_mem", "1 1 1"):
            shard.suspend()
            for _ in range(100):
                one.alice.send(b"not all of them", one.for_alice)
            shard.resume()
        assert drops_at(port) > 0
        one.alice.send(b"last", one.for_alice)
        while one.bob.receive()[0] != b"last":
            pass
        one.talk()
        with RelayedCall(relay.unix_address) as other:
            other.talk()
