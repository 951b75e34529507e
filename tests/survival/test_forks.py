"""A forked call of ng's, half of it answered, outlives its processes: a phone that answers later is heard."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.ng.ng_call import AUDIO, End, NgCall, say, talk
from tests.profiles import quick_first
from tests.sip.sdp import MediaLine, read_sdp
from tests.survival.faults import kill_shards, kill_supervisor, ng_client, take_over, upgrade
from tools.harness.deployment import Deployment
from tools.harness.waiting import eventually

PRIVATE = [MediaLine("192.168.77.5", 5004)]
"""What phones behind a NAT announce, on every branch."""


@pytest.fixture
def ends() -> Iterator[list[End]]:
    """Alice, who calls, and those who are called."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(contextlib.closing(End(name))) for name in ("alice", "bob", "carol", "dave")
        ]


@pytest.mark.parametrize("happen", quick_first([kill_shards, upgrade, take_over, kill_supervisor]))
def test_a_call_with_open_offers_is_answered_afterwards(
    deployment: Deployment, ends: list[End], happen: Callable[[Deployment], None]
) -> None:
    alice, bob, carol, dave = ends
    with ng_client(deployment) as client:
        call = NgCall(client)
        for end, branch in ((bob, "z1"), (carol, "z2")):
            end.read(call.offer(alice.describe(), via_branch=branch))
        call.offer(AUDIO, via_branch="z3")
        alice.read(call.answer(bob.describe(), to_tag="b", via_branch="z1"))
        talk(alice, bob)
        dave.read(call.offer(alice.describe(), via_branch="z4"))
        call.answer(AUDIO, to_tag="other than dave", via_branch="z4")
        call.reoffer(AUDIO, to_tag="other than dave")
        call.delete(from_tag=call.from_tag, via_branch="z3", delete_delay=3600)
        with contextlib.closing(bob.move()):
            of_bob = call.reoffer(bob.describe(), from_tag="b", to_tag=call.from_tag)
            happen(deployment)
            with ng_client(deployment) as again:
                call.client = again
                eventually(call.is_known, "the call is known again")
                alice.read(call.answer(PRIVATE, to_tag="c", via_branch="z2"))
                for _ in range(2):
                    say(carol, alice)
                    say(alice, carol)
                alice.read(call.answer(dave.describe(), to_tag="d", via_branch="z4"))
                talk(alice, dave)
                alice.read(of_bob)
                answered = call.answer(alice.describe(), from_tag="b", to_tag=call.from_tag)
                assert read_sdp(answered)[0].target == bob.remote[0].target, "alice has stayed"
                talk(alice, bob)
                assert set(call.query()["tags"]) == {call.from_tag, "b", "c", "d", "other than dave"}
                call.delete(from_tag=call.from_tag, to_tag="c", flags=["to-tag"])
                talk(alice, bob)
                call.delete(from_tag=call.from_tag, via_branch="z3")
                talk(alice, bob)
                call.delete()
    eventually(deployment.relay.all_ports_are_free, "all ports are free")
