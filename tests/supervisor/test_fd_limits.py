"""nh.supervisor.host.fd_limits: room for calls."""

import resource
import subprocess
import sys

from nh.calls.settings import RelaySettings
from nh.config import Settings
from nh.supervisor.host.fd_limits import SHARD_OWN_DESCRIPTORS, Capacity, capacity, holdable_sockets

PORTS = [(10000, 19999), (20000, 29999)]


def test_a_plain_audio_call_takes_four_ports() -> None:
    assert capacity(PORTS, 1_000_000, RelaySettings()) == Capacity(5000, "ports")


def test_ports_that_are_left_over_in_a_slice_carry_no_call() -> None:
    assert capacity([(10000, 10005), (10006, 10011)], 1_000_000, RelaySettings()).calls == 2


def test_descriptors_may_be_what_is_short() -> None:
    room = capacity(PORTS, SHARD_OWN_DESCRIPTORS + 400, RelaySettings())
    assert room == Capacity(200, "descriptors")
    assert capacity(PORTS, 3, RelaySettings()) == Capacity(0, "descriptors")


def test_limits_may_be_what_is_short() -> None:
    assert capacity(PORTS, 100_000, RelaySettings(max_calls=10)) == Capacity(10, "max_calls")
    assert capacity(PORTS, 100_000, RelaySettings(max_sockets=42)) == Capacity(10, "max_sockets")


def test_sockets_are_held_by_what_descriptors_clients_leave() -> None:
    beside_clients = holdable_sockets(20_000, Settings(), shards=8)
    assert 15_000 < beside_clients < 20_000 - 4096
    assert beside_clients - holdable_sockets(20_000, Settings(max_clients=4196), shards=8) == 100
    assert holdable_sockets(1024, Settings(), shards=1) == 0


def test_each_protocol_that_clients_connect_to_has_connections_of_its_own() -> None:
    one = holdable_sockets(20_000, Settings(max_clients=100), shards=8)
    for settings, more in (
        (Settings(max_clients=100, rpc=("127.0.0.1:1", "127.0.0.1:2")), 0),
        (Settings(max_clients=100, ng=("127.0.0.1:3",)), 100),
        (Settings(max_clients=100, ng=("127.0.0.1:3",), rtpproxy=("127.0.0.1:4",)), 200),
    ):
        assert one - holdable_sockets(20_000, settings, shards=8) == more


def test_the_limit_on_descriptors_is_raised_to_the_hard_limit_at_least() -> None:
    # in a process of its own: the limit of this one is the other tests' too
    program = (
        "import resource; from nh.supervisor.host.fd_limits import raise_descriptor_limit as raise_it;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]));"
        "print(raise_it(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    said, in_force = map(int, output.split())
    assert said == in_force
    assert in_force >= resource.getrlimit(resource.RLIMIT_NOFILE)[1]
