"""nh.shard.link.last_messages: a shard that ends its calls ends, whatever bug they meet."""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from nh.ipc.link_codec import encode
from nh.ipc.link_messages import MAX_UNSAVED, AllSaved
from nh.shard.link.last_messages import ENDED_A_TURN, LastMessages
from tests.supervisor.manual_loop import ManualLoop


class EndingLoop(ManualLoop):
    """A loop that goes on after an error, as that of a shard does, until it is stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True

    def run(self) -> None:
        for _ in range(1000):
            if self.stopped:
                return
            with contextlib.suppress(RuntimeError):
                self.advance(0.001)
        pytest.fail("the shard does not end")


def shard_with(calls: int, ended: list[bytes]) -> Any:
    """A shard with calls; those that end are in the list."""
    table = SimpleNamespace(call_ids=[b"%d" % number for number in range(calls)])
    relay = SimpleNamespace(table=table, end_calls=ended.extend)
    return SimpleNamespace(relay=relay, configure=SimpleNamespace(records=True))


class SlowLink:
    """A sink whose records are read some time later."""

    left = 3

    def catch_up(self) -> None:
        self.left -= 1

    @property
    def has_backlog(self) -> bool:
        return self.left > 0


def end(loop: EndingLoop, sink: Any, shard: Any) -> None:
    channel: Any = None
    any_loop: Any = loop
    LastMessages(any_loop, channel, sink).end(shard, calls_stay=False)


def test_calls_end_as_fast_as_their_records_are_read() -> None:
    loop, ended = EndingLoop(), list[bytes]()
    end(loop, SlowLink(), shard_with(ENDED_A_TURN + 1, ended))
    assert not ended
    loop.run()
    assert len(ended) == len(set(ended)) == ENDED_A_TURN + 1


def test_a_bug_where_calls_end_does_not_keep_the_shard_from_its_end() -> None:
    loop, ended, bugs = EndingLoop(), list[bytes](), 2

    def catch_up() -> None:
        nonlocal bugs
        bugs -= 1
        if bugs >= 0:
            raise RuntimeError("a bug")

    with contextlib.suppress(RuntimeError):
        end(loop, SimpleNamespace(catch_up=catch_up, has_backlog=False), shard_with(3, ended))
    loop.run()
    assert len(ended) == 3


def test_a_shard_names_some_of_the_calls_that_it_could_not_save() -> None:
    loop, sink, sent = EndingLoop(), SlowLink(), list[bytes]()
    unsaved = [b"%d" % number for number in range(MAX_UNSAVED + 1)]
    checkpointer = SimpleNamespace(save_in_turns=lambda then: then(unsaved))
    shard: Any = SimpleNamespace(recovery=SimpleNamespace(checkpointer=checkpointer))
    channel: Any = SimpleNamespace(send=sent.append)
    any_loop: Any = loop
    any_sink: Any = sink
    LastMessages(any_loop, channel, any_sink).save_all(shard)
    assert not sent, "what it has saved goes first"
    loop.advance(1.0)
    assert sent == [encode(AllSaved(tuple(unsaved[:MAX_UNSAVED])))]
