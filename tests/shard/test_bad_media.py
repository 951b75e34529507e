"""Bad input of secure media: each row of docs/reference/bad-media.md is so."""

import contextlib
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from OpenSSL import SSL

from nh.commands import ShowCall
from nh.dtls import attempts
from nh.errors import NhError
from nh.ice.stun import StunClass, encode
from nh.results import CallDetail
from nh.srtp.state import MAX_STREAMS
from nh.stats.layout import ShardStats
from nh.verdict import judge_call
from tests.ice.phone import IcePhone
from tests.shard.bundled_call import BundledCall
from tests.shard.conftest import MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, places
from tests.shard.secure_calls import DtlsCall, IceCall, SecureCall, packet
from tests.srtp.dtls_phone import DtlsPhone
from tests.srtp.packets import rtp
from tests.srtp.phone import SrtpPhone
from tests.webrtc.bundle_phone import AUDIO, MID_EXTENSION, BundlePhone
from tools.rtpload.openssl_end import OpensslEnd

PAGE: Final = Path(__file__).parents[2] / "docs/reference/bad-media.md"
FLOODS: Final = {"a flood of STUN", "a flood of ClientHellos"}
"""tests/isolation/test_media_floods.py has them."""

FIELDS: Final = [field.name for field in dataclasses.fields(ShardStats)]

ALERT: Final = bytes.fromhex("15fefd0000000000000001000202") + b"\x28"


class Row(NamedTuple):
    """A row of the table: what comes, which counters grow, and what is told."""

    what: str
    counters: frozenset[str]
    told: str


def read_rows() -> list[Row]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [
        Row(what, frozenset(re.findall(r"`(\w+)`", counters)), told.replace("`", ""))
        for what, _, counters, told in cells
    ]


ROWS: Final = {row.what: row for row in read_rows()}


