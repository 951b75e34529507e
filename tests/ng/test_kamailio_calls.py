"""Calls of two phones through a real Kamailio that has its media relayed by nh, or by rtpengine."""

import dataclasses
import re
from collections.abc import Iterator

import pytest

from tests.calls.rtp import rtp_packet
from tests.ng.kamailio import DOCUMENT, NODES, Kamailio, running_documented, running_kamailio
from tests.ng.relays import NgRelay, call_ids, wait_until_gone
from tests.ng.reported_call import ReportingEnd, talk_and_report
from tests.sip.calls import (
    Participants,
    cancel,
    either_end,
    establish,
    establish_after_early_media,
    establish_by_offer_in_answer,
    hang_up,
    refuse,
    reinvite,
    ring,
    talk,
)
from tests.sip.phone import Phone
from tests.sip.proxy import FAR, NEAR
from tools.harness.media_peer import MediaPeer

pytestmark = pytest.mark.kamailio


@pytest.fixture(scope="session")
def kamailio(relay: NgRelay) -> Iterator[Kamailio]:
    with running_kamailio([(*relay.address, 1)]) as running:
        yield running


@pytest.fixture
def alice(kamailio: Kamailio) -> Iterator[Phone]:
    with Phone("alice", NEAR, kamailio.near) as phone:
        yield phone


@pytest.fixture
def bob(kamailio: Kamailio) -> Iterator[Phone]:
    with Phone("bob", FAR, kamailio.near) as phone:
        yield phone


@pytest.fixture
def carol(kamailio: Kamailio) -> Iterator[Phone]:
    with Phone("carol", FAR, kamailio.near) as phone:
        yield phone


def is_relayed(relay: NgRelay, phone: Phone) -> bool:
    """Whether the relay knows the phone's call."""
    return phone.call_id.decode() in call_ids(relay)


# --- set-up ---------------------------------------------------------------------------------------


def test_rtp_and_rtcp_go_both_ways(alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)


