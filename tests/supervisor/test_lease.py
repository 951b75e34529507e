"""Two relays, one server; messages late, lost, in another order; pauses and ends: never do both relays send.

The server of the model keeps the rules of the scripts ACQUIRE, RENEW, WRITE and GIVE, as
test_valkey_faults.py has them of a real server. The relays of the model use the real Lease and the real
Deadline. Supervisor, shards and kernel of a relay fail one by one, so several faults are there at once.
"""

import contextlib
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nh.ipc.shared_deadline import NS, SharedDeadline
from nh.shard.lease_end import EARLY_NS
from nh.supervisor.store.deadline import Deadline
from nh.supervisor.store.lease import EARLY_S, Lease
from tests.profiles import examples

LENGTH_S = 5.0
REPLY_S = 2.0
RELAYS = st.integers(0, 1)


class Message(NamedTuple):
    """A request, or with an answer its reply."""

    relay: int
    process: int
    sent_at: float
    epoch: int
    acquires: bool
    answer: str = ""


class Supervisor:
    """One run of a supervisor: it has the calls from its first answer on, until its lease is lost."""

    def __init__(self, number: int, *, standby: bool) -> None:
        self.number = number
        self.standby = standby
        self.lease = Lease(LENGTH_S)
        self.deadline: Deadline | None = None
        self.epoch = 0
        self.ended = False
        self.giving = self.given = False
        self.reopens = False
        self.paused = False

    @property
    def runs(self) -> bool:
        return not self.ended and not self.paused


class Shard:
    """One shard: the kernel kills it at the deadline that it read last, also while it is stopped."""

    def __init__(self) -> None:
        self.kill_at_ns = 0
        self.killed = False
        self.paused = False


