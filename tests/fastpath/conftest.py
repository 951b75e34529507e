"""Namespaces, a loop, and a program in the kernel for the tests of the kernel path."""

import socket
from collections.abc import Iterator

import pytest

from nh.loop import SelectorLoop
from tests.fastpath.frames import PHONES_MAC
from tests.fastpath.kernel_relay import KernelRelay
from tests.netns import namespaces
from tools.harness.namespaces import Namespace


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network namespace that the test is in."""
    with namespaces(1) as (only,), only.entered():
        yield only


@pytest.fixture
def loop() -> Iterator[SelectorLoop]:
    a_loop = SelectorLoop()
    yield a_loop
    a_loop.close()


@pytest.fixture(scope="session")
def phones_host() -> Iterator[Namespace]:
    """A namespace with an interface `phones`."""
    with namespaces(1) as (host,):
        host.run(f"ip link add phones address {PHONES_MAC.hex(':')} type veth peer name wire")
        yield host


@pytest.fixture
def kernel_relay(phones_host: Namespace) -> Iterator[KernelRelay]:
    """The program with empty tables."""
    with phones_host.entered():
        phones = socket.if_nametoindex("phones")
    relay = KernelRelay(phones_host, phones)
    yield relay
    relay.close()
