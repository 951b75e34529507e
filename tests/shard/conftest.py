import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from nh.calls.interfaces import Interface
from nh.calls.settings import RelaySettings
from nh.fastpath.loader import LoadedProgram
from nh.shard.media.kernel.path import KernelPath
from tests.kernel_paths import new_kernel_path, program_on_loopback
from tests.shard.clock import Clock
from tests.shard.next_shard import Talk
from tests.shard.ng_testbed import NgTestbed
from tests.shard.testbed import V4, Conversation, RelayTestbed
from tests.webrtc.bundle_phone import BundlePhone
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports

MakeTestbed = Callable[..., RelayTestbed]
MakeNg = Callable[..., NgTestbed]
MakeKernelPath = Callable[[], KernelPath | None]
MakePeer = Callable[..., MediaPeer]
TestbedT = TypeVar("TestbedT", bound=RelayTestbed)

LOOPBACK = Interface("default", V4, V4)


@pytest.fixture
def clock() -> Clock:
    """A clock that the test advances."""
    return Clock()


@pytest.fixture(scope="session")
def ports() -> Iterator[range]:
    """Media ports that no other test process uses."""
    with claim_ports(200) as claimed:
        yield claimed


@pytest.fixture(scope="session")
def kernel_program() -> Iterator[LoadedProgram]:
    """The kernel relays on loopback."""
    yield from program_on_loopback()


@pytest.fixture(params=["user space", pytest.param("kernel", marks=pytest.mark.kernel)])
def make_kernel_path(request: pytest.FixtureRequest) -> MakeKernelPath:
    """Both ways that packets may go: what calls and phones see of them is the same."""
    if request.param == "user space":
        return lambda: None
    program = request.getfixturevalue("kernel_program")
    return lambda: new_kernel_path(program)


@contextlib.contextmanager
def makes(
    kind: type[TestbedT],
    ports: range,
    make_kernel_path: MakeKernelPath,
    caplog: pytest.LogCaptureFixture,
    default: tuple[Interface, ...] = (),
) -> Iterator[Callable[..., TestbedT]]:
    """Makes relays with interfaces and settings of their own, until the block ends.

    No callback of theirs may fail.
    """
    with contextlib.ExitStack() as testbeds:

        def make(*interfaces: Interface, **settings: object) -> TestbedT:
            testbed = kind(
                ports,
                RelaySettings(**settings),  # type: ignore[arg-type]
                interfaces=interfaces or default,
                kernel=make_kernel_path(),
            )
            testbeds.callback(testbed.close)
            return testbed

        yield make
        assert errors_in(caplog) == []


@pytest.fixture
def make_testbed(
    ports: range, make_kernel_path: MakeKernelPath, caplog: pytest.LogCaptureFixture
) -> Iterator[MakeTestbed]:
    """Relays with settings of their own; no callback of theirs may fail."""
    with makes(RelayTestbed, ports, make_kernel_path, caplog) as make:
        yield make


@pytest.fixture
def make_ng(
    ports: range, make_kernel_path: MakeKernelPath, caplog: pytest.LogCaptureFixture
) -> Iterator[MakeNg]:
    """The same for calls of ng, on 127.0.0.1 if nothing else is said."""
    with makes(NgTestbed, ports, make_kernel_path, caplog, (LOOPBACK,)) as make:
        yield make


@pytest.fixture
def ng(make_ng: MakeNg) -> NgTestbed:
    """A relay on 127.0.0.1 with default settings."""
    return make_ng()


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged that should not be."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
def testbed(make_testbed: MakeTestbed) -> RelayTestbed:
    """A relay with default settings."""
    return make_testbed()


@pytest.fixture
def make_peer() -> Iterator[MakePeer]:
    """Phones, closed behind the test."""
    with contextlib.ExitStack() as peers:

        def make(address: str = V4) -> MediaPeer:
            peer = peers.enter_context(MediaPeer(address))
            for sock in peer.sockets:
                sock.setblocking(False)  # the loop that would fill them turns in this thread
            return peer

        yield make


@pytest.fixture
def alice(make_peer: MakePeer) -> MediaPeer:
    """A phone on 127.0.0.1."""
    return make_peer()


@pytest.fixture
def bob(make_peer: MakePeer) -> MediaPeer:
    """Another one."""
    return make_peer()


@pytest.fixture
def relayed_call(testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer) -> Conversation:
    """A call whose four directions have latched; with the path in the kernel, it relays them."""
    call = testbed.call(alice, bob)
    for _ in range(2):
        testbed.converse(alice, bob, call)
    return call


@pytest.fixture
def talk(relayed_call: Conversation, alice: MediaPeer, bob: MediaPeer) -> Talk:
    """It begins before the calls move to another shard."""
    talk = Talk(alice, bob, relayed_call)
    talk.say(3)
    return talk


@pytest.fixture
def phone(make_peer: MakePeer) -> BundlePhone:
    """A phone with a bundle."""
    return BundlePhone(make_peer("127.0.0.11"))


@pytest.fixture
def plain(make_peer: MakePeer) -> list[MediaPeer]:
    """One without: a port for each medium."""
    return [make_peer("127.0.0.22"), make_peer("127.0.0.22")]


@pytest.fixture
def ipv6() -> None:
    """Skip where the host has no IPv6 loopback."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 on the loopback interface")
