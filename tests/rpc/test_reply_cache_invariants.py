"""Any order of requests and repetitions: each request is executed once, and answered alike each time."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from nh.commands import Delete
from nh.logs.throttle import RateLimitedLogger
from nh.results import Failure, Result
from nh.rpc import cookies, reply_cache
from nh.rpc.cookies import CookieHandler, CookieRequest
from nh.rpc.events import CookieMessage, RequestCounter
from nh.rpc.packed_replies import MAX_BYTES, MIN_BYTES
from nh.rpc.reply_cache import KEEP_S
from nh.stats import SupervisorStats
from tests.profiles import examples
from tests.rpc.answering import Answering

COOKIES = st.sampled_from([b"%d" % number for number in range(8)])
SENDERS = st.sampled_from("abc")
LENGTHS = st.sampled_from([1, MIN_BYTES, MAX_BYTES - 50, MAX_BYTES])


class EchoCodec:
    """Messages `COOKIE REQUEST`; a reply is the cookie and what the result says."""

    name = "ng"

    def split(self, message: bytes) -> tuple[bytes, bytes] | None:
        cookie, _, payload = message.partition(b" ")
        return cookie, payload

    def decode(self, cookie: bytes, payload: bytes) -> CookieRequest:
        return CookieRequest(Delete(payload), lambda result: cookie + b" " + said(result))


def said(result: Result) -> bytes:
    assert isinstance(result, Failure)
    return result.message.encode()


class RepeatingClients(RuleBasedStateMachine):
    """A plain dictionary has the reply to each cookie, and until when it is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(reply_cache, "TOGETHER", 3)
        self.now = 1000.0
        self.shards = Answering(Failure("internal", "not held"))
        self.shards.holding = True
        self.handler = CookieHandler(
            EchoCodec(),
            lambda: self.now,
            self.shards.dispatch,
            counter=RequestCounter(SupervisorStats()),
            limited_log=RateLimitedLogger(cookies.logger, lambda: self.now),
        )
        self.received: dict[str, list[bytes]] = {sender: [] for sender in "abc"}
        self.pending: dict[bytes, tuple[Callable[[Result], None], set[str]]] = {}
        self.replies: dict[bytes, tuple[bytes, float]] = {}
        self.executed = 0

    @rule(cookie=COOKIES, sender=SENDERS)
    def ask(self, cookie: bytes, sender: str) -> None:
        received = self.received[sender]
        before = len(received)
        assert self.handler.serve(CookieMessage(cookie + b" call"), sender, received.append)
        if cookie in self.pending:
            self.pending[cookie][1].add(sender)
        elif len(self.shards.held) > self.executed:
            assert self.now >= self.replies.get(cookie, (b"", 0.0))[1], "it was executed a second time"
            self.executed += 1
            self.pending[cookie] = (self.shards.held[-1], {sender})
        else:
            reply, kept_until = self.replies[cookie]
            assert self.now < kept_until + 1.0, "the reply was kept too long"
            assert received[before:] == [reply]
            return
        assert len(self.shards.held) == self.executed
        assert len(received) == before, "the reply waits for the result"

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), length=LENGTHS)
    def finish(self, data: st.DataObject, length: int) -> None:
        cookie = data.draw(st.sampled_from(sorted(self.pending)))
        answer, senders = self.pending.pop(cookie)
        text = f"result {self.executed} ".ljust(length, "x")
        reply = cookie + b" " + text.encode()
        before = {sender: len(received) for sender, received in self.received.items()}
        answer(Failure("internal", text))
        self.replies[cookie] = (reply, self.now + KEEP_S)
        for sender, received in self.received.items():
            assert received[before[sender] :] == [reply] * (sender in senders)

    @rule(seconds=st.sampled_from([0.3, 7.0, KEEP_S / 2, KEEP_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def teardown(self) -> None:
        self.patches.undo()


TestAnyRepetitions = RepeatingClients.TestCase
TestAnyRepetitions.settings = settings(max_examples=examples(60), stateful_step_count=50, deadline=None)
