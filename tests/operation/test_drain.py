"""A relay that drains: known calls go on, new ones are refused, and it ends with the last one."""

import contextlib
import json
import signal
from collections.abc import Iterator

import psutil
import pytest
from typer.testing import CliRunner, Result

from nh.calls.media import Media, Side
from nh.cli.main import app
from nh.client import NativeClient
from nh.commands import Activate, Allocate, CloseCall, Drain, TransactionKey, Undrain
from nh.errors import Draining, NhError
from nh.results import DrainState
from nh.stats import ShardState
from nh.supervisor.shards.routing import shard_of
from tools.harness.call import RelayedCall
from tools.harness.relay import Relay, place_for_relay
from tools.harness.unbroken import UnbrokenMedia
from tools.harness.waiting import TIMEOUT_S, eventually

SHARDS = 2
NAMES = [b"call-%d" % number for number in range(100)]
AUDIO = (Media("127.0.0.1", 40_000, 2, "RTP/AVP", "audio"),)


@contextlib.contextmanager
def started_relay() -> Iterator[tuple[Relay, NativeClient]]:
    """A relay that may end before the test does, and a client of it."""
    with place_for_relay() as place:
        relay = Relay(place, SHARDS)
        with relay.program:
            relay.wait_until_ready()
            with NativeClient(relay.unix_address, TIMEOUT_S) as client:
                yield relay, client


def nh(relay: Relay, command: str, *words: str) -> Result:
    result = CliRunner().invoke(app, [command, "--runtime-dir", str(relay.directory), *words])
    assert result.exit_code == 0, result.output
    return result


def begin(client: NativeClient, call_id: bytes, cseq: int = 1) -> None:
    """A call from its INVITE to its answer, or with another cseq a re-INVITE in it."""
    key = TransactionKey(call_id, cseq, b"alice", b"bob")
    for side in Side:
        client.request(Allocate(key, side, "127.0.0.1", AUDIO))
    client.request(Activate(key))


def on_each_shard() -> list[bytes]:
    """A call-id for each shard."""
    return [next(name for name in NAMES if shard_of(name, SHARDS) == shard) for shard in range(SHARDS)]


def test_known_calls_go_on_and_new_ones_are_refused_until_the_last_one_ends() -> None:
    with started_relay() as (relay, client):
        calls = on_each_shard()
        for call_id in calls:
            begin(client, call_id)
        assert nh(relay, "drain").stdout == "draining: 2 calls left, nh ends with the last one\n"
        for call_id in calls:
            begin(client, call_id, cseq=2)
            with pytest.raises(Draining, match="takes no new calls"):
                begin(client, b"new " + call_id)
        eventually(lambda: relay.stats().supervisor.draining == 1, "the statistics say so")
        assert client.request(CloseCall(calls[0])).sessions
        assert client.request(Drain()).calls == 1
        with pytest.raises(Draining):
            begin(client, calls[0])
        assert client.request(CloseCall(calls[1])).sessions
        assert relay.program.wait() == 0
        assert "drained: no call is left" in relay.program.output


def test_media_of_known_calls_lose_no_packet() -> None:
    with started_relay() as (relay, _), contextlib.ExitStack() as phones:
        calls = [
            phones.enter_context(RelayedCall(relay.unix_address, call_id)) for call_id in on_each_shard()
        ]
        for call in calls:
            call.talk()
        with UnbrokenMedia(calls):
            nh(relay, "drain")
            eventually(lambda: relay.stats().supervisor.draining == 1, "the statistics say so")
        assert calls[0].end() == 1
        with UnbrokenMedia(calls[1:]), pytest.raises(Draining):
            RelayedCall(relay.unix_address, calls[0].call_id)
        assert calls[1].end() == 1
        assert relay.program.wait() == 0


def test_an_empty_relay_ends_at_once_and_its_client_is_told() -> None:
    with started_relay() as (relay, client):
        assert client.request(Drain()) == DrainState(draining=True, calls=0)
        assert relay.program.wait() == 0


def test_after_the_limit_it_ends_with_the_calls_that_are_left() -> None:
    with started_relay() as (relay, client):
        begin(client, b"long")
        assert "in 10s at most" in nh(relay, "drain", "--limit-s", "10").stdout
        state = json.loads(nh(relay, "drain", "--limit-s", "0", "--json").stdout)
        assert (state["draining"], state["limit_s"]) == (True, 0.0)
        assert relay.program.wait() == 0
        assert "drained: its limit is over" in relay.program.output


def test_undrained_it_takes_new_calls_and_stays() -> None:
    with started_relay() as (relay, client):
        begin(client, b"first")
        nh(relay, "drain", "--limit-s", "3600")
        with pytest.raises(Draining):
            begin(client, b"second")
        assert nh(relay, "undrain").stdout.startswith("not draining: new calls are taken; ")
        begin(client, b"second")
        for call_id in (b"first", b"second"):
            client.request(CloseCall(call_id))
        begin(client, b"third")
        assert not client.request(Undrain()).draining
        assert relay.program.stop() == 0


def test_sigusr1_drains_as_often_as_it_comes() -> None:
    with started_relay() as (relay, client):
        begin(client, b"last")
        for _ in range(2):
            psutil.Process(relay.program.pid).send_signal(signal.SIGUSR1)
        relay.program.wait_for_line("draining: new calls are refused")
        with pytest.raises(Draining):
            begin(client, b"new")
        client.request(CloseCall(b"last"))
        assert relay.program.wait() == 0


def test_a_shard_that_is_started_again_drains_too() -> None:
    with started_relay() as (relay, client):
        calls = on_each_shard()
        for call_id in calls:
            begin(client, call_id)
        client.request(Drain())
        killed = relay.stats().shards[0].pid
        psutil.Process(killed).kill()

        def is_back() -> bool:
            shard = relay.stats().shards[0]
            return shard.state is ShardState.UP and shard.pid not in (0, killed)

        eventually(is_back, "the shard is back")
        with pytest.raises(NhError, match="takes no new calls"):
            begin(client, next(name for name in NAMES[::-1] if shard_of(name, SHARDS) == 0))
        for call_id in calls:
            client.request(CloseCall(call_id))
        assert relay.program.wait() == 0
