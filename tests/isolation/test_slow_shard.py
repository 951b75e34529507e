"""A shard that does not move: only its own calls wait, and none of them for ever."""

import contextlib
import itertools

import psutil
import pytest

from nh.client import NativeClient
from nh.commands import ListCalls, Ping
from nh.errors import CommandTimeout
from nh.supervisor.shards.routing import shard_of
from tests.isolation.rpc_stream import allocate, ask_perl, assert_calls_are_served
from tools.harness.relay import running_relay
from tools.harness.waiting import TIMEOUT_S, eventually

SLOW, WELL = 0, 1


def call_of(shard: int, number: int) -> bytes:
    """The call-id of a call that the shard gets."""
    names = (b"call-%d-%d" % (number, attempt) for attempt in range(1000))
    return next(name for name in names if shard_of(name, 2) == shard)


def until_served(address: str, shard: int) -> None:
    """Wait until a call of the shard is served: on a busy host a command may take longer than it may."""
    numbers = itertools.count(1000)

    def is_served() -> bool:
        with contextlib.suppress(AssertionError):
            assert_calls_are_served(address, call_of(shard, next(numbers)))
            return True
        return False

    eventually(is_served, "a call of the shard is served")


@pytest.mark.full
def test_a_shard_that_does_not_move_delays_its_own_calls_only() -> None:
    # on a busy host all this takes longer than a shard may show no life
    with running_relay(command_timeout_s=2, unused_s=5, hang_s=0) as relay:
        stopped = psutil.Process(relay.stats().shards[SLOW].pid)
        stopped.suspend()
        try:
            for number in range(2):
                # undef, because the Perl client dies of a connection that closes without a reply
                assert ask_perl(relay.unix_address, allocate(call_of(SLOW, number))) is None
                until_served(relay.unix_address, WELL)
            with NativeClient(relay.unix_address, TIMEOUT_S) as client:
                client.request(Ping())
                with pytest.raises(CommandTimeout):
                    client.request(ListCalls())
        finally:
            stopped.resume()
        until_served(relay.unix_address, SLOW)
        until_served(relay.unix_address, WELL)
        assert relay.stats().totals.restarts == 0
