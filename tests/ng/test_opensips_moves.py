"""A call moves from one relay to another by re-INVITEs, as OpenSIPS does it: the MI command rtp_relay_update.

The requests are those that its modules rtp_relay and rtpengine send (3.6; rtp_relay_ctx.c, rtpengine.c):
the new relay gets an offer of the callee's last description, whose tags are those of the callee's own
re-INVITE, then the caller's answer to it; the old one is told to delete the call.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall, talk
from tests.ng.relays import NgRelay, call_ids, running_nh

BRANCH = "br0"
"""rtp_relay numbers the branches of a call, and says so with each offer and answer."""


@pytest.fixture(scope="module")
def other() -> Iterator[NgRelay]:
    with running_nh(ports=40, shards=1) as relay:
        yield relay


@pytest.fixture(params=["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def old(request: pytest.FixtureRequest) -> NgRelay:
    """The relay that the calls leave."""
    running: NgRelay = request.getfixturevalue(request.param)
    return running


class Moving(NamedTuple):
    """A call at the relay that it leaves, and at the one to which it goes."""

    left: NgCall
    joined: NgCall


@pytest.fixture
def moving(old: NgRelay, other: NgRelay, alice: End, bob: End) -> Iterator[Moving]:
    """A call whose media flow through the old relay."""
    with NgClient(old.address) as old_client, NgClient(other.address) as client:
        left, joined = NgCall(old_client), NgCall(client)
        joined.call_id, joined.from_tag, joined.to_tag = left.call_id, left.from_tag, left.to_tag
        bob.read(left.offer(alice.describe(), **by_opensips(alice)))
        alice.read(left.answer(bob.describe(), **by_opensips(bob)))
        talk(alice, bob)
        yield Moving(left, joined)
        left.delete()
        joined.delete()


def by_opensips(end: End) -> dict[str, object]:
    """What OpenSIPS adds to an offer or answer of an end."""
    received_from = ["IP4", end.media[0].address]
    return {"via_branch": BRANCH, "received_from": received_from, "replace": ["origin"], "flags": []}


def move(moving: Moving, alice: End, bob: End) -> None:
    """Both re-INVITEs, and the end of the call at the old relay."""
    alice.read(moving.joined.reoffer_of_callee(bob.describe(), **by_opensips(bob)))
    bob.read(moving.joined.answer_of_caller(alice.describe(), **by_opensips(alice)))
    moving.left.delete(received_from=["IP4", "127.0.0.1"])


def test_media_go_on_at_the_other_relay_and_the_old_one_has_the_call_no_more(
    old: NgRelay, other: NgRelay, moving: Moving, alice: End, bob: End
) -> None:
    move(moving, alice, bob)
    assert {line.port for line in (*alice.remote, *bob.remote)} <= {*other.ports}
    talk(alice, bob)
    assert moving.left.call_id not in call_ids(old)
    assert moving.left.call_id in call_ids(other)


def test_a_phone_is_heard_while_only_one_of_both_has_been_invited_again(
    moving: Moving, alice: End, bob: End
) -> None:
    offered = moving.joined.reoffer_of_callee(bob.describe(), **by_opensips(bob))
    talk(alice, bob)  # through the old relay: it has been told nothing yet
    alice.read(offered)
    answered = moving.joined.answer_of_caller(alice.describe(), **by_opensips(alice))
    bob.media[0].send(b"through the old relay", bob.remote[0].target)
    assert alice.media[0].receive()[0] == b"through the old relay"
    bob.read(answered)
    talk(alice, bob)


def test_re_invites_of_both_ends_and_the_bye_are_for_the_other_relay_from_then_on(
    other: NgRelay, moving: Moving, alice: End, bob: End
) -> None:
    move(moving, alice, bob)
    call = moving.joined
    alice.move().close()
    bob.read(call.reoffer(alice.describe(), **by_opensips(alice)))
    alice.read(call.answer(bob.describe(), **by_opensips(bob)))
    talk(alice, bob)
    bob.move().close()
    alice.read(call.reoffer_of_callee(bob.describe(), **by_opensips(bob)))
    bob.read(call.answer_of_caller(alice.describe(), **by_opensips(alice)))
    talk(alice, bob)
    call.delete(received_from=["IP4", "127.0.0.1"])
    assert call.call_id not in call_ids(other)


def test_a_call_whose_caller_refuses_stays_where_it_is(moving: Moving, alice: End, bob: End) -> None:
    """OpenSIPS tells the new relay nothing more: its half of a call ends as one that was never answered."""
    moving.joined.reoffer_of_callee(bob.describe(), **by_opensips(bob))
    talk(alice, bob)
