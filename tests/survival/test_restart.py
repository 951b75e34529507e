"""Everything stops and starts again: calls come back on their ports, unless they are over."""

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from nh.calls.media import Media, Side
from nh.client import Client
from nh.stats import ShardState
from tests.profiles import quick_first
from tests.sip.sdp import MediaLine, write_sdp
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import free_port
from tools.harness.relay import Place, Relay
from tools.harness.waiting import TIMEOUT_S, eventually

BURST = 60

Where = tuple[str, int]


@contextlib.contextmanager
def running(place: Place, state: Path, **settings: object) -> Iterator[Relay]:
    environment = {f"NH_{name.upper()}": str(value) for name, value in settings.items()}
    relay = Relay(place, 2, {"NH_STATE": str(state), **environment})
    with relay.program:
        relay.wait_until_ready()
        yield relay


def begin(relay: Relay, call_id: str, alice: MediaPeer, bob: MediaPeer) -> tuple[Where, Where]:
    """Where Alice sends to, and where Bob does."""
    client, basic = Client(relay.unix_address, TIMEOUT_S), [call_id, 1, "alice", "bob", "", ""]

    def allocate(side: Side, peer: MediaPeer) -> Where:
        media = Media(peer.address, peer.port, 2, "RTP/AVP", "audio")
        allocated = client.allocate_sockets(basic, side, "127.0.0.1", [media])
        assert allocated is not None
        return allocated[0][:2]

    for_bob, for_alice = allocate(Side.FROM, alice), allocate(Side.TO, bob)
    assert client.activate_session(basic) == 1
    return for_alice, for_bob


def stop(relay: Relay) -> None:
    """SIGTERM."""
    assert relay.program.stop() == 0


@pytest.mark.parametrize("end", [stop, Relay.kill_all])
def test_calls_come_back_on_their_ports(place: Place, tmp_path: Path, end: Callable[[Relay], None]) -> None:
    with contextlib.ExitStack() as phones:
        calls: list[tuple[MediaPeer, MediaPeer, Where, Where]] = []
        with running(place, tmp_path) as relay:
            for number in range(10):
                alice, bob = (phones.enter_context(MediaPeer("127.0.0.1")) for _ in range(2))
                calls.append((alice, bob, *begin(relay, f"call {number}", alice, bob)))
            for alice, bob, for_alice, _ in calls:
                alice.send(b"hello", for_alice)
                assert bob.receive()[0] == b"hello"
            eventually(lambda: relay.has_stored(10), "all is stored")
            end(relay)
        with running(place, tmp_path) as relay:
            assert len(relay.calls().calls) == 10
            eventually(lambda: relay.stats().totals.calls_restored == 10, "it is counted")
            assert_media_pass(calls)
            client = Client(relay.unix_address, TIMEOUT_S)
            assert client.close_session(["call 3", 1, "alice", "bob", "", ""]) is not None
            stop(relay)
        with running(place, tmp_path) as relay:
            assert len(relay.calls().calls) == 9, "what ended does not come back"
            stop(relay)


def assert_media_pass(calls: list[tuple[MediaPeer, MediaPeer, Where, Where]]) -> None:
    """Both ways, through the sockets that the phones know."""
    for alice, bob, for_alice, for_bob in calls:
        alice.send(b"still there?", for_alice)
        assert bob.receive() == (b"still there?", for_bob)
        bob.send(b"yes", for_bob)
        assert alice.receive() == (b"yes", for_alice)


