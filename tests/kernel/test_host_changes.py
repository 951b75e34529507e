"""What happens to a host while it relays in the kernel: wires and routes come and go, and so does nh."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.results import LegDetail
from tests.confinement import NO_NEW_CODE, NO_NEW_PRIVILEGES, needs_no_new_code
from tests.kernel.hosts import (
    ALICE,
    BOB,
    HostCall,
    Hosts,
    phone_on,
    relay_on,
    three_hosts,
)
from tests.netns import namespaces
from tests.profiles import quick_first
from tools.harness.media_peer import MediaPeer, text_of
from tools.harness.namespaces import Namespace, join
from tools.harness.relay import Relay, place_for_relay
from tools.harness.waiting import TIMEOUT_S, eventually

pytestmark = pytest.mark.kernel

METHODS = ["tcx", "clsact"]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with three_hosts() as hosts:
        yield hosts


@pytest.fixture
def alice(hosts: Hosts) -> Iterator[MediaPeer]:
    with phone_on(hosts.alice, ALICE[4]) as phone:
        yield phone


@pytest.fixture
def bob(hosts: Hosts) -> Iterator[MediaPeer]:
    with phone_on(hosts.bob, BOB[4]) as phone:
        yield phone


def arrives(speaker: MediaPeer, to: tuple[str, int], listener: MediaPeer, payload: bytes = b"hello") -> None:
    speaker.send(payload, to)
    assert listener.receive()[0] == payload


def begin(call: HostCall, alice: MediaPeer, bob: MediaPeer) -> None:
    """The call is there, and what Alice says goes through the kernel from now on."""
    call.invite(alice, bob)
    arrives(alice, call.for_alice, bob)
    assert call.relay.call(call.call_id.encode()).sessions[-1].pairs[0].from_.kernel


def kernel_packets(call: HostCall) -> int:
    """What Alice said that went through the kernel."""
    return call.relay.call(call.call_id.encode()).sessions[-1].pairs[0].from_.kernel_packets


def filters(host: Namespace, interface: str) -> str:
    return host.run(f"tc filter show dev {interface} ingress")


# --- wires and routes -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", quick_first(METHODS))
def test_an_interface_that_comes_later_carries_media_in_the_kernel(method: str) -> None:
    with namespaces(2) as (relay_host, phones), relay_on(relay_host, kernel_attach=method) as relay:
        assert relay.stats().supervisor.kernel_interfaces == 1, "loopback"
        join(relay_host, phones, "198.51.100.1/24", "198.51.100.2/24")
        join(relay_host, phones, "203.0.113.1/24", "203.0.113.2/24", name="other")
        eventually(lambda: relay.stats().supervisor.kernel_interfaces == 3, "the program is on both")
        with phone_on(phones, ALICE[4]) as alice, phone_on(phones, BOB[4]) as bob:
            call = HostCall(relay, "later", 4)
            begin(call, alice, bob)
            arrives(alice, call.for_alice, bob)
            assert kernel_packets(call) == 1
        relay_host.run("ip link delete other")
        eventually(lambda: relay.stats().supervisor.kernel_interfaces == 2, "it is off what is gone")


def test_the_only_interface_that_is_named_may_come_later(hosts: Hosts) -> None:
    with relay_on(hosts.relay, kernel="auto", kernel_interface="later") as relay:
        assert "kernel on no interface yet;" in relay.program.wait_for_line("ready")
        assert "interface later is missing or down: the kernel path waits for it" in relay.program.output
        join(hosts.relay, hosts.bob, "192.0.2.1/24", "192.0.2.2/24", name="later")
        eventually(lambda: relay.stats().supervisor.kernel_interfaces == 1, "the program is on it")


def test_nh_does_not_start_if_it_must_relay_in_the_kernel_and_there_is_no_such_interface(
    hosts: Hosts,
) -> None:
    with place_for_relay() as place, hosts.relay.entered():
        relay = Relay(place, 1, {"NH_KERNEL": "on", "NH_KERNEL_INTERFACE": "eht0"})
        with relay.program as program:
            assert program.wait(60) == 1
            assert "no interface that is up is called eht0" in program.output


def test_packets_follow_a_route_that_changes(hosts: Hosts, alice: MediaPeer, bob: MediaPeer) -> None:
    """Bob's host is moved behind another wire; no command tells nh of it."""
    join(hosts.relay, hosts.bob, "192.0.2.1/24", "192.0.2.2/24", name="detour")
    hosts.bob.run("sysctl -q net.ipv4.conf.all.rp_filter=0", "sysctl -q net.ipv4.conf.detour.rp_filter=0")
    with relay_on(hosts.relay) as relay:
        call = HostCall(relay, "moves", 4)
        begin(call, alice, bob)

        def all_leave_by(interface: str) -> bool:
            """Hosts say something by themselves, too, but not so much."""
            sent, relayed = sent_by(hosts.relay, interface), kernel_packets(call)
            for _ in range(10):
                arrives(alice, call.for_alice, bob)
            return sent_by(hosts.relay, interface) >= sent + 10 and kernel_packets(call) == relayed + 10

        eventually(lambda: all_leave_by("to_bob"), "the kernel relays")
        hosts.relay.run(f"ip route add {BOB[4]}/32 via 192.0.2.2")
        eventually(lambda: all_leave_by("detour"), "packets take the new route")
        hosts.relay.run(f"ip route delete {BOB[4]}/32 via 192.0.2.2")
        eventually(lambda: all_leave_by("to_bob"), "and the old one again")


