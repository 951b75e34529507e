"""Two relays, one server; messages late, lost, in another order; pauses and ends: never do both relays serve.

The server of the model keeps the rules of the scripts ACQUIRE, RENEW and WRITE, as test_valkey_faults.py has
them of a real server. The relays of the model use the real Lease.
"""

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nh.supervisor.store.lease import Lease
from tests.profiles import examples

LENGTH_S = 5.0
RELAYS = st.integers(0, 1)


class Message(NamedTuple):
    """A request, or with an answer its reply."""

    relay: int
    process: int
    sent_at: float
    epoch: int
    answer: str = ""


class Process:
    """One run of a relay: it serves from its first answer on, until its lease is lost or it is killed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lease = Lease(LENGTH_S)
        self.epoch = 0
        self.ended = False
        self.paused = False

    def serves(self, now: float) -> bool:
        return bool(self.epoch) and not self.ended and not self.lease.why_lost(now, may_run_out=True)


class TwoRelays(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.processes = [Process(0), Process(0)]
        self.network: list[Message] = []
        self.holder: tuple[int, int] | None = None
        self.epoch = 0
        self.until = 0.0
        self.data_lost_at = -LENGTH_S
        self.written: list[int] = []

    # --- time and faults --------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.5, LENGTH_S]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(relay=RELAYS, fault=st.sampled_from(["pause", "kill", "lose a message", "lose all data"]))
    def something_fails(self, relay: int, fault: str) -> None:
        match fault:
            case "pause":
                self.processes[relay].paused ^= True
            case "kill":
                self.processes[relay] = Process(self.processes[relay].number + 1)
            case "lose a message":
                del self.network[:1]
            case _:
                self.holder, self.epoch, self.until = None, 0, 0.0
                self.data_lost_at = self.now

    # --- the protocol -----------------------------------------------------------------------------

    @rule(relay=RELAYS)
    def a_relay_asks(self, relay: int) -> None:
        process = self.processes[relay]
        if not process.paused and not process.ended:
            self.network.append(Message(relay, process.number, self.now, process.epoch))

    @precondition(lambda self: self.network)
    @rule(data=st.data())
    def a_message_arrives(self, data: st.DataObject) -> None:
        message = self.network.pop(data.draw(st.integers(0, len(self.network) - 1)))
        if message.answer:
            self._on_answer(message)
        else:
            self._on_request(message)

    def _on_request(self, message: Message) -> None:
        sender = (message.relay, message.process)
        if message.epoch and message.epoch == self.epoch:  # RENEW or WRITE
            self.until = self.now + LENGTH_S
            self.written.append(message.epoch)
            answer = "renewed"
        elif message.epoch and self.holder not in (None, sender):
            answer = "fenced"
        elif self.holder is not None and self.holder[0] != message.relay and self.until > self.now:
            answer = "held"
        else:  # ACQUIRE
            self.epoch = max(self.epoch + 1, message.epoch + 1, int(self.now * 1000))
            self.holder, self.until = sender, self.now + LENGTH_S
            answer = "renewed"
        self.network.append(message._replace(epoch=self.epoch, answer=answer))

    def _on_answer(self, message: Message) -> None:
        process = self.processes[message.relay]
        if message.process != process.number or process.paused or process.ended:
            return
        if message.answer == "fenced":
            process.lease.lost("the other")
        elif message.answer == "renewed" and message.epoch >= process.epoch:
            process.lease.renewed(sent_at=message.sent_at)
            process.epoch = message.epoch

    @rule(relay=RELAYS)
    def a_relay_looks_at_its_lease(self, relay: int) -> None:
        process = self.processes[relay]
        if process.lease.why_lost(self.now, may_run_out=True) and not process.paused:
            process.ended = True

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def two_relays_never_serve_at_once(self) -> None:
        """A server that lost its data does not know of a lease; that is over after its length."""
        serving = [each for each in self.processes if each.serves(self.now)]
        assert len(serving) < 2 or self.now < self.data_lost_at + LENGTH_S

    @invariant()
    def epochs_of_accepted_writes_never_go_back(self) -> None:
        assert self.written == sorted(self.written)


TestTwoRelays = TwoRelays.TestCase
TestTwoRelays.settings = settings(max_examples=examples(300), stateful_step_count=50, deadline=None)
