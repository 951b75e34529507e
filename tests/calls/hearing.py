"""A model of what each end of a forked call must hear, and random signalling to compare relays with it.

The model knows no sessions, parties or legs: only which port each end was given, by which SDP, and that each
end hears the other one from the port that it was given itself.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Protocol, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

A = b"a"
CALLEES = (b"b", b"c", b"d")
BRANCHES = (b"", b"z1", b"z2", b"z3")
REPLACED_S = 1.0

Chosen = TypeVar("Chosen")


class Phone(Protocol):
    """Where an end sends from, and what its SDP announces."""

    @property
    def nat(self) -> bool:
        """Whether its SDP announces a private address, which no packet comes from."""


class Relay(Protocol):
    """A relay with one call."""

    def new_phone(self, *, nat: bool = False, moved: Phone | None = None) -> Phone:
        """A phone at another place than all others; behind a NAT, its SDP may be that of another one.

        Args:
            moved: where it was before, which another SDP announced.
        """

    def offer(self, phone: Phone, *, tag: bytes, to: bytes, branch: bytes) -> int:
        """An offer of the end `tag`, which is at `phone`; the port that the other end is given."""

    def answer(self, phone: Phone, *, tag: bytes, to: bytes, branch: bytes) -> int:
        """An answer of `tag` to the offer of `to`; the port that `to` is given."""

    def delete(self, *, tag: bytes, to: bytes, branch: bytes, delay_s: int) -> bool:
        """Delete; whether something was found."""

    def say(self, speaker: Phone, port: int, listener: Phone) -> int | None:
        """One packet to a port of the relay; the port it came from, None if the listener did not hear it."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""

    def restart(self) -> None:
        """Let the process die that has the call, and another one take over."""

    def close(self) -> None:
        """End the call; fails if anything is left of it."""


@dataclasses.dataclass
class Way:
    """A dialog: `for_caller` is the port that the caller was given, `for_callee` the one of the callee."""

    caller: Phone
    callee: Phone
    for_callee: int
    for_caller: int
    described: int
    """When the callee described itself last: one phone may do so under several tags."""
    signalled: int = 0
    """When one of them signalled last."""
    apart: bool = False
    """The caller has signalled in this dialog: what it offers on the branch is for other ends."""
    reoffer: tuple[bytes, Phone, int] | None = None
    """Who has offered and waits for an answer, from where, and the port that the other end was given."""
    due: float | None = None


@dataclasses.dataclass
class Branch:
    """What the caller has offered on a branch, and the answers to it."""

    name: bytes
    caller: Phone
    for_callee: int
    offered: int
    ways: dict[bytes, Way] = dataclasses.field(default_factory=dict)
    waiting: bool = True
    due: float | None = None

    @property
    def only_public(self) -> bool:
        """Whether its phones can be given from each other by what they announce."""
        return not any(way.callee.nat for way in self.ways.values())


def choose(data: st.DataObject, among: Sequence[Chosen]) -> Chosen:
    """One of several; what fails is shown by its number."""
    return among[data.draw(st.integers(0, len(among) - 1))]


