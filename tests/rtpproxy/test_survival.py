"""Calls of rtpproxy's protocol over all transports, which outlive a shard and an upgrade."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.ng.relays import NgRelay, call_ids, running_nh
from tests.sip.message import new_token
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports


class Relay(NamedTuple):
    """A running nh.

    Args:
        nh: as the tests of ng know it.
        address: its UDP and TCP address for rtpproxy's protocol.
        path: its Unix socket for that.
    """

    nh: NgRelay
    address: tuple[str, int]
    path: str


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    path: Path = tmp_path_factory.mktemp("rtpproxy") / "sock"
    with (
        claim_ports(1) as claimed,
        running_nh(kernel="off", shards=1, rtpproxy=f"127.0.0.1:{claimed[0]},unix:{path}") as nh,
    ):
        yield Relay(nh, ("127.0.0.1", claimed[0]), str(path))


def ask_udp(relay: Relay, command: str) -> str:
    """The reply to a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(relay.address)
        cookie = new_token()
        client.send(f"{cookie} {command}".encode())
        return client.recv(256).decode().removeprefix(f"{cookie} ")


def ask_tcp(relay: Relay, command: str) -> str:
    """The reply to a line."""
    with socket.create_connection(relay.address, timeout=20) as client:
        client.sendall(command.encode() + b"\n")
        return client.makefile().readline()


def ask_unix(relay: Relay, command: str) -> str:
    """All that a Unix connection carries back."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(relay.path)
        client.sendall(command.encode())
        return client.makefile().read()


def test_a_call_goes_on_over_every_transport_without_its_shard_and_after_an_upgrade(relay: Relay) -> None:
    call_id = new_token()
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        for_bob = port(ask_tcp(relay, f"U {call_id} 127.0.0.1 {alice.port} a;1"))
        for_alice = port(ask_unix(relay, f"L {call_id} 127.0.0.1 {bob.port} a;1 b;1"))

        def talk(words: bytes) -> None:
            for speaker, to, listener in ((alice, for_alice, bob), (bob, for_bob, alice)):
                speaker.send(words, ("127.0.0.1", to))
                assert listener.receive()[0] == words

        talk(b"at first")
        said = relay.nh.program.wait_for_line("shard 0 is up")
        said_before = len(relay.nh.program.lines)
        os.kill(int(said.rpartition("pid ")[2].rstrip(")")), signal.SIGKILL)
        relay.nh.program.wait_for_line("shard 0 is up", first=said_before)
        talk(b"with another shard")
        assert port(ask_udp(relay, f"U {call_id} 127.0.0.1 {alice.port} a;1 b;1")) == for_bob
        assert port(ask_udp(relay, f"L {call_id} 127.0.0.1 {bob.port} a;1 b;1")) == for_alice
        said_before = len(relay.nh.program.lines)
        psutil.Process(relay.nh.program.pid).send_signal(signal.SIGUSR2)
        relay.nh.program.wait_for_line("ready: ", first=said_before)
        talk(b"after the upgrade")
        counted = ask_unix(relay, f"Q {call_id} a;1 b;1 npkts_ina npkts_ino ndropped").split()
        # a killed shard loses what it counted since its last checkpoint
        assert all(0 < int(packets) <= 3 for packets in counted[:2])
        assert counted[2] == "0"
        assert ask_udp(relay, f"D {call_id} a b") == "0\n"
    assert call_id not in call_ids(relay.nh)


def port(reply: str) -> int:
    """The port in the reply to U or L."""
    number, address = reply.split()
    assert address == "127.0.0.1"
    return int(number)