def test_packets_follow_a_rule_by_their_code_point(hosts: Hosts, alice: MediaPeer, bob: MediaPeer) -> None:
    join(hosts.relay, hosts.bob, "192.0.2.1/24", "192.0.2.2/24", name="detour")
    hosts.bob.run("sysctl -q net.ipv4.conf.all.rp_filter=0", "sysctl -q net.ipv4.conf.detour.rp_filter=0")
    hosts.relay.run(f"ip route add {BOB[4]}/32 via 192.0.2.2 table 100", "ip rule add tos 0x10 table 100")
    with relay_on(hosts.relay, dscp=4) as relay:
        call = HostCall(relay, "quick", 4)
        begin(call, alice, bob)
        sent, relayed = sent_by(hosts.relay, "detour"), kernel_packets(call)
        for _ in range(10):
            arrives(alice, call.for_alice, bob)
        assert kernel_packets(call) == relayed + 10
        assert sent_by(hosts.relay, "detour") >= sent + 10


def sent_by(host: Namespace, interface: str) -> int:
    return int(host.run(f"cat /sys/class/net/{interface}/statistics/tx_packets"))


# --- the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_on_the_interfaces_after_the_end(hosts: Hosts, method: str) -> None:
    with relay_on(hosts.relay, kernel_attach=method):
        assert ("nh" in filters(hosts.relay, "to_alice")) is (method == "clsact")
    assert filters(hosts.relay, "to_alice") == ""
    assert "clsact" not in hosts.relay.run("tc qdisc show dev to_alice")


@contextlib.contextmanager
def socket_in_its_place(host: Namespace, at: tuple[str, int]) -> Iterator[socket.socket]:
    with host.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(TIMEOUT_S)
        sock.bind(at)
        yield sock


def test_what_was_attached_by_a_link_is_gone_with_a_killed_nh(
    hosts: Hosts, alice: MediaPeer, bob: MediaPeer
) -> None:
    with place_for_relay() as place, hosts.relay.entered():
        relay = Relay(place, 1, {"NH_KERNEL": "on", "NH_KERNEL_ATTACH": "tcx"})
        with relay.program:
            relay.wait_until_ready()
            call = HostCall(relay, "killed", 4)
            begin(call, alice, bob)
            arrives(alice, call.for_alice, bob)
            relay.kill_all()
    with socket_in_its_place(hosts.relay, call.for_alice) as sock:
        alice.send(b"who goes there?", call.for_alice)
        assert text_of(sock.recv(100)) == b"who goes there?"
    assert bob.pending() == []


@pytest.mark.full
def test_what_a_killed_nh_left_as_a_filter_the_next_start_removes(
    hosts: Hosts, alice: MediaPeer, bob: MediaPeer
) -> None:
    with place_for_relay() as place, hosts.relay.entered():
        killed = Relay(place, 1, {"NH_KERNEL": "on", "NH_KERNEL_ATTACH": "clsact"})
        with killed.program:
            killed.wait_until_ready()
            call = HostCall(killed, "killed", 4)
            begin(call, alice, bob)
            arrives(alice, call.for_alice, bob)
            killed.kill_all()
        arrives(alice, call.for_alice, bob, b"not relayed")
        after = Relay(place, 1, {"NH_KERNEL": "off"})
        with after.program:
            after.wait_until_ready()
            assert filters(hosts.relay, "to_alice") == ""
            assert after.program.stop() == 0


def wait_until_replaced(relay: Relay, *, deaths: int) -> None:
    eventually(lambda: relay.stats().totals.restarts == deaths, "it is started again")
    eventually(lambda: all(shard.state.name == "UP" for shard in relay.stats().shards), "it is up")