class Scene:
    """A relay and two phones, of which `alice` is the plain one."""

    def __init__(self, ng: NgTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ng = ng
        self.alice, self.bob = make_peer(), make_peer()
        self.make_peer = make_peer
        self.monkeypatch = monkeypatch

    def secure(self) -> SecureCall:
        """A call with keys in the SDP, in which media have passed."""
        call = SecureCall(self.ng, SrtpPhone(self.bob), self.alice)
        call.answered_by_secure(call.offered_by_plain())
        call.reaches_plain()
        return call

    def dtls(self, **phone: object) -> DtlsCall:
        """A call whose handshake has begun."""
        call = DtlsCall(self.ng, DtlsPhone(self.bob, mux=True, **phone), self.alice)  # type: ignore[arg-type]
        call.begin_by_plain()
        return call

    def ice(self) -> IceCall:
        """A call without a check yet."""
        call = IceCall(self.ng, IcePhone(self.bob), self.alice)
        call.offered_by_phone()
        return call

    def grows(self, counter: str, by: int = 1) -> None:
        """A counter has grown so far."""
        self.ng.turn_until(lambda: getattr(self.ng.stats(), counter) >= by, counter)

    def handshakes_fail(self, call: DtlsCall, counter: str) -> None:
        """The phone goes on with its handshake until that counter has grown."""

        def failed() -> bool:
            with contextlib.suppress(SSL.Error, KeyError):  # nh's alert; no profile was agreed on
                call.phone.step()
            return bool(getattr(self.ng.stats(), counter))

        self.ng.turn_until(failed, counter)


def forged(scene: Scene) -> None:
    call = scene.secure()
    sent = call.secure.protect(call.next())
    scene.bob.send_raw(sent[:-1] + bytes([sent[-1] ^ 1]), call.secure_sends_to)
    scene.grows("drop_srtp_authentication")


def truncated(scene: Scene) -> None:
    call = scene.secure()
    sent = call.secure.protect(call.next())
    for size in (1, 11, 13, len(sent) - 1):
        scene.bob.send_raw(sent[:size], call.secure_sends_to)
    scene.grows("drop_srtp_authentication", 4)


def replayed(scene: Scene) -> None:
    call = scene.secure()
    sent = call.reaches_plain()
    scene.bob.send_raw(sent, call.secure_sends_to)
    scene.grows("drop_srtp_replay")
    call.reaches_plain()


def before_its_key(scene: Scene) -> None:
    call = SecureCall(scene.ng, SrtpPhone(scene.bob), scene.alice)
    offer = call.offered_by_plain()
    call.secure.learn(offer)
    call.secure.send(packet(1), places(offer)[0])
    scene.grows("drop_srtp_no_key")


def beyond_its_key(scene: Scene) -> None:
    call = scene.secure()
    for ssrc in range(1, MAX_STREAMS + 10):
        call.secure.send(rtp(1, ssrc=ssrc), call.secure_sends_to)
        scene.ng.turn_until(lambda: True, "packets pass")
    scene.grows("drop_srtp_exhausted", 5)


def for_no_key(scene: Scene) -> None:
    call = scene.dtls()
    scene.alice.send_raw(packet(1), call.plain_sends_to)
    scene.grows("drop_srtp_unsent_no_key")


def other_certificate(scene: Scene) -> None:
    other = OpensslEnd(client=True, name="other").fingerprint
    scene.handshakes_fail(scene.dtls(fingerprint=other), "dtls_fingerprint")


def expired_certificate(scene: Scene) -> None:
    call = scene.dtls(days=-1)
    call.agrees()
    call.phone.send(packet(1))
    assert scene.ng.receive(scene.alice)[0] == packet(1)


def alert(scene: Scene) -> None:
    scene.monkeypatch.setattr(attempts, "LIFETIME_S", 0.2)
    call = scene.dtls(days=2)
    scene.ng.turn_until(scene.bob.has_waiting, "nh sends a cookie")
    call.phone.step()
    scene.ng.turn_until(scene.bob.has_waiting, "nh goes on with the handshake")
    scene.bob.send_raw(ALERT, call.phone.sends_to)
    scene.grows("dtls_alert")


def no_profile(scene: Scene) -> None:
    scene.handshakes_fail(scene.dtls(profiles=()), "dtls_profile")


def of_a_stranger(scene: Scene) -> None:
    scene.monkeypatch.setattr(attempts, "ALONE_S", 60.0)  # a busy host may be slow
    call = DtlsCall(scene.ng, DtlsPhone(scene.bob, mux=True), scene.alice)
    call.begin_by_plain(answers="passive")
    scene.ng.turn_until(scene.bob.has_waiting, "nh begins")
    scene.make_peer("127.0.0.66").send_raw(ALERT, call.phone.sends_to)
    scene.grows("drop_source_mismatch")
    call.agrees()
    call.goes_both_ways()


def other_payload_type(scene: Scene) -> None:
    call = scene.secure()
    for number in range(200, 210):
        changed = bytearray(packet(number))
        changed[1] = 97
        call.secure.send(bytes(changed), call.secure_sends_to)
        scene.ng.receive(scene.alice)


def bad_crypto_offered(scene: Scene) -> None:
    sdp = SrtpPhone(scene.bob).sdp().replace(b"AES_CM_128_HMAC_SHA1_80", b"F8_128_HMAC_SHA1_80")
    scene.ng.offer(sdp, transport_protocol="RTP/AVP")


def crypto_not_offered(scene: Scene) -> None:
    call = SecureCall(scene.ng, SrtpPhone(scene.bob), scene.alice)
    call.secure.learn(call.offered_by_plain())
    call.secure.tag = 42
    scene.ng.answer(call.secure.sdp())


def weak_fingerprint(scene: Scene) -> None:
    phone = DtlsPhone(scene.bob, fingerprint=OpensslEnd(client=True).sha1)
    scene.ng.offer(phone.sdp(), transport_protocol="RTP/AVP")


def wrong_password(scene: Scene) -> None:
    call = scene.ice()
    call.phone.check(call.phone_sends_to, password="guessed" * 4)
    scene.grows("ice_wrong_password")


def wrong_ufrag(scene: Scene) -> None:
    call = scene.ice()
    call.phone.ours = ("another", call.phone.ours[1])
    call.phone.check(call.phone_sends_to)
    scene.grows("ice_wrong_ufrag")


def no_stun(scene: Scene) -> None:
    call = scene.ice()
    whole = encode(StunClass.REQUEST, bytes(12), [], key=b"key")
    for sent in (b"\0\1", whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        scene.bob.send_raw(sent, call.phone_sends_to)
    scene.grows("ice_not_stun", 3)


def before_a_check(scene: Scene) -> None:
    call = scene.ice()
    scene.bob.send_raw(packet(1), call.phone_sends_to)
    scene.grows("drop_source_mismatch")


def of_no_medium(scene: Scene) -> None:
    phone = BundlePhone(scene.bob)
    call = BundledCall(scene.ng, phone, [scene.alice, scene.make_peer()])
    call.begin_by_phone(phone.sdp(MID_EXTENSION))
    call.goes_both_ways()
    scene.bob.send_raw(phone.packet(AUDIO, b"?", "x"), call.one_port)
    scene.grows("drop_no_medium")


SCENES: Final[dict[str, Callable[[Scene], None]]] = {
    "forged SRTP": forged,
    "truncated SRTP": truncated,
    "replayed SRTP": replayed,
    "SRTP before its key is known": before_its_key,
    "SRTP beyond what its key may protect": beyond_its_key,
    "plain RTP for an end whose key is not known": for_no_key,
    "another certificate than the SDP says": other_certificate,
    "an expired certificate": expired_certificate,
    "an alert of DTLS": alert,
    "a handshake without a common profile": no_profile,
    "DTLS of another address than nh sends to, where nh begins": of_a_stranger,
    "RTP with a payload type that the SDP does not have": other_payload_type,
    "an offer whose `a=crypto` nh cannot use": bad_crypto_offered,
    "an answer whose `a=crypto` was not offered": crypto_not_offered,
    "a fingerprint of SHA-1 alone": weak_fingerprint,
    "a check of ICE with another password": wrong_password,
    "a check of ICE with another user fragment": wrong_ufrag,
    "a check of ICE that is damaged, or no STUN": no_stun,
    "media before a check of ICE": before_a_check,
    "a packet of no medium of a bundle": of_no_medium,
}


def test_each_row_has_its_scene() -> None:
    assert set(ROWS) == {*SCENES, *FLOODS}
    assert {name for row in ROWS.values() for name in row.counters} <= set(FIELDS)


@pytest.mark.parametrize("what", SCENES)
def test_it_is_as_the_page_says(
    what: str, ng: NgTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, refused = ROWS[what], ""
    try:
        SCENES[what](Scene(ng, make_peer, monkeypatch))
    except NhError as exc:
        refused = str(exc)
    assert _grown(ng) == row.counters
    told = refused or _told(ng)
    assert _core(row.told) in told


def _grown(ng: NgTestbed) -> set[str]:
    """The counters of bad input that have grown."""
    stats, good = ng.stats(), {"dtls_ok", "ice_checks"}
    names = [name for name in FIELDS if name.startswith(("drop_", "ice_", "dtls_"))]
    names += ["offer_refused", "answer_refused"]
    return {name for name in names if getattr(stats, name) and name not in good}


def _told(ng: NgTestbed) -> str:
    detail = ng.relay.execute(ShowCall(CALL))
    assert isinstance(detail, CallDetail)
    verdicts = judge_call(detail).verdicts
    return "\n".join(f"{each.state}: {each.found}" for each in verdicts)


def _core(told: str) -> str:
    """The words of a row that are in each such text: without numbers, and without what is beside them."""
    core = told.partition(";")[0].removeprefix("packets came ")
    return "ok: " if core == "ok" else core
