"""nh.calls.resources: the limits on sockets, and that they count what is really open."""

import pytest

from nh.calls.session_ids import SessionIds
from nh.calls.settings import RelaySettings
from nh.calls.shared_resources import SharedResources
from nh.calls.sockets.ports import PortSpace
from nh.errors import LimitReached
from tests.calls.fakes import (
    ALICE_AUDIO,
    ALICE_VIDEO,
    BOB_AUDIO,
    BOB_VIDEO,
    HELD_AUDIO,
    PORTS,
    FakePlane,
    make_proxy,
)


def test_max_sockets_is_a_limit_over_all_calls() -> None:
    proxy = make_proxy(RelaySettings(max_sockets=4))
    proxy.offer(ALICE_AUDIO, call_id=b"one")
    proxy.offer(ALICE_AUDIO, call_id=b"two")
    with pytest.raises(LimitReached, match=r"max_sockets: .* its share is 4"):
        proxy.offer(ALICE_AUDIO, call_id=b"three")
    assert len(proxy.table) == 2
    assert len(proxy.plane.open) == 4


def test_sockets_that_were_closed_make_room() -> None:
    proxy = make_proxy(RelaySettings(max_sockets=4))
    proxy.connect()
    with pytest.raises(LimitReached):
        proxy.offer(ALICE_AUDIO, call_id=b"two")
    proxy.bye()
    proxy.offer(ALICE_AUDIO, ALICE_VIDEO, call_id=b"two")


def test_max_sockets_in_group_is_a_limit_for_one_sdp() -> None:
    proxy = make_proxy(RelaySettings(max_sockets_in_group=3))
    with pytest.raises(LimitReached, match="max_sockets_in_group = 3"):
        proxy.offer(ALICE_AUDIO, ALICE_VIDEO)
    assert not proxy.plane.attempts
    proxy.offer(ALICE_AUDIO)


def test_held_media_count_too() -> None:
    proxy = make_proxy(RelaySettings(max_sockets=2))
    proxy.offer(HELD_AUDIO)
    with pytest.raises(LimitReached):
        proxy.answer(BOB_AUDIO)


def test_a_retransmission_beyond_the_limit_is_none() -> None:
    proxy = make_proxy(RelaySettings(max_sockets=2))
    first = proxy.offer(ALICE_AUDIO)
    assert proxy.offer(ALICE_AUDIO) == first


def test_without_limits_there_are_only_ports() -> None:
    proxy = make_proxy(ports=(20_000, 20_199))
    for number in range(50):
        proxy.offer(ALICE_AUDIO, ALICE_VIDEO, call_id=b"%d" % number)
    assert proxy.table.resources.sockets == 200


def test_sockets_and_sessions_are_counted_until_they_are_closed() -> None:
    proxy = make_proxy()
    proxy.connect(offered=(ALICE_AUDIO, ALICE_VIDEO), answered=(BOB_AUDIO, BOB_VIDEO))
    assert (proxy.table.resources.sockets, proxy.table.resources.sessions) == (8, 1)
    proxy.bye()
    assert proxy.nothing_is_left


def test_tables_of_one_relay_number_their_sessions_apart() -> None:
    numbers = []
    for shard in (0, 1):
        proxy = make_proxy()
        proxy.table.resources = SharedResources(
            plane=FakePlane(),
            ports=PortSpace(*PORTS),
            settings=RelaySettings(),
            session_ids=SessionIds(shard + 1, 2),
        )
        proxy.plane = proxy.table.resources.plane  # type: ignore[assignment]
        numbers.append([proxy.connect(cseq=cseq).id for cseq in (1, 2)])
    assert numbers == [[1, 3], [2, 4]]