class Host:
    """A relay, whose supervisor and shards fail one by one. What they have in the kernel stays there."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.supervisor = Supervisor(0, standby=False)
        self.shards: list[Shard] = []
        self.kernel_stops_at_ns = 0
        self.has_flows = False
        self.is_cut = False

    def start_supervisor(self, *, standby: bool) -> None:
        self.close()
        self.supervisor = Supervisor(self.supervisor.number + 1, standby=standby)

    def stop_kernel_at(self, at_ns: int) -> None:
        self.kernel_stops_at_ns = at_ns

    def close(self) -> None:
        if self.supervisor.deadline is not None:
            self.supervisor.deadline.close()

    def deadline_ns(self) -> int:
        with contextlib.closing(SharedDeadline(self.directory / "lease")) as shared:
            return shared.read_ns()

    def age(self, now_ns: int) -> None:
        """What time does without any process."""
        for shard in self.shards:
            shard.killed |= 0 < shard.kill_at_ns <= now_ns

    def sends(self, now_ns: int) -> bool:
        """Whether a packet that comes now is forwarded."""
        shards = [each for each in self.shards if not each.killed]
        return (self.has_flows and now_ns < self.kernel_stops_at_ns) or any(
            not each.paused for each in shards
        )


class TwoRelays(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1.0
        self.temporary = tempfile.TemporaryDirectory()
        self.hosts = [Host(Path(self.temporary.name, name)) for name in ("one", "two")]
        self.network: list[Message] = []
        self.holder: tuple[int, int] | None = None
        self.epoch = 0
        self.until = 0.0
        self.both_until = 0.0
        self.is_given = False
        self.written: list[int] = []

    def teardown(self) -> None:
        for host in self.hosts:
            host.close()
        self.temporary.cleanup()

    @property
    def now_ns(self) -> int:
        return int(self.now * NS)

    # --- time and faults --------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.5, LENGTH_S]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for host in self.hosts:
            host.age(self.now_ns)

    @rule(
        relay=RELAYS,
        fault=st.sampled_from(
            ["stop the supervisor", "stop the shards", "kill the shards", "cut from the server"]
        ),
    )
    def a_part_of_a_relay_fails(self, relay: int, fault: str) -> None:
        host = self.hosts[relay]
        match fault:
            case "stop the supervisor":
                host.supervisor.paused ^= True
            case "stop the shards":
                for shard in host.shards:
                    shard.paused ^= True
            case "kill the shards":
                host.shards = []
            case _:
                host.is_cut ^= True

    @rule(relay=RELAYS, standby=st.booleans())
    def the_supervisor_is_killed_and_started_again(self, relay: int, standby: bool) -> None:
        self.hosts[relay].start_supervisor(standby=standby)

    @rule()
    def a_message_is_lost(self) -> None:
        del self.network[:1]

    @rule()
    def the_server_loses_all_data(self) -> None:
        self.time_passes(0.1)  # it starts anew, so the clock of its epochs has gone on
        self.holder, self.epoch, self.until, self.is_given = None, 0, 0.0, False
        self.both_until = self.now + LENGTH_S  # it does not know of a lease, which is over after its length

    # --- the protocol -----------------------------------------------------------------------------

    @initialize()
    def a_relay_serves(self) -> None:
        self.a_relay_asks_and_hears(0)

    @rule(relay=RELAYS, late_s=st.sampled_from([0.0, 0.0, 2.5]))
    def a_relay_asks_and_hears(self, relay: int, late_s: float = 0.0) -> None:
        """The usual case, so that the model gets far; other rules have each message by itself."""
        others, self.network = self.network, []
        self.a_relay_asks(relay)
        while self.network:
            message = self.network.pop()
            self.time_passes(late_s if message.answer else 0.0)
            self._arrives(message)
        self.network = others
        self.a_supervisor_looks_at_its_lease(relay)

    @rule(relay=RELAYS)
    def a_relay_asks(self, relay: int) -> None:
        supervisor = self.hosts[relay].supervisor
        waits = supervisor.standby and not supervisor.epoch and self._is_anothers(relay)
        if supervisor.runs and not supervisor.given and not waits:
            acquires = not supervisor.epoch or supervisor.reopens
            self._send(Message(relay, supervisor.number, self.now, supervisor.epoch, acquires))

    def _is_anothers(self, relay: int) -> bool:
        return self.holder is not None and self.holder[0] != relay and self.until > self.now

    def _send(self, message: Message) -> None:
        if not self.hosts[message.relay].is_cut:
            self.network.append(message)

    @precondition(lambda self: self.network)
    @rule(data=st.data())
    def a_message_arrives(self, data: st.DataObject) -> None:
        self._arrives(self.network.pop(data.draw(st.integers(0, len(self.network) - 1))))

    def _arrives(self, message: Message) -> None:
        if self.hosts[message.relay].is_cut:
            return
        if message.answer:
            self._on_answer(message)
        else:
            self._on_request(message)

    def _on_request(self, message: Message) -> None:
        answer = self._acquire(message) if message.acquires else self._renew(message)
        self._send(message._replace(epoch=self.epoch, answer=answer))

    def _renew(self, message: Message) -> str:
        """RENEW or WRITE, also while the calls may be taken."""
        if self.epoch < message.epoch:
            return "gone"
        if self.epoch != message.epoch:
            return "fenced"
        if self.until <= self.now:
            return "expired"
        self.until = self.now + LENGTH_S
        self.written.append(message.epoch)
        return "renewed"

    def _acquire(self, message: Message) -> str:
        sender = (message.relay, message.process)
        if self.now > message.sent_at + REPLY_S:
            return "late"
        if message.epoch and message.epoch <= self.epoch and self.holder not in (None, sender):
            return "fenced"
        if self._is_anothers(message.relay) and message.epoch <= self.epoch:
            return "held"
        if self.is_given and self.holder == (message.relay, -1):
            self.both_until = self.now + LENGTH_S
        self.is_given = False
        self.epoch = max(self.epoch + 1, message.epoch + 1, int(self.now * 1000))
        self.holder, self.until = sender, self.now + LENGTH_S
        return "renewed"

    def _on_answer(self, message: Message) -> None:
        host = self.hosts[message.relay]
        supervisor = host.supervisor
        if message.process != supervisor.number or not supervisor.runs or supervisor.given:
            return
        if message.answer == "fenced":
            supervisor.lease.lost("the other")
        elif message.answer in ("gone", "expired"):
            supervisor.reopens = True
        elif message.answer == "renewed" and message.epoch >= supervisor.epoch:
            supervisor.lease.renewed(sent_at=message.sent_at)
            supervisor.epoch = message.epoch
            supervisor.reopens = False
            if supervisor.deadline is None:
                supervisor.deadline = Deadline(host.directory, supervisor.lease, may_run_out=True)
                supervisor.deadline.tell_kernel(host.stop_kernel_at)

    @rule(relay=RELAYS, back=st.booleans())
    def a_relay_lets_the_other_have_its_calls_or_takes_them_back(self, relay: int, back: bool) -> None:
        supervisor = self.hosts[relay].supervisor
        serves = supervisor.epoch and supervisor.epoch == self.epoch and not self.hosts[relay].is_cut
        if supervisor.runs and supervisor.deadline is not None and serves and supervisor.giving == back:
            supervisor.giving = self.is_given = not back
            supervisor.deadline.set_moving(not back)
            self.holder = (relay, supervisor.number) if back else (1 - relay, -1)

    # --- what supervisors and shards do from time to time -----------------------------------------

    @rule(relay=RELAYS)
    def a_supervisor_looks_at_its_lease(self, relay: int) -> None:
        host, supervisor = self.hosts[relay], self.hosts[relay].supervisor
        if not supervisor.runs or supervisor.deadline is None or supervisor.given:
            return
        if supervisor.giving and supervisor.lease.lost_to:
            supervisor.given = True  # its shards relay on until the deadline
        elif supervisor.lease.why_lost(self.now, may_run_out=True):
            supervisor.ended = True
            supervisor.deadline.set_past()
            host.shards, host.has_flows = [], False
        elif not host.shards:
            host.shards, host.has_flows = [Shard(), Shard()], True
            self._look(host)

    @rule(relay=RELAYS)
    def shards_look_at_the_deadline(self, relay: int) -> None:
        self._look(self.hosts[relay])

    def _look(self, host: Host) -> None:
        for shard in host.shards:
            if not shard.paused and not shard.killed:
                shard.kill_at_ns = host.deadline_ns()
                shard.killed = self.now_ns >= shard.kill_at_ns - EARLY_NS

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def two_relays_never_send_at_once(self) -> None:
        """But for the length of a lease after a planned move, or after the server has lost its data."""
        sending = [each for each in self.hosts if each.sends(self.now_ns)]
        assert len(sending) < 2 or self.now < self.both_until

    @invariant()
    def epochs_of_accepted_writes_never_go_back(self) -> None:
        assert self.written == sorted(self.written)


TestTwoRelays = TwoRelays.TestCase
TestTwoRelays.settings = settings(max_examples=examples(200), stateful_step_count=40, deadline=None)


def test_a_lease_that_runs_out_is_lost_while_its_shards_can_still_end_in_order() -> None:
    lease = Lease(LENGTH_S)
    lease.renewed(sent_at=100.0)
    assert not lease.why_lost(100.0 + LENGTH_S - 2 * EARLY_S, may_run_out=True)
    assert lease.why_lost(100.0 + LENGTH_S - EARLY_S, may_run_out=True)
    assert not lease.why_lost(200.0, may_run_out=False)
    assert EARLY_NS < EARLY_S * NS
