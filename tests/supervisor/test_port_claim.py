"""nh.supervisor.host.port_claim: no two relays have the same ports, unless both say that they may."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nh.config import Settings
from nh.errors import NotNow
from nh.loop import SelectorLoop
from nh.stats import segment_name
from nh.supervisor.host import port_claim as port_claim_module
from nh.supervisor.host.port_claim import ClaimName, PortClaim, others_claims, port_claim
from tests.netns import namespaces
from tools.harness.ports import claim_ports
from tools.harness.relay import Place, Relay, place_for_relay
from tools.harness.waiting import eventually

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")

OTHER_UID = 65534

Claiming = Callable[..., contextlib.AbstractContextManager[PortClaim]]


@pytest.fixture
def ports() -> Iterator[range]:
    """A hundred ports that no other test's relay has."""
    with claim_ports(100) as ports:
        yield ports


def text(ports: range) -> str:
    return f"{ports[0]}-{ports[-1]}"


@pytest.fixture
def claiming(tmp_path: Path) -> Claiming:
    """The claim of a relay, by the name of its runtime directory."""

    def claiming(name: str, ports: range, **settings: object) -> contextlib.AbstractContextManager[PortClaim]:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        return port_claim(Settings(runtime_dir=str(directory), ports=text(ports), **settings))  # type: ignore[arg-type]

    return claiming


def claim_of(ports: range, relay: str = "0123456789abcdef") -> ClaimName:
    return ClaimName(ports[0], ports[-1], shared=False, relay=relay, unique="0" * 16)


# --- which relays can be at once -------------------------------------------------------------------


@pytest.mark.parametrize("part", [slice(None), slice(0, 10), slice(90, 100), slice(40, 60)])
def test_another_relay_that_would_have_some_of_the_same_ports_is_refused(
    claiming: Claiming, ports: range, part: slice
) -> None:
    expected = rf"ports: {text(ports[part])} overlaps with {text(ports)} of another nh \(pid {os.getpid()}, "
    with claiming("one", ports), pytest.raises(NotNow, match=expected), claiming("two", ports[part]):
        pass
    with claiming("two", ports[part]):
        pass


def test_relays_with_different_ports_are_side_by_side(claiming: Claiming, ports: range) -> None:
    with claiming("one", ports[:50]), claiming("two", ports[50:]):
        pass


def test_one_relays_runs_may_follow_each_other(claiming: Claiming, ports: range) -> None:
    with claiming("one", ports), claiming("one", ports):
        pass


def test_a_runtime_directory_that_is_made_anew_is_still_the_same_relays(
    claiming: Claiming, ports: range, tmp_path: Path
) -> None:
    with claiming("one", ports):
        (tmp_path / "one").rmdir()
        with claiming("one", ports):
            pass


def test_ports_of_interfaces_count_too(claiming: Claiming, ports: range) -> None:
    own = f"pub/192.0.2.1@{text(ports[60:])}"
    with (
        claiming("one", ports[:50], interface=(own,)),
        pytest.raises(NotNow, match=f"{text(ports[55:70])} overlaps with {text(ports[60:])}"),
        claiming("two", ports[55:70]),
    ):
        pass


@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
def test_ports_are_shared_if_both_relays_say_so(
    claiming: Claiming, ports: range, first: bool, second: bool
) -> None:
    refusal = pytest.raises(NotNow, match="--share-ports to both")
    with (
        claiming("one", ports, share_ports=first),
        contextlib.nullcontext() if first and second else refusal,
        claiming("two", ports, share_ports=second),
    ):
        pass


def test_a_claim_lives_as_long_as_any_process_of_the_relay(claiming: Claiming, ports: range) -> None:
    with claiming("one", ports) as claim:
        command = [sys.executable, "-c", "input()"]
        shard = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=claim.descriptors)
    with shard:
        with pytest.raises(NotNow, match="overlaps"), claiming("two", ports):
            pass
        shard.communicate(b"\n")
    with claiming("two", ports):
        pass


# --- who is believed -------------------------------------------------------------------------------

