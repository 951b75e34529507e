"""A program in the kernel for the tests of what it does with packets."""

import socket
from collections.abc import Iterator

import pytest

from tests.fastpath.frames import PHONES_MAC
from tests.fastpath.kernel_relay import KernelRelay
from tests.fastpath.namespace import Namespace, new_namespace


@pytest.fixture(scope="session")
def namespace() -> Iterator[Namespace]:
    """A namespace with an interface `phones`."""
    with new_namespace() as namespace:
        namespace.ip(f"link add phones address {PHONES_MAC.hex(':')} type veth peer name wire")
        yield namespace


@pytest.fixture
def kernel_relay(namespace: Namespace) -> Iterator[KernelRelay]:
    """The program with empty tables."""
    relay = KernelRelay(namespace, namespace.run(lambda: socket.if_nametoindex("phones")))
    yield relay
    relay.close()
