"""A standby of several relays asks for all of them at once, and one that is refused hides no other."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import StoredCall
from tests.supervisor.valkey_group import Group
from tools.harness.valkey_server import ValkeyServer, valkey_server

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.followers import Followers

pytestmark = pytest.mark.valkey

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture
def groups(server: ValkeyServer) -> Iterator[Sequence[Group]]:
    groups = [Group(server, name) for name in NAMES]
    yield groups
    for each in groups:
        each.remove()


@contextlib.contextmanager
def following(groups: Sequence[Group]) -> "Iterator[Followers]":
    from nh.supervisor.store.valkey.followers import Followers  # noqa: PLC0415  needs the extra valkey

    followers = Followers([each.follower("standby") for each in groups])
    try:
        yield followers
    finally:
        followers.leave()


def serve(groups: Sequence[Group]) -> None:
    """Let each group have a call of its name, whose relay lives."""
    for each in groups:
        relay = each.engine(f"relay-{each.prefix}")
        relay.open()
        relay.write({each.prefix.encode(): StoredCall(each.prefix.encode(), b"snapshot", 1.5)})


def calls(followers: "Followers") -> list[list[bytes]]:
    return [list(each.copy.calls) for each in followers]


def holders(followers: "Followers") -> list[str]:
    return [
        "refused" if isinstance(outcome, StoreUnavailable) else outcome.holder
        for _, outcome in followers.poll()
    ]


def announced(groups: Sequence[Group]) -> int:
    return sum(each.client.hlen(each.key("standbys")) for each in groups)


def test_all_groups_are_asked_for_in_one_round_trip(groups: Sequence[Group]) -> None:
    serve(groups)
    with following(groups) as followers:
        assert holders(followers) == [f"relay-{name}" for name in NAMES]
        assert calls(followers) == [[name.encode()] for name in NAMES]
        assert holders(followers)[0] == "relay-one"
        assert announced(groups) == len(NAMES)
        assert len(groups[0].client.client_list()) == 2, "one connection, and the test's"
        followers.leave("two")
        assert announced(groups) == 1


def test_one_group_that_the_server_refuses_hides_no_other(groups: Sequence[Group]) -> None:
    serve(groups[1:])
    groups[0].client.set(groups[0].key("group"), "of another program")
    with following(groups) as followers:
        assert holders(followers) == ["refused", "relay-two", "relay-three"]
        assert calls(followers)[1:] == [[b"two"], [b"three"]]


def test_a_server_that_has_forgotten_the_script_is_asked_again(groups: Sequence[Group]) -> None:
    serve(groups)
    with following(groups) as followers:
        assert holders(followers)[2] == "relay-three"
        groups[0].client.script_flush()
        assert holders(followers)[2] == "relay-three"
