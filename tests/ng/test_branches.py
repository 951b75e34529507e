"""Branches of a call by themselves: what an offer says counts for its own branch. nh and rtpengine."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.ng.client import NOT_FOUND, NgClient
from tests.ng.ng_call import AUDIO, End, NgCall, say, talk
from tests.ng.relays import NgRelay
from tests.sip.proxy import FAR, NEAR
from tests.sip.sdp import MediaLine, read_sdp
from tools.harness.waiting import eventually

NAT = "127.0.0.1"
PRIVATE = {"b": "192.168.77.5", "c": "192.168.77.6"}
"""What two phones behind one NAT announce."""


@pytest.fixture
def carol() -> Iterator[End]:
    end = End("carol")
    yield end
    end.close()


@pytest.fixture
def nh_call(nh: NgRelay) -> Iterator[NgCall]:
    """A call to be, where rtpengine 10.5 fails."""
    with NgClient(nh.address) as client:
        call = NgCall(client)
        yield call
        call.delete()


def where(description: str) -> str:
    return read_sdp(description)[0].address


# --- interfaces and families ------------------------------------------------------------------------------

IN, OUT = {"direction": ["far", "near"]}, {"direction": ["far", "far"]}


@pytest.mark.parametrize("early", [False, True], ids=["silent", "183"])
@pytest.mark.parametrize("branches", [("z1", "z2"), (None, None)], ids=["forked", "hunted"])
def test_each_branch_is_met_at_its_interface(
    call: NgCall, early: bool, branches: tuple[str | None, str | None]
) -> None:
    one, two = ({"via_branch": branch} if branch else {} for branch in branches)
    assert where(call.offer(AUDIO, **IN, **one)) == NEAR
    if early:
        call.answer(AUDIO, **one)
    assert where(call.offer(AUDIO, **OUT, **two)) == FAR
    if branches[0]:
        assert where(call.offer(AUDIO, **IN, **one)) == NEAR


def test_each_branch_has_its_address_family(call: NgCall) -> None:
    near = {"direction": ["near", "near"]}
    assert where(call.offer(AUDIO, address_family="IP4", via_branch="z1", **near)) == NEAR
    assert where(call.offer(AUDIO, address_family="IP6", via_branch="z2", **near)) == "::1"
    assert where(call.offer(AUDIO, address_family="IP4", via_branch="z1", **near)) == NEAR


def test_a_party_that_moves_is_met_where_the_offer_says(call: NgCall) -> None:
    call.offer(AUDIO, direction=["near", "near"])
    call.answer(AUDIO)
    call.reoffer([MediaLine("127.0.0.5", 40_008)], direction=["far", "near"])
    assert where(call.answer(AUDIO)) == FAR


# --- ports ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["", "SIP-source-address", "media-handover", "strict-source"])
@pytest.mark.parametrize("first", ["b", "c"])
def test_of_two_phones_behind_one_nat_the_one_that_answers_is_heard(
    call: NgCall, alice: End, carol: End, flag: str, first: str
) -> None:
    """Both have early media announced at addresses that do not tell them apart."""
    fields = {"flags": [flag] if flag else [], "received_from": ["IP4", NAT]}
    for branch in ("b", "c"):
        carol.read(call.offer(alice.describe(), via_branch=branch, **fields))
    for branch in (*sorted("bc", reverse=first == "c"), "c"):
        answer = [MediaLine(PRIVATE[branch], 5004)]
        alice.read(call.answer(answer, to_tag=branch, via_branch=branch, **fields))
    for _ in range(3):
        say(carol, alice)
        say(alice, carol)


def test_branches_of_one_device_hear_what_is_theirs(call: NgCall, alice: End, bob: End, carol: End) -> None:
    """One has answered, and another one answers later, on its own ports."""
    for end, branch in ((bob, "z1"), (carol, "z2")):
        end.read(call.offer(alice.describe(), via_branch=branch))
    alice.read(call.answer(bob.describe(), to_tag="b", via_branch="z1"))
    talk(alice, bob)
    alice.read(call.answer(carol.describe(), to_tag="c", via_branch="z2"))
    talk(alice, carol)
    call.delete(from_tag=call.from_tag, via_branch="z1")
    talk(alice, carol)


@pytest.mark.parametrize("branch", [{}, {"via_branch": "z1"}], ids=["no branch", "branch"])
def test_a_phone_under_two_tags_is_heard_from_the_port_that_its_last_answer_named(
    nh_call: NgCall, alice: End, bob: End, branch: dict[str, str]
) -> None:
    bob.read(nh_call.offer(alice.describe(), **branch))
    for tag in ("b1", "b2", "b1"):
        alice.read(nh_call.answer(bob.describe(), to_tag=tag, **branch))
        talk(alice, bob)


def test_a_caller_with_another_tag_on_a_known_branch_is_heard(nh_call: NgCall, alice: End, bob: End) -> None:
    for tag in ("a1", "a2"):
        bob.read(nh_call.reoffer(alice.describe(), from_tag=tag, to_tag=nh_call.to_tag, via_branch="z1"))
        alice.read(nh_call.answer(bob.describe(), from_tag=tag, via_branch="z1"))
        say(alice, bob)
        say(bob, alice)


@pytest.mark.parametrize("branch", [{}, {"via_branch": "z1"}], ids=["no branch", "branch"])
def test_an_offer_that_comes_once_more_without_to_tag_changes_nothing(
    call: NgCall, alice: End, bob: End, branch: dict[str, str]
) -> None:
    """A refresh whose to-tag the client leaves out, or an INVITE that comes twice."""
    first = call.offer(alice.describe(), **branch)
    bob.read(first)
    answered = call.answer(bob.describe(), **branch)
    alice.read(answered)
    talk(alice, bob)
    for _ in range(2):
        assert read_sdp(call.offer(alice.describe(), **branch)) == read_sdp(first)
        talk(alice, bob)
        assert read_sdp(call.answer(bob.describe(), **branch)) == read_sdp(answered)
        talk(alice, bob)


@pytest.mark.parametrize("branch", [{}, {"via_branch": "z1"}], ids=["no branch", "branch"])
def test_another_end_that_is_tried_with_the_same_offer_is_heard(
    nh_call: NgCall, alice: End, bob: End, carol: End, branch: dict[str, str]
) -> None:
    for end, tag in ((bob, "b"), (carol, "c")):
        end.read(nh_call.offer(alice.describe(), **branch))
        alice.read(nh_call.answer(end.describe(), to_tag=tag, **branch))
        talk(alice, end)


@pytest.mark.parametrize("tags", ["b", "bc"], ids=["of one dialog", "of two dialogs"])
def test_another_end_that_is_tried_with_what_a_later_offer_said_is_heard(
    nh_call: NgCall, alice: End, bob: End, carol: End, tags: str
) -> None:
    """By Alice at the place that she has moved to, and so is Bob."""
    for tag, end in zip(tags, (bob, carol), strict=False):
        end.read(nh_call.offer(alice.describe()))
        alice.read(nh_call.answer(end.describe(), to_tag=tag))
    alice.move().close()
    bob.read(nh_call.reoffer(alice.describe(), to_tag="b"))
    heard_by_bob = alice.read(nh_call.answer(bob.describe(), to_tag="b"))
    dave = End("dave")
    with contextlib.closing(dave):
        dave.read(nh_call.offer(alice.describe()))
        alice.read(nh_call.answer(dave.describe(), to_tag="d"))
        talk(alice, dave)
        alice.remote = heard_by_bob
        talk(alice, bob)


def test_another_end_is_sent_the_media_that_a_later_offer_has_added(nh_call: NgCall) -> None:
    video = MediaLine("127.0.0.1", 40_010, kind="video")
    nh_call.offer(AUDIO)
    nh_call.answer([MediaLine("127.0.0.1", 40_002)])
    nh_call.reoffer([*AUDIO, video])
    nh_call.answer([MediaLine("127.0.0.1", 40_002), video])
    nh_call.offer([*AUDIO, video])
    answered = read_sdp(nh_call.answer([MediaLine("127.0.0.1", 40_020), video], to_tag="d"))
    assert all(line.port for line in answered)


# --- rtcp-mux ---------------------------------------------------------------------------------------------


def test_each_branch_has_its_wish_for_rtcp_mux(call: NgCall) -> None:
    muxed = [MediaLine("127.0.0.1", 40_000, attributes=("rtcp-mux",))]
    assert "a=rtcp-mux" not in call.offer(muxed, via_branch="z1", rtcp_mux=["demux"])
    assert "a=rtcp-mux" in call.offer(muxed, via_branch="z2")
    assert "a=rtcp-mux" in call.answer(AUDIO, via_branch="z1")


# --- deletes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered_on", ["z2", None, "other"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_losing_branch_does_not_end_the_answered_one(
    call: NgCall, alice: End, carol: End, answered_on: str | None, times: int
) -> None:
    call.offer(alice.describe(), via_branch="z1")
    carol.read(call.offer(alice.describe(), via_branch="z2"))
    named = {"via_branch": answered_on} if answered_on else {}
    alice.read(call.answer(carol.describe(), **named))
    for _ in range(times):
        call.delete(from_tag=call.from_tag, via_branch="z1", to_tag="b")
    talk(alice, carol)


def test_a_losing_branch_that_is_deleted_later_leaves_the_answered_one(
    nh_call: NgCall, alice: End, bob: End
) -> None:
    """rtpengine 10.5 keeps such a branch for as long as the call."""
    call = nh_call
    for branch in ("z1", "z2"):
        bob.read(call.offer(alice.describe(), via_branch=branch))
        call.answer([MediaLine("192.168.77.5", 5004)], to_tag=branch, via_branch=branch)
    call.delete(from_tag=call.from_tag, via_branch="z1", delete_delay=1)
    alice.read(call.answer(bob.describe(), via_branch="z2"))
    eventually(lambda: "z1" not in call.query()["tags"], "the losing branch is gone")
    talk(alice, bob)


def test_a_branch_that_was_never_offered_is_told(nh: NgRelay) -> None:
    """rtpengine may fall back to the from-tag, which all branches share."""
    with NgClient(nh.address) as client:
        call = NgCall(client)
        call.offer(AUDIO, via_branch="z1")
        call.answer(AUDIO, via_branch="z1")
        assert call.delete(from_tag=call.from_tag, via_branch="zz")["warning"] == NOT_FOUND
        assert call.is_known()
        both = {"from_tag": call.from_tag, "to_tag": call.to_tag, "flags": ["to-tag"]}
        call.delete(via_branch="zz", **both)
        assert not call.is_known()


# --- dialogs ------------------------------------------------------------------------------------------------


def test_ends_of_two_dialogs_are_joined(call: NgCall, alice: End, carol: End) -> None:
    call.offer(AUDIO)
    call.answer(AUDIO)
    call.reoffer(AUDIO, from_tag="q", to_tag="")
    call.answer(AUDIO, from_tag="q", to_tag="c")
    alice.read(call.reoffer(carol.describe(), from_tag="c", to_tag=call.from_tag))
    carol.read(call.answer(alice.describe(), from_tag="c", to_tag=call.from_tag))
    talk(alice, carol)


def test_ends_that_are_joined_talk_on_when_the_dialogs_of_before_end(
    nh_call: NgCall, alice: End, bob: End, carol: End
) -> None:
    """An attended transfer in a B2BUA with one Call-ID: Bob refers Alice to Carol, after a talk with her."""
    call = nh_call
    bob.read(call.reoffer(alice.describe(), to_tag="", from_tag="a"))
    alice.read(call.answer(bob.describe(), from_tag="a", to_tag="b"))
    talk(alice, bob)
    with contextlib.closing(End("bob, to carol")) as asking:
        carol.read(call.reoffer(asking.describe(), to_tag="", from_tag="b2"))
        asking.read(call.answer(carol.describe(), from_tag="b2", to_tag="c"))
        talk(asking, carol)
        alice.read(call.reoffer(carol.describe(), from_tag="c", to_tag="a"))
        carol.read(call.answer(alice.describe(), from_tag="c", to_tag="a"))
        talk(alice, carol)
        for one, other in (("a", "b"), ("b2", "c")):
            call.delete(from_tag=one, to_tag=other, flags=["to-tag"])
            talk(alice, carol)
    carol.read(call.reoffer(alice.describe(), from_tag="a", to_tag="c"))
    alice.read(call.answer(carol.describe(), from_tag="a", to_tag="c"))
    talk(alice, carol)
    call.delete(from_tag="c")
    assert not call.is_known()
