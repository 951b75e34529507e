"""DTMF that phones send as telephone events is reported where the client wants it, as by rtpengine."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from nh.address import socket_family
from nh.ip_address import host_port
from tests.calls.rtp import DTMF, rtp_packet
from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall, talk, with_events
from tests.ng.relays import NgRelay, running_nh
from tools.harness.media_peer import RTP
from tools.harness.waiting import TIMEOUT_S


@pytest.fixture(params=["nh", pytest.param("nh_in_the_kernel", marks=pytest.mark.kernel)])
def relay(request: pytest.FixtureRequest) -> NgRelay:
    """Debian's rtpengine has one receiver for all calls, in its settings."""
    running: NgRelay = request.getfixturevalue(request.param)
    return running


@pytest.fixture
def client(relay: NgRelay) -> Iterator[NgClient]:
    with NgClient(relay.address) as client:
        yield client


class Receiver:
    """A proxy's socket for events."""

    def __init__(self, address: str) -> None:
        family = socket_family(address)
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.bind((address, 0))
        port = self.socket.getsockname()[1]
        self.name = host_port(address, port)

    def receive(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.socket.recv(65536))
        return event


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver("127.0.0.1")
    yield receiver
    receiver.socket.close()


def connect(call: NgCall, alice: End, bob: End, **flags: object) -> None:
    bob.read(call.offer(with_events(alice), label="A", **flags))
    alice.read(call.answer(with_events(bob), label="B"))
    talk(alice, bob, [RTP])


def press(end: End, digit: int, *, sequence: int = 1000, duration: int = 1600) -> None:
    """The last packet of a digit, three times as phones send it."""
    payload = struct.pack("!BBH", digit, 0x80 | 7, duration)
    for repetition in range(3):
        packet = rtp_packet(sequence + repetition, 160 * sequence, payload_type=DTMF, payload=payload)
        end.media[0].send_raw(packet, end.remote[0].target)


def test_each_digit_is_reported_once(call: NgCall, alice: End, bob: End, receiver: Receiver) -> None:
    connect(call, alice, bob, dtmf_log_dest=receiver.name)
    before = int(time.time())
    press(alice, 5)
    told = receiver.receive()
    assert before <= told.pop("timestamp") <= time.time()
    assert told == {
        "callid": call.call_id,
        "source_tag": call.from_tag,
        "source_label": "A",
        "tags": [call.from_tag, call.to_tag],
        "type": "DTMF",
        "source_ip": "127.0.0.1",
        "event": 5,
        "duration": 200,
        "volume": 7,
    }
    press(bob, 11)
    told = receiver.receive()
    assert (told["source_tag"], told["source_label"], told["event"]) == (call.to_tag, "B", 11)


def test_digits_pass_on(call: NgCall, alice: End, bob: End, receiver: Receiver) -> None:
    connect(call, alice, bob, dtmf_log_dest=receiver.name)
    press(alice, 5)
    assert [bob.media[0].receive()[0][-4:] for _ in range(3)] == [struct.pack("!BBH", 5, 0x87, 1600)] * 3


def test_digits_that_are_blocked_are_reported(call: NgCall, alice: End, bob: End, receiver: Receiver) -> None:
    connect(call, alice, bob, dtmf_log_dest=receiver.name, flags=["block-DTMF"])
    press(alice, 1)
    assert receiver.receive()["event"] == 1


def test_the_clock_is_that_of_the_events(call: NgCall, alice: End, bob: End, receiver: Receiver) -> None:
    bob.read(call.offer(with_events(alice, 48000), dtmf_log_dest=receiver.name))
    alice.read(call.answer(with_events(bob, 48000)))
    talk(alice, bob, [RTP])
    press(alice, 1, duration=9600)
    assert receiver.receive()["duration"] == 200


def test_a_client_may_begin_within_the_call(call: NgCall, alice: End, bob: End, receiver: Receiver) -> None:
    connect(call, alice, bob)
    press(alice, 1)
    for _ in range(3):
        bob.media[0].receive()
    bob.read(call.reoffer(with_events(alice), dtmf_log_destination=receiver.name))
    alice.read(call.answer(with_events(bob)))
    talk(alice, bob, [RTP])
    press(alice, 2, sequence=2000)
    assert receiver.receive()["event"] == 2


def test_the_last_receiver_counts(call: NgCall, alice: End, bob: End, receiver: Receiver) -> None:
    other = Receiver("::1")
    try:
        connect(call, alice, bob, dtmf_log_dest=receiver.name)
        bob.read(call.reoffer(with_events(alice), dtmf_log_dest=other.name))
        alice.read(call.answer(with_events(bob)))
        talk(alice, bob, [RTP])
        press(alice, 3)
        assert other.receive()["event"] == 3
    finally:
        other.socket.close()


def test_no_receiver_costs_nothing(call: NgCall, alice: End, bob: End) -> None:
    gone = Receiver("127.0.0.1")
    gone.socket.connect(("127.0.0.1", 9))  # it takes packets of no other, and no other program gets its port
    connect(call, alice, bob, dtmf_log_dest=gone.name)
    for sequence in (1000, 2000, 3000):
        press(alice, 1, sequence=sequence)
    for _ in range(9):
        bob.media[0].receive()
    talk(alice, bob, [RTP])
    gone.socket.close()


def test_digits_go_to_no_other_host(client: NgClient, call: NgCall, alice: End) -> None:
    reply = client.get(
        "offer",
        call_id=call.call_id,
        from_tag=call.from_tag,
        sdp=with_events(alice),
        dtmf_log_dest="192.0.2.1:2228",
    )
    assert reply["warning"] == "dtmf-log-dest: dtmf_address does not list 192.0.2.1"


def test_the_setting_decides_for_calls_whose_client_says_nothing(receiver: Receiver) -> None:
    with running_nh(ports=40, shards=1, dtmf_log_dest=receiver.name) as nh, NgClient(nh.address) as client:
        call, alice, bob = NgCall(client), End("alice"), End("bob")
        connect(call, alice, bob)
        press(bob, 4)
        alice.close()
        bob.close()
        assert receiver.receive()["source_tag"] == call.to_tag
        call.delete()
