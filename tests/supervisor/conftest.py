"""A Valkey server for the tests of the supervisor's store, and a group of calls on it."""

import itertools
from collections.abc import Iterator

import pytest

from tests.supervisor.valkey_group import Group
from tools.harness.valkey_server import ValkeyServer, missing, valkey_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[ValkeyServer]:
    """A server that no test stops or changes."""
    if why := missing():
        pytest.skip(why)
    with valkey_server() as server:
        yield server


@pytest.fixture
def group(shared_server: ValkeyServer) -> Group:
    """A group of calls on the shared server that no other test has."""
    return Group(shared_server, f"test-{next(_numbers)}")


@pytest.fixture
def own_group() -> Iterator[Group]:
    """A group of calls on a server that the test may stop and change."""
    with valkey_server() as server:
        yield Group(server, "nh")
