"""No memory for sockets, or no more watches: new calls are refused with that reason."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.client import NativeClient
from nh.commands import Ping
from nh.errors import Unavailable
from tests.exhaustion.faults import Faults
from tests.exhaustion.new_calls import (
    assert_new_calls_are_refused,
    lines_with,
    no_shard_fails,
    wait_until_calls_are_taken,
)
from tests.profiles import quick_first
from tools.harness.call import RelayedCall
from tools.harness.relay import Place, Relay, place_for_relay, running_relay
from tools.harness.waiting import eventually

MEMORY = r"raise what memory nh may have .*net\.ipv4\.udp_mem"


@pytest.mark.parametrize(
    ("fault", "said", "why"),
    quick_first(
        [
            ("socket", "ENOBUFS", f"no socket for .*: No buffer space available; {MEMORY}"),
            ("socket", "ENOMEM", f"no socket for .*: Cannot allocate memory; {MEMORY}"),
            ("socket", "ENFILE", r"no socket for .*: Too many open files in system; .*fs\.file-max"),
            ("watch", "ENOSPC", r"no more sockets can be watched: .*; raise fs\.epoll\.max_user_watches"),
            ("watch", "ENOMEM", f"no more sockets can be watched: Cannot allocate memory; {MEMORY}"),
        ]
    ),
)
def test_who_talks_talks_on_and_new_calls_are_refused_until_the_system_has_more(
    faults: Faults, fault: str, said: str, why: str
) -> None:
    with running_relay(shards=1) as relay, no_shard_fails(relay), RelayedCall(relay.unix_address) as one:
        one.talk()
        faults.begin(fault, said)
        assert_new_calls_are_refused(relay, why)
        one.talk()
        assert len(lines_with(relay, "refuses new calls, those that it has go on")) == 1
        eventually(lambda: relay.stats().totals.allocate_refused == 6, "each is counted")
        assert relay.stats().totals.sockets == 4, "of those that were refused nothing is left"
        faults.end(fault)
        wait_until_calls_are_taken(relay)
        one.talk()


def test_a_shard_that_cannot_be_replaced_for_want_of_watches_is_replaced_when_there_are_some(
    faults: Faults,
) -> None:
    with running_relay(shards=1) as relay, RelayedCall(relay.unix_address) as one:
        one.talk()
        [shard] = relay.shard_processes()
        faults.begin("watch", "ENOSPC")
        shard.kill()
        eventually(lambda: len(lines_with(relay, "it is restarted in")) >= 2, "its successors cannot start")
        faults.end("watch")
        relay.program.wait_for_line("has restored 1 call; 0 could not be restored")
        one.talk()


@contextlib.contextmanager
def stored_calls(place: Place, state: Path, count: int) -> Iterator[list[RelayedCall]]:
    """Calls of a relay that was stopped."""
    with contextlib.ExitStack() as phones:
        with (relay := Relay(place, 1, {"NH_STATE": str(state)})).program as program:
            relay.wait_until_ready()
            calls = [phones.enter_context(RelayedCall(relay.unix_address)) for _ in range(count)]
            for each in calls:
                each.talk()
            assert program.stop() == 0
        yield calls


def test_calls_that_cannot_come_back_at_once_wait_and_do_when_the_system_has_more(
    faults: Faults, tmp_path: Path
) -> None:
    with place_for_relay() as place, stored_calls(place, tmp_path / "state", 5) as calls:
        faults.begin("socket", "ENOBUFS")
        relay = Relay(place, 1, {"NH_STATE": str(tmp_path / "state")})
        with relay.program as program:
            relay.wait_until_ready()
            with no_shard_fails(relay):
                [line] = lines_with(relay, "waits until it can be restored")
                assert "No buffer space available; raise" in line
                assert not relay.calls().calls
                faults.end("socket")
                program.wait_for_line("5 calls that waited for sockets go on, 0 still wait")
                for each in calls:
                    each.talk()
                assert len(relay.calls().calls) == 5
                assert relay.stats().totals.calls_lost == 0
            assert program.stop() == 0


@pytest.mark.full
def test_calls_that_wait_until_nh_ends_come_back_at_the_next_start(faults: Faults, tmp_path: Path) -> None:
    with place_for_relay() as place, stored_calls(place, tmp_path / "state", 2) as calls:
        for fault in ("ENOBUFS", None):
            if fault:
                faults.begin("socket", fault)
            else:
                faults.end("socket")
            relay = Relay(place, 1, {"NH_STATE": str(tmp_path / "state")})
            with relay.program as program:
                relay.wait_until_ready()
                assert len(relay.calls().calls) == (0 if fault else 2)
                if not fault:
                    for each in calls:
                        each.talk()
                assert program.stop() == 0


@pytest.mark.full
def test_calls_that_wait_in_a_shard_without_supervisor_are_handed_over_too(
    faults: Faults, tmp_path: Path
) -> None:
    with place_for_relay() as place, stored_calls(place, tmp_path / "state", 2) as calls:
        faults.begin("socket", "ENOBUFS")
        left = Relay(place, 1, {"NH_STATE": str(tmp_path / "state")})
        with left.program:
            left.wait_until_ready()
            [shard] = left.shard_processes()
            left.program.kill()
            relay = Relay(place, 1, {"NH_STATE": str(tmp_path / "state")})
            with relay.program as program:
                relay.wait_until_ready()
                eventually(lambda: not shard.is_running(), "the new shard has the calls")
                faults.end("socket")
                program.wait_for_line("2 calls that waited for sockets go on, 0 still wait")
                for each in calls:
                    each.talk()
                assert program.stop() == 0


@pytest.mark.full
def test_calls_that_are_over_when_they_can_come_back_end_at_once(faults: Faults, tmp_path: Path) -> None:
    with place_for_relay() as place, stored_calls(place, tmp_path / "state", 1):
        faults.begin("socket", "ENOBUFS")
        relay = Relay(place, 1, {"NH_STATE": str(tmp_path / "state"), "NH_SILENT_S": "1"})
        with relay.program as program:
            relay.wait_until_ready()
            faults.end("socket")
            program.wait_for_line("1 call that waited for sockets goes on")
            eventually(lambda: not relay.calls().calls, "it is over")
            eventually(relay.all_ports_are_free, "its ports are free")
            assert program.stop() == 0


def test_clients_that_cannot_be_watched_are_turned_away_until_there_is_room(faults: Faults) -> None:
    with running_relay(shards=1) as relay, no_shard_fails(relay), RelayedCall(relay.unix_address) as one:
        faults.begin("watch_rpc", "ENOSPC")
        for _ in range(3):
            with pytest.raises(Unavailable), NativeClient(relay.unix_address, 0.3) as client:
                client.request(Ping())
        one.talk()
        line = relay.program.wait_for_line("new clients have to wait")
        assert len(lines_with(relay, "new clients have to wait")) == 1
        assert "cannot be watched: No space left on device; raise" in line
        assert "fs.epoll.max_user_watches" in line
        faults.end("watch_rpc")
        with RelayedCall(relay.unix_address) as other:
            other.talk()
        one.talk()