def test_the_phones_only_see_the_relay(relay: NgRelay, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    assert {alice.target[1], bob.target[1]} <= set(relay.ports)


def test_two_media(kamailio: Kamailio) -> None:
    with (
        Phone("alice", NEAR, kamailio.near, media=2) as alice,
        Phone("bob", FAR, kamailio.near, media=2) as bob,
    ):
        establish(alice, bob)
        talk(alice, bob)


def test_early_media(alice: Phone, bob: Phone) -> None:
    establish_after_early_media(alice, bob)
    talk(alice, bob)


def test_the_offer_may_come_in_the_answer(alice: Phone, bob: Phone) -> None:
    establish_by_offer_in_answer(alice, bob)
    talk(alice, bob)


def test_two_forks_of_which_the_second_takes_the_call(alice: Phone, bob: Phone, carol: Phone) -> None:
    """A proxy behind Kamailio forks: two phones answer one INVITE, each with a tag of its own."""
    alice.invite(bob)
    invite = bob.receive_request("INVITE")
    carol.join(invite)
    bob.answer(invite, 183, sdp=True)
    alice.receive_response(183)
    talk(alice, bob)
    carol.answer(invite, 200, sdp=True)
    alice.ack(alice.receive_response(200))
    carol.receive_request("ACK")
    for speaker, listener in ((alice, carol), (carol, alice)):
        speaker.media[0].send(b"it is me", speaker.target)
        assert listener.media[0].receive()[0] == b"it is me"
    hang_up(alice, carol)


@either_end
def test_a_call_between_ipv4_and_ipv6(kamailio: Kamailio, ends: Participants) -> None:
    with Phone("alice", NEAR, kamailio.near) as alice, Phone("bob", "::1", kamailio.far) as bob:
        caller, callee = ends(alice, bob)
        establish(caller, callee)
        assert (alice.target[0], bob.target[0]) == (NEAR, "::1")
        talk(alice, bob)
        reinvite(callee, caller, callee.describe())
        assert (alice.target[0], bob.target[0]) == (NEAR, "::1")
        talk(alice, bob)
        hang_up(callee, caller)


# --- changes --------------------------------------------------------------------------------------


@either_end
def test_a_reinvite_moves_the_media(ends: Participants, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    mover, other = ends(alice, bob)
    old = mover.media[0]
    with old:
        mover.media[0] = MediaPeer(old.address)
        reinvite(mover, other, mover.describe())
        talk(alice, bob)
        assert old.pending() == []


@either_end
@pytest.mark.parametrize(
    ("hold", "answer"),
    [
        pytest.param({"attributes": ("sendonly",)}, {"attributes": ("recvonly",)}, id="sendonly"),
        pytest.param({"attributes": ("inactive",)}, {"attributes": ("inactive",)}, id="inactive"),
        pytest.param({"address": "0.0.0.0"}, {}, id="0.0.0.0"),
    ],
)
def test_hold_and_resume(
    ends: Participants, hold: dict[str, object], answer: dict[str, object], alice: Phone, bob: Phone
) -> None:
    establish(alice, bob)
    talk(alice, bob)
    holding, held = ends(alice, bob)
    silent = [dataclasses.replace(line, **hold) for line in holding.describe()]  # type: ignore[arg-type]
    agreed = [dataclasses.replace(line, **answer) for line in held.describe()]  # type: ignore[arg-type]
    reinvite(holding, held, silent, agreed)
    if "address" in hold:
        assert held.target[0] == "0.0.0.0"
    else:
        assert set(hold["attributes"]) <= set(held.remote_media[0].attributes)  # type: ignore[call-overload]
    reinvite(holding, held, holding.describe())
    talk(alice, bob)
    assert holding.media[0].pending() == []


@either_end
def test_a_refused_reinvite_changes_nothing(
    ends: Participants, relay: NgRelay, alice: Phone, bob: Phone
) -> None:
    establish(alice, bob)
    talk(alice, bob)
    asking, refusing = ends(alice, bob)
    asking.reinvite()
    refuse(asking, refusing, refusing.receive_request("INVITE"))
    assert is_relayed(relay, alice)
    talk(alice, bob)


# --- ends -----------------------------------------------------------------------------------------


@either_end
def test_bye_ends_the_call(ends: Participants, relay: NgRelay, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    assert is_relayed(relay, alice)
    hang_up(*ends(alice, bob))
    assert not is_relayed(relay, alice)


def test_cancel_ends_the_call(relay: NgRelay, alice: Phone, bob: Phone) -> None:
    invite = ring(alice, bob)
    assert is_relayed(relay, alice)
    cancel(alice, bob, invite)
    wait_until_gone(relay, alice.call_id.decode())


def test_an_error_response_ends_the_call(relay: NgRelay, alice: Phone, bob: Phone) -> None:
    alice.invite(bob)
    invite = bob.receive_request("INVITE")
    assert is_relayed(relay, alice)
    refuse(alice, bob, invite)
    wait_until_gone(relay, alice.call_id.decode())


def test_kamailio_logs_what_was_relayed(kamailio: Kamailio, alice: Phone, bob: Phone) -> None:
    establish(alice, bob)
    talk(alice, bob)
    hang_up(alice, bob)
    said = kamailio.program.wait_for_line(f"call {alice.call_id.decode()} ended")
    assert "RTP: 46 bytes, 2 packets, 0 errors; RTCP: 38 bytes, 2 packets, 0 errors" in said


def test_kamailio_knows_the_quality_of_a_call(kamailio: Kamailio, alice: Phone, bob: Phone) -> None:
    """Its mos_* variables, whose figures are tenths; the time is that since the start of the call."""
    establish(alice, bob)
    ends = (
        ReportingEnd(phone.media[0], phone.remote_media[0].target, ssrc)
        for phone, ssrc in ((alice, 0xA1), (bob, 0xB2))
    )
    talk_and_report(*ends)
    hang_up(alice, bob)
    said = kamailio.program.wait_for_line(f"call {alice.call_id.decode()} had MOS")
    assert re.search(r"had MOS 4\.[34], lowest 4\.[34] after 0:0[0-9]$", said.rstrip()), said


@pytest.mark.full
def test_an_end_is_silenced_by_the_script(relay: NgRelay) -> None:
    """With the function silence_media of Kamailio's module."""
    sent = bytes(range(160))
    options = 'if (is_method("OPTIONS")'
    silence = (
        'if (is_method("INFO")) {\nsilence_media("directional");\nsl_send_reply("200", "OK");\nexit;\n}\n'
    )
    changes = {NODES: f"udp:{relay.address[0]}:{relay.address[1]}", options: silence + options}
    with (
        running_documented(DOCUMENT, changes) as kamailio,
        Phone("alice", NEAR, kamailio.near) as alice,
        Phone("bob", FAR, kamailio.near) as bob,
    ):
        establish(alice, bob)
        alice.inform()
        alice.receive_response(200, "INFO")
        for sequence, (speaker, listener, heard) in enumerate(
            ((alice, bob, b"\xff" * 160), (bob, alice, sent), (alice, bob, b"\xff" * 160))
        ):
            header = rtp_packet(sequence, 160 * sequence, ssrc=0xA1)[:12]
            speaker.media[0].send_raw(header + sent, speaker.remote_media[0].target)
            assert listener.media[0].receive()[0] == header + heard


def test_the_relay_is_there(kamailio: Kamailio, relay: NgRelay) -> None:
    shown = kamailio.rpc("rtpengine.show", "all")
    assert f"url: udp:{relay.address[0]}:{relay.address[1]}" in shown
    assert "disabled: 0" in shown
    assert "success" in kamailio.rpc("rtpengine.ping", "all").lower()