HOLD = """
import socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.bind("\\0" + sys.argv[1])
sock.listen()
print("bound", flush=True)
input()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_another_users_claim_is_logged_and_keeps_no_nh_from_starting(
    claiming: Claiming, ports: range, caplog: pytest.LogCaptureFixture
) -> None:
    with subprocess.Popen(
        ["python3", "-I", "-c", HOLD, claim_of(ports).name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=OTHER_UID,
        cwd="/",
    ) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"bound\n"
        with claiming("one", ports):
            pass
        stranger.communicate(b"\n")
    assert f"claimed by uid {OTHER_UID} (pid {stranger.pid}" in caplog.text


@contextlib.contextmanager
def bound(name: str | bytes) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(b"\0" + (name if isinstance(name, bytes) else name.encode()))
        yield sock


def test_a_name_without_a_listener_is_no_claim(claiming: Claiming, ports: range) -> None:
    with bound(claim_of(ports).name), claiming("one", ports):
        pass


def test_a_line_that_is_smuggled_into_the_kernels_table_is_no_claim(claiming: Claiming, ports: range) -> None:
    line = f"x\n0: 00000002 0 00010000 0005 01 1 @{claim_of(ports).name}"
    with bound(line) as sock:
        sock.listen()
        assert claim_of(ports) in others_claims(), "nothing was smuggled in"
        with claiming("one", ports):
            pass


def test_a_claim_whose_holder_cannot_be_told_is_told_of(
    claiming: Claiming, ports: range, caplog: pytest.LogCaptureFixture
) -> None:
    name = claim_of(ports).name
    with bound(name) as sock, contextlib.ExitStack() as askers:
        sock.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                asker = askers.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                asker.setblocking(False)
                asker.connect("\0" + name)
        with claiming("one", ports):
            pass
    assert f"the holder of the claim to {text(ports)} cannot be determined" in caplog.text


def test_who_asks_again_and_again_is_refused_again_and_again(
    claiming: Claiming, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_claim_module, "_BACKLOG", 1)
    with contextlib.closing(SelectorLoop()) as loop, claiming("one", ports) as claim:
        claim.serve(loop)
        for _ in range(10):
            with pytest.raises(NotNow, match="overlaps"), claiming("two", ports):
                pass
            loop.turn(0)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nh-ports",
        "nh-ports/claimed/10000-29999/0123456789abcdef/0123456789abcde",
        "nh-ports/claimed/10000-29999/0123456789abcdef/0123456789abcdef\n",
        "nh-ports/claimed/10000-29999/0123456789abcdef/0123456789abcdef/x",
        "xnh-ports/claimed/10000-29999/0123456789abcdef/0123456789abcdef",
        "nh-ports/mine/10000-29999/0123456789abcdef/0123456789abcdef",
        "nh-ports/claimed/29999-10000/0123456789abcdef/0123456789abcdef",
        "nh-ports/claimed/10000-65536/0123456789abcdef/0123456789abcdef",
        "nh-ports/claimed/010000-29999/0123456789abcdef/0123456789abcdef",
        "nh-ports/claimed/1000\u0660-29999/0123456789abcdef/0123456789abcdef",
    ],
)
def test_what_is_not_exactly_a_claims_name_is_none(name: str) -> None:
    assert ClaimName.parse(name) is None


def test_a_claims_name_tells_all_of_it_and_has_room() -> None:
    claim = ClaimName(10000, 29999, shared=True, relay="0123456789abcdef", unique="f" * 16)
    assert ClaimName.parse(claim.name) == claim
    assert len(claim.name) < 108


# --- whole relays ----------------------------------------------------------------------------------


@contextlib.contextmanager
def two_places() -> Iterator[tuple[Place, Place]]:
    """The same ports in two runtime directories."""
    with place_for_relay() as one, place_for_relay(100) as two:
        yield one, two._replace(ports=one.ports)


def test_a_second_relay_on_the_same_ports_ends_and_says_why_while_the_first_goes_on() -> None:
    with two_places() as (place, other_place):
        relay = Relay(place, 1)
        with relay.program:
            relay.wait_until_ready()
            other = Relay(other_place, 1)
            with other.program:
                assert other.program.wait(60) == 1
            assert f"of another nh (pid {relay.program.pid}," in other.program.output
            assert "Traceback" not in other.program.output
            assert relay.program.stop() == 0
        with running(other_place) as again:
            again.wait_until_ready()


@pytest.mark.full
def test_ports_of_shards_that_outlive_their_supervisor_are_taken() -> None:
    with two_places() as (place, other_place):
        relay = Relay(place, 1)
        with relay.program:
            relay.wait_until_ready()
            (shard,) = relay.shard_processes()
            shard.send_signal(signal.SIGSTOP)  # it does not end by itself meanwhile
            try:
                assert relay.program.stop(signal.SIGKILL) == -signal.SIGKILL
                other = Relay(other_place, 1)
                with other.program:
                    assert other.program.wait(60) == 1
                assert f"(pid {relay.program.pid}, user" in other.program.output
                assert "which has ended; its shards relay on)" in other.program.output
            finally:
                shard.kill()
        eventually(lambda: not psutil.pid_exists(shard.pid), "the shard is gone")
        with running(other_place) as again:
            again.wait_until_ready()
        Path(f"/dev/shm/{segment_name(place.directory)}").unlink(missing_ok=True)


def test_the_same_ports_in_two_network_namespaces_are_different_ports() -> None:
    with namespaces(2) as (left, right), two_places() as (place, other_place):
        with left.entered():
            relay = Relay(place, 1)
        with relay.program:
            relay.wait_until_ready()
            with right.entered():
                other = Relay(other_place, 1)
            with other.program:
                other.wait_until_ready()
                assert other.program.stop() == 0
            assert relay.program.stop() == 0


@contextlib.contextmanager
def running(place: Place) -> Iterator[Relay]:
    relay = Relay(place, 1)
    with relay.program:
        yield relay
        assert relay.program.stop() == 0
