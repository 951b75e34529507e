"""No memory for sockets, or no more watches: new calls are refused with that reason."""

import contextlib
import functools
from pathlib import Path

import pytest

from nh.client import NativeClient
from nh.commands import Ping
from nh.errors import Unavailable
from tests.exhaustion.faults import Faults
from tests.exhaustion.talks import (
    Talk,
    assert_new_calls_are_refused,
    lines_with,
    nothing_worse_is_said,
    until_new_calls_are_taken,
)
from tests.relay import Relay, place_for_relay, running_relay
from tests.waiting import eventually

MEMORY = r"raise what memory nh may have .*net\.ipv4\.udp_mem"


@pytest.mark.parametrize(
    ("fault", "said", "why"),
    [
        ("socket", "ENOBUFS", f"no socket for .*: No buffer space available; {MEMORY}"),
        ("socket", "ENOMEM", f"no socket for .*: Cannot allocate memory; {MEMORY}"),
        ("socket", "ENFILE", r"no socket for .*: Too many open files in system; .*fs\.file-max"),
        ("watch", "ENOSPC", r"no more sockets can be watched: .*; raise fs\.epoll\.max_user_watches"),
        ("watch", "ENOMEM", f"no more sockets can be watched: Cannot allocate memory; {MEMORY}"),
    ],
)
def test_who_talks_talks_on_and_new_calls_are_refused_until_the_system_has_more(
    faults: Faults, fault: str, said: str, why: str
) -> None:
    with running_relay(shards=1) as relay, nothing_worse_is_said(relay), Talk(relay) as one:
        one.goes_on()
        faults.begin(fault, said)
        assert_new_calls_are_refused(relay, why)
        one.goes_on()
        assert len(lines_with(relay, "refuses new calls, those that it has go on")) == 1
        eventually(lambda: relay.stats().totals.allocate_refused == 6, "each is counted")
        assert relay.stats().totals.sockets == 4, "of those that were refused nothing is left"
        faults.end(fault)
        until_new_calls_are_taken(relay)
        one.goes_on()


def test_a_shard_that_cannot_be_replaced_for_want_of_watches_is_replaced_when_there_are_some(
    faults: Faults,
) -> None:
    with running_relay(shards=1) as relay, Talk(relay) as one:
        one.goes_on()
        [shard] = relay.shard_processes()
        faults.begin("watch", "ENOSPC")
        shard.kill()
        eventually(lambda: len(lines_with(relay, "it starts again in")) >= 2, "its successors cannot start")
        faults.end("watch")
        relay.program.wait_for_line("goes on with 1 calls, 0 could not be restored")
        one.goes_on()


def calls_lost(relay: Relay, count: int) -> bool:
    return relay.stats().totals.calls_lost == count


def test_calls_that_cannot_come_back_for_want_of_memory_are_counted_and_told_of_once(
    faults: Faults, tmp_path: Path
) -> None:
    with place_for_relay() as place, contextlib.ExitStack() as phones:
        state = {"NH_STATE": str(tmp_path / "state")}
        with (relay := Relay(place, 1, state)).program as program:
            relay.wait_until_ready()
            for _ in range(5):
                phones.enter_context(Talk(relay))
            assert program.stop() == 0
        faults.begin("socket", "ENOBUFS")
        with (relay := Relay(place, 1, state)).program as program:
            relay.wait_until_ready()
            assert "No buffer space available; raise" in lines_with(relay, "cannot be restored")[0]
            assert len(lines_with(relay, "cannot be restored: ")) == 1
            assert lines_with(relay, "goes on with 0 calls, 5 could not be restored")
            eventually(functools.partial(calls_lost, relay, 5), "they are counted")
            faults.end("socket")
            Talk(relay).hang_up()
            assert program.stop() == 0


def test_clients_that_cannot_be_watched_are_turned_away_until_there_is_room(faults: Faults) -> None:
    with running_relay(shards=1) as relay, nothing_worse_is_said(relay), Talk(relay) as one:
        faults.begin("watch_rpc", "ENOSPC")
        for _ in range(3):
            with pytest.raises(Unavailable), NativeClient(relay.unix_address, 0.3) as client:
                client.request(Ping())
        one.goes_on()
        [line] = lines_with(relay, "new clients have to wait")
        assert "cannot be watched: No space left on device; raise" in line
        assert "fs.epoll.max_user_watches" in line
        faults.end("watch_rpc")
        with Talk(relay) as other:
            other.goes_on()
        one.goes_on()