def leg_of(relay: Relay, call: HostCall) -> LegDetail:
    return relay.call(call.call_id.encode()).sessions[0].pairs[0].from_


def test_the_kernel_relays_on_while_a_shard_is_killed_and_its_successor_takes_over(
    hosts: Hosts, alice: MediaPeer, bob: MediaPeer
) -> None:
    with relay_on(hosts.relay) as relay:
        calls = [HostCall(relay, f"call {number}", 4) for number in range(8)]
        for call in calls:
            begin(call, alice, bob)
        for killed in range(2):
            relay.shard_processes()[0].kill()
            for call in calls:
                arrives(alice, call.for_alice, bob)
            wait_until_replaced(relay, deaths=killed + 1)
            for call in calls:
                arrives(alice, call.for_alice, bob)
                # it takes the flows of restored calls over behind the moment from which it serves
                eventually(lambda call=call: leg_of(relay, call).kernel, "the kernel relays it")  # type: ignore[misc]
                assert leg_of(relay, call).packets == 3 + 2 * killed


# --- privileges -------------------------------------------------------------------------------------

CAP_NET_ADMIN, CAP_BPF = 12, 39

WITHOUT = ["setpriv", "--bounding-set=-bpf,-net_admin,-sys_admin", "--inh-caps=-bpf,-net_admin,-sys_admin"]
ONLY_TWO = ["setpriv", "--bounding-set=-all,+bpf,+net_admin", "--inh-caps=-all,+bpf,+net_admin"]


def test_without_the_privileges_nh_says_which_are_missing_and_relays_in_user_space(
    hosts: Hosts, alice: MediaPeer, bob: MediaPeer
) -> None:
    with place_for_relay() as place, hosts.relay.entered():
        relay = Relay(place, 1, {"NH_KERNEL": "auto"}, wrapped_in=WITHOUT)
        with relay.program as program:
            assert "user space only" in program.wait_for_line("ready")
            said = [line for line in program.lines if "not inside the kernel" in line]
            assert len(said) == 1
            assert "it lacks CAP_BPF and CAP_NET_ADMIN" in said[0]
            call = HostCall(relay, "plain", 4)
            call.invite(alice, bob)
            arrives(alice, call.for_alice, bob)
            leg = relay.call(b"plain").sessions[0].pairs[0].from_
            assert "it lacks CAP_BPF and CAP_NET_ADMIN" in leg.user_space_because
            assert program.stop() == 0


def test_without_the_privileges_nh_does_not_start_if_it_must_relay_in_the_kernel(hosts: Hosts) -> None:
    with place_for_relay() as place, hosts.relay.entered():
        relay = Relay(place, 1, {"NH_KERNEL": "on"}, wrapped_in=WITHOUT)
        with relay.program as program:
            assert program.wait(60) == 1
            assert "it lacks CAP_BPF and CAP_NET_ADMIN" in program.output
            assert "--kernel auto" in program.output


@pytest.mark.parametrize("method", METHODS)
def test_two_capabilities_are_enough(hosts: Hosts, alice: MediaPeer, bob: MediaPeer, method: str) -> None:
    with place_for_relay() as place, hosts.relay.entered():
        relay = Relay(place, 1, {"NH_KERNEL": "on", "NH_KERNEL_ATTACH": method}, wrapped_in=ONLY_TWO)
        with relay.program as program:
            relay.wait_until_ready()
            status = Path(f"/proc/{relay.shard_processes()[0].pid}/status").read_text()
            assert f"CapEff:\t{1 << CAP_NET_ADMIN | 1 << CAP_BPF:016x}\n" in status
            call = HostCall(relay, "two", 4)
            begin(call, alice, bob)
            arrives(alice, call.for_alice, bob)
            assert kernel_packets(call) == 1
            assert program.stop() == 0
    assert filters(hosts.relay, "to_alice") == ""


def test_what_the_systemd_unit_forbids_is_not_needed(hosts: Hosts, alice: MediaPeer, bob: MediaPeer) -> None:
    needs_no_new_code()
    confined = [*ONLY_TWO, *NO_NEW_PRIVILEGES, *NO_NEW_CODE]
    with place_for_relay() as place, hosts.relay.entered():
        relay = Relay(place, 1, {"NH_KERNEL": "on"}, wrapped_in=confined)
        with relay.program as program:
            relay.wait_until_ready()
            call = HostCall(relay, "confined", 4)
            begin(call, alice, bob)
            arrives(alice, call.for_alice, bob)
            assert kernel_packets(call) == 1
            assert program.stop() == 0
