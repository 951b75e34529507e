"""nh.calls.sockets.group: the sockets for one SDP, all of them or none."""

import math

import pytest

from nh.calls.media import Media, RelayMedia, Side
from nh.calls.sockets.group import SocketGroup
from nh.calls.sockets.ports import PortSpace
from nh.calls.sockets.runs import SocketRuns
from nh.errors import AddressUnavailable, PortsExhausted
from tests.calls.fakes import ALICE, ALICE_AUDIO, ALICE_VIDEO, HELD_AUDIO, PORTS, RELAY, START, FakePlane

FAX = Media("198.51.100.1", 4100, 1, "udptl", "image")


@pytest.fixture
def ports() -> PortSpace:
    return PortSpace(*PORTS)


def open_group(plane: FakePlane, ports: PortSpace, *media: Media, address: str = RELAY) -> SocketGroup:
    return SocketGroup.open(
        id=ALICE,
        side=Side.FROM,
        address=address,
        media=media,
        runs=SocketRuns(ports, plane),
        now=START,
    )


def test_each_medium_has_consecutive_sockets_from_an_even_port(plane: FakePlane, ports: PortSpace) -> None:
    group = open_group(plane, ports, ALICE_AUDIO, FAX, ALICE_VIDEO)
    assert group.relay_media == (
        RelayMedia(RELAY, 20_000, 2),
        RelayMedia(RELAY, 20_002, 1),
        RelayMedia(RELAY, 20_004, 2),
    )
    sockets = zip(group.components, group.sockets, strict=True)
    assert [(*component, socket.local.port) for component, socket in sockets] == [
        (0, 0, 20_000),
        (0, 1, 20_001),
        (1, 0, 20_002),
        (2, 0, 20_004),
        (2, 1, 20_005),
    ]


def test_an_inactive_medium_answers_port_0_and_has_its_sockets_all_the_same(
    plane: FakePlane, ports: PortSpace
) -> None:
    for medium in (HELD_AUDIO, Media("198.51.100.1", 0, 2), Media("::", 4000, 2)):
        group = open_group(plane, ports, medium)
        assert group.relay_media == (RelayMedia(RELAY, 0, 2),)
        assert len(group.sockets) == 2


def test_no_media_need_no_sockets(plane: FakePlane, ports: PortSpace) -> None:
    group = open_group(plane, ports)
    assert group.relay_media == ()
    assert group.sockets == ()
    assert not plane.attempts


def test_a_group_that_cannot_have_all_its_sockets_keeps_none(plane: FakePlane, ports: PortSpace) -> None:
    plane.room = 3
    with pytest.raises(PortsExhausted):
        open_group(plane, ports, ALICE_AUDIO, ALICE_VIDEO)
    assert not plane.open
    assert ports.free == ports.total


def test_an_address_of_another_host_gets_no_group(plane: FakePlane, ports: PortSpace) -> None:
    plane.foreign.add("203.0.113.1")
    with pytest.raises(AddressUnavailable):
        open_group(plane, ports, ALICE_AUDIO, address="203.0.113.1")
    assert ports.free == ports.total


def test_closing_gives_all_ports_back(plane: FakePlane, ports: PortSpace) -> None:
    group = open_group(plane, ports, ALICE_AUDIO, FAX, HELD_AUDIO)
    group.close(SocketRuns(ports, plane))
    assert not plane.open
    assert ports.free == ports.total


def test_an_unused_group_expires_after_the_unused_time(plane: FakePlane, ports: PortSpace) -> None:
    group = open_group(plane, ports, ALICE_AUDIO)
    assert group.expires_at(unused_s=180, replaced_s=1) == START + 180


def test_a_group_that_shares_sockets_announces_for_itself(plane: FakePlane, ports: PortSpace) -> None:
    held = open_group(plane, ports, HELD_AUDIO)
    shared = held.share()
    shared.announce()
    assert shared.relay_media == (RelayMedia(RELAY, 20_000, 2),)
    assert held.relay_media == (RelayMedia(RELAY, 0, 2),)
    runs = SocketRuns(ports, plane)
    shared.close(runs)
    assert plane.open
    held.close(runs)
    assert not plane.open


def test_sockets_are_closed_with_the_last_of_all_groups_that_share_them(
    plane: FakePlane, ports: PortSpace
) -> None:
    first = open_group(plane, ports, ALICE_AUDIO)
    second = first.share()
    groups = [first, second, first.share(), second.share()]
    runs = SocketRuns(ports, plane)
    for number, group in enumerate(groups):
        assert group.is_last is (number == 3)
        group.close(runs)
        assert bool(plane.open) is (number < 3)


def test_a_used_group_does_not_expire(plane: FakePlane, ports: PortSpace) -> None:
    group = open_group(plane, ports, ALICE_AUDIO)
    group.attach()
    assert group.expires_at(unused_s=180, replaced_s=1) == math.inf


def test_a_group_that_was_left_expires_soon(plane: FakePlane, ports: PortSpace) -> None:
    group = open_group(plane, ports, ALICE_AUDIO)
    group.attach()
    group.detach(since=START + 60)
    assert group.expires_at(unused_s=180, replaced_s=1) == START + 61


def test_a_group_is_used_until_its_last_session_leaves(plane: FakePlane, ports: PortSpace) -> None:
    group = open_group(plane, ports, ALICE_AUDIO)
    group.attach()
    group.attach()
    group.detach(since=START + 60)
    assert group.expires_at(unused_s=180, replaced_s=1) == math.inf
    group.detach(since=START + 70)
    group.attach()
    assert group.expires_at(unused_s=180, replaced_s=1) == math.inf, "it is used again"
