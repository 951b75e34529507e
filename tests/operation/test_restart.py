"""What an operator sees of a shard that died and is started again."""

import psutil

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Allocate, ShowCall, TransactionKey
from nh.stats import ShardState
from tools.harness.relay import running_relay
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 300
"""So many that the next process needs a while to restore them."""

AUDIO = (Media("127.0.0.1", 40_000, 1, "RTP/AVP", "audio"),)


def test_a_shard_is_shown_as_up_only_when_it_takes_commands() -> None:
    with (
        running_relay(shards=1, ports=4 * CALLS) as relay,
        NativeClient(relay.unix_address, TIMEOUT_S) as client,
    ):
        for number in range(CALLS):
            client.request(Allocate(TransactionKey(b"%d" % number, 1, b"a"), Side.FROM, "127.0.0.1", AUDIO))
        killed = relay.stats().shards[0].pid
        psutil.Process(killed).kill()
        eventually(lambda: relay.stats().shards[0].pid != killed, "the next process publishes")
        eventually(lambda: relay.stats().shards[0].state is ShardState.UP, "the shard is up")
        assert client.request(ShowCall(b"0")).groups
