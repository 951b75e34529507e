"""Any dialog of two phones, of which one may have its media in two forms: each SDP fits those before."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from nh.commands import Answer, DtlsOptions, Offer, OfferOptions
from nh.errors import Refused
from nh.results import Rewritten
from nh.shard.relay import Relay
from tests.shard.ng_testbed import CALL
from tests.shard.offering_ends import KEY, SUITE
from tests.shard.test_signalling_fuzz import fuzzed, with_relay
from tests.sip.sdp import MediaLine, read_sdp, write_sdp

PHONE = "127.0.0.31"
PLAIN, SECURE = "RTP/AVP", "RTP/SAVP"
CRYPTO = f"crypto:1 {SUITE} {KEY}"
MAX_MEDIA = 5


def medium(kind: str, proto: str, port: int = 4000) -> MediaLine:
    """A medium of a phone, which has a key where it needs one."""
    return MediaLine(PHONE, port, kind, proto, attributes=(CRYPTO,) if port and proto == SECURE else ())


BOTH_FORMS = (medium("audio", PLAIN), medium("audio", SECURE))
FAX = medium("image", "udptl")
TWICE: dict[str, Any] = {"osrtp_accept_twice": True, "transport_protocol": PLAIN}


class Turn(NamedTuple):
    """An offer and its answer.

    Attributes:
        by_other: the end offers that was offered to before.
        changes: (place, medium): what has changed in its SDP; None: it is rejected. A further place adds one.
        taken: of each medium that the other one gets, whether it takes it.
        prefers_plain: of two forms of a medium it takes that of plain RTP.
        says: whether the client says its options in the offer, and in the answer.
    """

    by_other: bool = False
    changes: Sequence[tuple[int, MediaLine | None]] = ()
    taken: Sequence[bool] = (True,) * (2 * MAX_MEDIA)
    prefers_plain: bool = False
    says: tuple[bool, bool] = (True, True)


MEDIA = st.sampled_from([FAX, FAX, medium("video", PLAIN), *BOTH_FORMS])
TURNS = st.builds(
    Turn,
    st.booleans(),
    st.lists(st.tuples(st.integers(0, MAX_MEDIA - 1), st.none() | MEDIA), max_size=3),
    st.lists(st.sampled_from([True] * 6 + [False]), min_size=2 * MAX_MEDIA, max_size=2 * MAX_MEDIA),
    st.booleans(),
    st.tuples(st.booleans(), st.booleans()),
)
OPTIONS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"osrtp_accept_twice": True},
        TWICE,
        {"osrtp_offer_twice": True, "transport_protocol": SECURE, "dtls": DtlsOptions(off=True)},
    ]
)


def changed(media: Sequence[MediaLine], changes: Sequence[tuple[int, MediaLine | None]]) -> list[MediaLine]:
    """What a phone offers, which has had some media."""
    found = list(media)
    for place, new in changes:
        if place < len(found):
            found[place] = new or replace(found[place], port=0, attributes=())
        elif new is not None:
            found.append(new)
    return found


def answered(offer: Sequence[MediaLine], turn: Turn) -> list[MediaLine]:
    """A phone's answer: each medium at its place, of two forms one."""
    media = [
        medium(each.kind, each.proto, each.port if taken else 0)
        for each, taken in zip(offer, turn.taken, strict=False)
    ]
    for place, pair in enumerate(itertools.pairwise(media)):
        if {each.proto for each in pair if each.port} == {PLAIN, SECURE} and pair[0].kind == pair[1].kind:
            used = PLAIN if turn.prefers_plain else SECURE
            unused = place + 1 if pair[0].proto == used else place
            media[unused] = replace(media[unused], port=0, attributes=())
    return media


def run(relay: Relay, first: Sequence[MediaLine], turns: Sequence[Turn], options: dict[str, Any]) -> None:
    """Signal a dialog up to what the relay refuses."""
    media: dict[bytes, list[MediaLine]] = {b"alice": list(first), b"bob": []}
    one, other = b"alice", b"bob"
    for number, turn in enumerate(turns):
        if number and turn.by_other:
            one, other = other, one
        said, said_back = (OfferOptions(**(options if says else {})) for says in turn.says)
        media[one] = changed(media[one], turn.changes if number else ())
        offer = Offer(CALL, one, other if number else b"", b"", write_sdp(media[one]).encode(), said)
        got = executed(relay, offer)
        if got is None:
            return
        assert len(got) >= len(media[other]), "no SDP has fewer media than those before (RFC 3264 8)"
        media[other] = answered(got, turn)
        answer = Answer(CALL, one, other, b"", write_sdp(media[other]).encode(), said_back)
        back = executed(relay, answer)
        if back is None:
            return
        assert len(back) == len(media[one]), "an answer has the media of its offer (RFC 3264 6)"
        for offered, each in zip(media[one], back, strict=True):
            assert offered.port or not each.port, "what is rejected stays so"
            assert not each.port or (each.kind, each.proto) == (offered.kind, offered.proto)


def executed(relay: Relay, command: Offer | Answer) -> list[MediaLine] | None:
    """The media of what a command comes to; None: it is refused."""
    try:
        result = relay.execute(command)
    except Refused:
        return None
    assert isinstance(result, Rewritten)
    return read_sdp(result.sdp.decode())


@fuzzed
@given(
    first=st.sampled_from([BOTH_FORMS, BOTH_FORMS[::-1], BOTH_FORMS[:1], BOTH_FORMS[1:]]),
    turns=st.lists(TURNS, min_size=2, max_size=6),
    options=OPTIONS,
)
@example(BOTH_FORMS, [Turn(), Turn(by_other=True, changes=[(0, FAX)])], TWICE)
@example(BOTH_FORMS, [Turn(), Turn(changes=[(0, None), (1, FAX)])], TWICE)
def test_an_answer_has_the_media_of_its_offer(
    ports: range, first: Sequence[MediaLine], turns: list[Turn], options: dict[str, Any]
) -> None:
    with_relay(ports, lambda relay: run(relay, first, turns, options))