def test_what_was_answered_just_before_everything_is_killed_comes_back(place: Place, tmp_path: Path) -> None:
    with contextlib.ExitStack() as phones:
        calls: list[tuple[MediaPeer, MediaPeer, Where, Where]] = []
        with running(place, tmp_path) as relay:
            processes = (psutil.Process(relay.program.pid), *relay.shard_processes())
            for number in range(10):
                alice, bob = (phones.enter_context(MediaPeer("127.0.0.1")) for _ in range(2))
                calls.append((alice, bob, *begin(relay, f"call {number}", alice, bob)))
            for process in processes:  # at once: before any call had the time to be stored
                process.send_signal(signal.SIGSTOP)
            relay.kill_all()
        with running(place, tmp_path) as relay:
            known = {call.call_id for call in relay.calls().calls}
            assert known == {b"call %d" % number for number in range(10)}
            with MediaPeer("127.0.0.1") as carol, MediaPeer("127.0.0.1") as dave:
                for_carol, _ = begin(relay, "new", carol, dave)
                for alice, bob, for_alice, for_bob in calls:
                    alice.send(b"who is there?", for_alice)
                    assert bob.receive() == (b"who is there?", for_bob)
                carol.send(b"hello", for_carol)
                assert dave.receive()[0] == b"hello", "and nothing of the others"
                assert carol.pending() == []
            stop(relay)


def accepted(sock: socket.socket, most: int) -> set[bytes]:
    """The call-ids of offers that were accepted, among up to `most` replies."""
    found: set[bytes] = set()
    with contextlib.suppress(TimeoutError, ConnectionRefusedError):
        for _ in range(most):
            call_id, _, reply = sock.recv(65_535).partition(b" ")
            if msgspec.json.decode(reply)["result"] == "ok":
                found.add(call_id)
    return found


@pytest.mark.parametrize("all_processes", quick_first([True, False]))
def test_answered_calls_of_a_burst_outlive_a_kill_in_the_middle_of_it(
    place: Place, tmp_path: Path, *, all_processes: bool
) -> None:
    ng = f"127.0.0.1:{free_port()}"
    sdp = write_sdp([MediaLine("127.0.0.1", 4000)])
    served = {"ng": ng, "address": "127.0.0.1"}
    with (
        running(place, tmp_path, **served) as relay,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.connect(("127.0.0.1", int(ng.rpartition(":")[2])))
        sock.settimeout(TIMEOUT_S)
        for number in range(BURST):
            offer = {"command": "offer", "call-id": f"call-{number}", "from-tag": "alice", "sdp": sdp}
            sock.send(b"call-%d " % number + msgspec.json.encode(offer))
        answered = accepted(sock, BURST // 4)
        assert len(answered) == BURST // 4
        if all_processes:
            relay.kill_all()
        else:
            for shard in relay.shard_processes():
                shard.kill()
            eventually(lambda: relay.stats().totals.restarts >= 2, "the shards were replaced")
            eventually(lambda: all(each.state is ShardState.UP for each in relay.stats().shards), "up")
        sock.settimeout(0.1)
        answered |= accepted(sock, BURST)
        if not all_processes:
            assert answered <= {call.call_id for call in relay.calls().calls}
    if all_processes:
        with running(place, tmp_path) as relay:
            assert answered <= {call.call_id for call in relay.calls().calls}


@pytest.mark.full
def test_what_is_over_meanwhile_does_not_come_back(place: Place, tmp_path: Path) -> None:
    with MediaPeer("127.0.0.1") as alice, MediaPeer("127.0.0.1") as bob:
        with running(place, tmp_path, silent_s=1) as relay:
            begin(relay, "short", alice, bob)
            eventually(lambda: relay.stats().supervisor.store_written > 0, "it is stored")
            relay.kill_all()
        with running(place, tmp_path, silent_s=1) as relay:
            eventually(lambda: not relay.calls().calls, "it has expired")
            eventually(relay.all_ports_are_free, "its ports are free")
            stop(relay)


def test_a_damaged_store_is_quarantined_and_nh_starts(place: Place, tmp_path: Path) -> None:
    (tmp_path / "calls.sqlite3").write_bytes(b"this is no database" * 1000)
    tmp_path.chmod(0o700)
    with running(place, tmp_path) as relay:
        assert not relay.calls().calls
        assert any("quarantine" in line for line in relay.program.lines)
        stop(relay)
    assert len(list(tmp_path.glob("calls.sqlite3*"))) > 1
