"""A full disk under the state directory: calls go on, new ones too, and are stored when there is room."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exhaustion.new_calls import lines_with
from tests.supervisor.stores import file_system, occupy
from tools.harness.call import RelayedCall
from tools.harness.relay import Place, Relay
from tools.harness.waiting import eventually

NOT_STORED = "calls go on but are not stored"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for two megabytes."""
    with file_system(tmp_path / "disk", "size=2m,mode=700") as where:
        yield where


@contextlib.contextmanager
def running(place: Place, disk: Path) -> Iterator[Relay]:
    relay = Relay(place, 2, {"NH_STATE": str(disk / "state")})
    with relay.program:
        relay.wait_until_ready()
        yield relay


def until_it_was_tried_twice(relay: Relay) -> None:
    before = relay.stats().supervisor.store_errors
    eventually(lambda: relay.stats().supervisor.store_errors >= before + 2, "the disk was tried twice")


def fill(disk: Path) -> Path:
    """No room is left. What takes it."""
    (disk / "state").mkdir(mode=0o700, exist_ok=True)
    return occupy(disk)


def assert_it_goes_on_without_storing(relay: Relay, *calls: RelayedCall) -> None:
    until_it_was_tried_twice(relay)
    for each in calls:
        each.talk()
    [line] = lines_with(relay, NOT_STORED)
    assert "full" in line
    assert "retried every second" in line
    eventually(lambda: relay.stats().supervisor.store_pending > 0, "it is counted")


@pytest.mark.full
def test_while_a_disk_is_full_calls_are_not_stored_and_when_it_has_room_they_are(
    place: Place, disk: Path
) -> None:
    with contextlib.ExitStack() as phones:
        with running(place, disk) as relay:
            one = phones.enter_context(RelayedCall(relay.unix_address))
            eventually(lambda: relay.has_stored(1), "all is stored")
            filler = fill(disk)
            # more than there is room for in what the store has allocated before
            others = [phones.enter_context(RelayedCall(relay.unix_address)) for _ in range(20)]
            assert_it_goes_on_without_storing(relay, one, *others)
            filler.unlink()
            eventually(lambda: relay.has_stored(21), "all is stored")
            relay.program.wait_for_line("works again")
            relay.kill_all()
        with running(place, disk) as relay:
            assert len(relay.calls().calls) == 21
            for each in (one, *others):
                each.talk()
            assert relay.program.stop() == 0


@pytest.mark.full
def test_on_a_full_disk_nh_starts_and_stores_calls_when_there_is_room(place: Place, disk: Path) -> None:
    filler = fill(disk)
    with contextlib.ExitStack() as phones:
        with running(place, disk) as relay:
            one = phones.enter_context(RelayedCall(relay.unix_address))
            assert_it_goes_on_without_storing(relay, one)
            filler.unlink()
            eventually(lambda: relay.has_stored(1), "all is stored")
            relay.kill_all()
        with running(place, disk) as relay:
            one.talk()
            assert not lines_with(relay, "quarantine")
            assert relay.program.stop() == 0


@pytest.mark.full
def test_a_call_that_ended_while_the_disk_was_full_does_not_come_back(place: Place, disk: Path) -> None:
    with contextlib.ExitStack() as phones:
        with running(place, disk) as relay:
            one, other = (phones.enter_context(RelayedCall(relay.unix_address)) for _ in range(2))
            eventually(lambda: relay.has_stored(2), "all is stored")
            filler = fill(disk)
            more = [phones.enter_context(RelayedCall(relay.unix_address)) for _ in range(20)]
            until_it_was_tried_twice(relay)
            one.end()
            filler.unlink()
            eventually(lambda: relay.has_stored(23), "all is stored")
            assert relay.program.stop() == 0
        with running(place, disk) as relay:
            kept = {call.call_id for call in relay.calls().calls}
            assert kept == {each.call_id for each in (other, *more)}
            assert relay.program.stop() == 0