class HearingMachine(RuleBasedStateMachine):
    """One call of the end A. `make_relay` is what a subclass sets."""

    moves_time = True
    """False: real time passes, nothing is deleted later, and ports of before are not looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.relay = self.make_relay()
        self.branches: list[Branch] = []
        self.replaced: list[tuple[Way, Phone, int, Phone, float]] = []
        self.count = itertools.count()
        self.now = 0.0
        self.home = self.relay.new_phone()
        self.whole_due: float | None = None

    def make_relay(self) -> Relay:
        """A relay with a call to be."""
        raise NotImplementedError

    # --- signalling -------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(BRANCHES), moves=st.booleans())
    def offer(self, name: bytes, moves: bool) -> None:
        branch = self.find(name)
        phone = self.home if branch is None else branch.caller
        if branch is not None and not name and branch.ways and phone is not self.home:
            return  # one dialog of the branch says the same, which others may answer from now on
        if branch is not None and moves and (name or not branch.ways):  # else it is another offer
            phone = self.relay.new_phone(moved=phone)
        port = self.relay.offer(phone, tag=A, to=b"", branch=name)
        if branch is None:
            assert port not in self.given, "a branch has its own ports"
            branch = Branch(name, phone, port, next(self.count))
            self.branches.append(branch)
        else:
            assert (port == branch.for_callee) is (phone is branch.caller)
            branch.caller, branch.for_callee = phone, port
            branch.waiting, branch.offered = True, next(self.count)
            for way in branch.ways.values():
                if not way.apart:
                    way.reoffer, way.signalled = (A, phone, port), branch.offered
        self.signalled(branch, *branch.ways.values())

    @precondition(lambda self: self.answerable)
    @rule(
        data=st.data(),
        tag=st.sampled_from(CALLEES),
        moves=st.booleans(),
        nat=st.booleans(),
        named=st.booleans(),
    )
    def answer(self, data: st.DataObject, tag: bytes, moves: bool, nat: bool, named: bool) -> None:
        """A 183, a 200, one of them again, or one from another place."""
        branch = choose(data, self.answerable)
        way = branch.ways.get(tag)
        if self.is_elsewhere(tag, branch):
            return
        if way is not None and way.reoffer and way.reoffer[0] != A:
            moves = False
        if way is None and not branch.only_public:
            return
        moves = moves or way is None
        phone = self.callee_phone(branch, way, nat=nat) if way is None or moves else way.callee
        name = branch.name if named or not self.is_answerable_without_name(branch, way) else b""
        port = self.relay.answer(phone, tag=tag, to=A, branch=name)
        if way is None:
            assert port not in self.given, "an answer has its own ports"
            way = Way(branch.caller, phone, branch.for_callee, port, 0)
            branch.ways[tag] = way
        else:
            assert (port == way.for_caller) is (phone is way.callee)
            if phone is not way.callee:  # it may move to where it is: the phone answers under two tags
                self.replace(way, way.caller, way.for_caller, way.callee)
            self.take_up(way)
        way.callee, way.for_caller = phone, port
        way.described = way.signalled = next(self.count)
        branch.waiting = False
        self.signalled(branch, *branch.ways.values())

    @precondition(lambda self: self.ways)
    @rule(data=st.data(), from_caller=st.booleans(), moves=st.booleans())
    def reoffer(self, data: st.DataObject, from_caller: bool, moves: bool) -> None:
        """A re-INVITE or an UPDATE of either end."""
        branch, tag, way = choose(data, self.ways)
        if (way.reoffer and (way.reoffer[0] == A) is not from_caller) or self.is_elsewhere(tag, branch):
            return
        own, given = (way.caller, way.for_callee) if from_caller else (way.callee, way.for_caller)
        phone = self.relay.new_phone(nat=own.nat, moved=own) if moves else own
        one, other = (A, tag) if from_caller else (tag, A)
        port = self.relay.offer(phone, tag=one, to=other, branch=branch.name)
        assert (port == given) is (phone is own), "who stays keeps its ports"
        way.reoffer, way.signalled = (one, phone, port), next(self.count)
        if from_caller:
            way.apart = True
        else:
            way.described = way.signalled
        self.signalled(branch, *branch.ways.values())

    @precondition(lambda self: self.ways)
    @rule(data=st.data())
    def reoffer_without_to_tag(self, data: st.DataObject) -> None:
        """A re-INVITE whose to-tag the client leaves out; who answers tells whose it was."""
        branch, tag, way = choose(data, self.ways)
        if way.reoffer or any(not each.name and not each.ways for each in self.branches):
            return  # another one is open, or it is an offer for others
        phone = self.relay.new_phone(moved=way.caller)
        port = self.relay.offer(phone, tag=A, to=b"", branch=b"")
        assert port not in self.given, "who moves gets other ports"
        assert self.relay.answer(way.callee, tag=tag, to=A, branch=b"") == way.for_caller
        way.apart, way.reoffer = True, (A, phone, port)
        way.described = way.signalled = next(self.count)
        self.take_up(way)
        self.signalled(branch, *branch.ways.values())

    @precondition(lambda self: any(way.reoffer and way.reoffer[0] != A for _, _, way in self.ways))
    @rule(data=st.data())
    def answer_of_caller(self, data: st.DataObject) -> None:
        asked = [each for each in self.ways if each[2].reoffer and each[2].reoffer[0] != A]
        branch, tag, way = choose(data, asked)
        port = self.relay.answer(way.caller, tag=A, to=tag, branch=branch.name)
        assert port == way.for_callee
        way.apart, way.signalled = True, next(self.count)
        self.take_up(way)
        self.signalled(branch, *branch.ways.values())

    # --- deletes ----------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from([*BRANCHES[1:], b"never offered"]),
        delay_s=st.sampled_from([0, 0, 5]),
    )
    def delete_branch(self, name: bytes, delay_s: int) -> None:
        delay_s = delay_s if self.moves_time else 0
        branch = self.find(name)
        found = self.relay.delete(tag=A, to=b"", branch=name, delay_s=delay_s)
        assert found is (branch is not None)
        if branch is not None:
            self.schedule(branch, delay_s)
            for way in branch.ways.values():
                self.schedule(way, delay_s)
        self.forget_due()

    @precondition(lambda self: self.ways)
    @rule(data=st.data(), delay_s=st.sampled_from([0, 0, 5]), from_caller=st.booleans())
    def delete_dialog(self, data: st.DataObject, delay_s: int, from_caller: bool) -> None:
        _, tag, way = choose(data, self.ways)
        one, other = (A, tag) if from_caller else (tag, A)
        delay_s = delay_s if self.moves_time else 0
        assert self.relay.delete(tag=one, to=other, branch=b"", delay_s=delay_s)
        self.schedule(way, delay_s)
        self.forget_due()

    @rule()
    def delete_with_an_unknown_tag(self) -> None:
        """As after a refusal: it may be of the only offer, or of any of several."""
        only = len(self.branches) == 1 and not self.branches[0].ways
        assert self.relay.delete(tag=A, to=b"unknown", branch=b"", delay_s=0) is only
        if only:
            self.branches = []

    @precondition(lambda self: self.branches)
    @rule(delay_s=st.sampled_from([0, 5, 5]))
    def delete_all(self, delay_s: int) -> None:
        delay_s = delay_s if self.moves_time else 0
        assert self.relay.delete(tag=b"", to=b"", branch=b"", delay_s=delay_s)
        self.whole_due = min(self.now + delay_s, self.whole_due or self.now + delay_s)
        self.forget_due()

    # --- what happens otherwise ---------------------------------------------------------------------------

    @precondition(lambda self: self.moves_time)
    @rule(seconds=st.sampled_from([0.3, 1.5, 4.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.relay.pass_time(seconds)
        self.forget_due()

    @precondition(lambda self: self.branches)
    @rule()
    def restart(self) -> None:
        self.relay.restart()

    # --- what each end hears ------------------------------------------------------------------------------

    @invariant()
    def each_end_hears_the_other_from_the_port_that_it_was_given(self) -> None:
        for branch, _, way in self.ways:
            same = [each for each in branch.ways.values() if each.callee is way.callee]
            same = [each for each in same if each.for_callee == way.for_callee]
            last = max(same, key=lambda each: each.described)
            heard = self.relay.say(way.callee, way.for_callee, way.caller)
            assert heard == last.for_caller, "the caller hears the callee"
            heard = self.relay.say(way.caller, way.for_caller, way.callee)
            assert heard == way.for_callee, "the callee hears the caller"

    @invariant()
    def packets_on_their_way_to_a_port_of_before_arrive(self) -> None:
        self.replaced = [each for each in self.replaced if each[-1] > self.now]
        for _, speaker, port, listener, _ in self.replaced if self.moves_time else ():
            assert self.relay.say(speaker, port, listener) is not None

    def teardown(self) -> None:
        self.relay.close()

    # --- the model ----------------------------------------------------------------------------------------

    @property
    def ways(self) -> list[tuple[Branch, bytes, Way]]:
        return [(branch, tag, way) for branch in self.branches for tag, way in branch.ways.items()]

    @property
    def given(self) -> set[int]:
        """The ports that ends were given."""
        ports = {branch.for_callee for branch in self.branches}
        for _, _, way in self.ways:
            ports |= {way.for_callee, way.for_caller}
        return ports

    @property
    def answerable(self) -> list[Branch]:
        """The branches whose answers find them: by their name, or as the last offer without that waits."""
        waiting = [branch for branch in self.branches if branch.waiting and not branch.name]
        last = max(waiting, key=lambda branch: branch.offered, default=None)
        return [branch for branch in self.branches if branch.name or branch is last]

    def find(self, name: bytes) -> Branch | None:
        """The branch that an offer without to-tag belongs to; None: a new one."""
        named = [branch for branch in self.branches if branch.name == name]
        if not name:  # one that waits, or one that has said the same before and is not deleted soon
            named = [branch for branch in named if not branch.ways] or self.repeatable
        return named[-1] if named else None

    @property
    def repeatable(self) -> list[Branch]:
        """The branches that an offer without to-tag and branch may repeat; it repeats the last of them.

        That one has no name, unless all its dialogs that say the same are apart, or else has signalled last.
        """
        waits = any(branch.name and not branch.ways and branch.due is None for branch in self.branches)
        found = []
        for branch in self.branches:
            ways = [way for way in branch.ways.values() if self.is_as_offered(way)]
            if ways and branch.due is None and not (waits and branch.name):
                shared = [way for way in branch.ways.values() if not way.apart]
                repeated = [way for way in ways if way.apart]
                is_shared = len(repeated) < len(ways)
                repeated += shared if is_shared else []
                latest = max(way.signalled for way in repeated)
                found.append((is_shared and not branch.name, latest, branch))
        return [branch for *_, branch in sorted(found, key=lambda each: each[:2])]

    def is_answerable_without_name(self, branch: Branch, way: Way | None) -> bool:
        """Whether an answer finds its offer though it does not name the branch."""
        if way is not None:  # else the answer may be to an offer that began a branch without a name
            return all(each.name or each.ways for each in self.branches)
        return branch.waiting and not any(each.waiting for each in self.branches if each is not branch)

    def is_as_offered(self, way: Way) -> bool:
        """Whether the caller said last what an offer for others says, in a dialog that goes on."""
        offerer, phone, _ = way.reoffer or (b"", None, 0)
        said = phone if offerer == A else way.caller
        return said is self.home and way.due is None

    def is_elsewhere(self, tag: bytes, branch: Branch) -> bool:
        """Whether a callee has answered on another branch: each branch has callees of its own."""
        return any(tag in other.ways for other in self.branches if other is not branch)

    def callee_phone(self, branch: Branch, way: Way | None, *, nat: bool) -> Phone:
        """A phone that answers: another one, or one that has answered under another tag."""
        others = [each.callee for each in branch.ways.values() if each is not way]
        if others and not nat:
            return others[0]
        return self.relay.new_phone(nat=nat and not others, moved=None if way is None else way.callee)

    def take_up(self, way: Way) -> None:
        """What was offered in a dialog is answered."""
        if way.reoffer is None:
            return
        offerer, phone, port = way.reoffer
        way.reoffer = None
        if offerer == A:
            if phone is not way.caller:
                self.replace(way, way.callee, way.for_callee, way.caller)
            way.caller, way.for_callee = phone, port
        else:
            if phone is not way.callee:
                self.replace(way, way.caller, way.for_caller, way.callee)
            way.callee, way.for_caller = phone, port

    def replace(self, way: Way, speaker: Phone, port: int, listener: Phone) -> None:
        """The port that `speaker` was given before is good for some time."""
        self.replaced.append((way, speaker, port, listener, self.now + REPLACED_S))

    def signalled(self, *what: Branch | Way) -> None:
        self.whole_due = None
        for each in what:
            each.due = None

    def schedule(self, what: Branch | Way, delay_s: int) -> None:
        at = self.now + delay_s
        what.due = at if what.due is None else min(what.due, at)

    def forget_due(self) -> None:
        """What was deleted, and has come due."""
        if self.whole_due is not None and self.whole_due <= self.now:
            self.branches, self.whole_due = [], None
        for branch in list(self.branches):
            ended = [tag for tag, way in branch.ways.items() if way.due is not None and way.due <= self.now]
            for tag in ended:
                del branch.ways[tag]
            if (ended and not branch.ways) or (branch.due is not None and branch.due <= self.now):
                self.branches.remove(branch)
        left = [way for _, _, way in self.ways]
        self.replaced = [each for each in self.replaced if any(each[0] is way for way in left)]
