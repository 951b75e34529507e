"""Names of media (a=mid, RFC 5888): each end finds its own in all SDPs. nh and rtpengine."""

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import NgCall
from tests.ng.relays import NgRelay
from tests.sip.sdp import MediaLine, write_sdp


def named(*mids: str, port: int = 40_000, also: str = "") -> str:
    """A description with a medium of each of these names."""
    ports = range(port, port + 10 * len(mids), 10)
    media = [
        MediaLine("127.0.0.1", at, attributes=(f"mid:{mid}",)) for at, mid in zip(ports, mids, strict=True)
    ]
    return write_sdp(media).replace("t=0 0\r\n", f"t=0 0\r\n{also}")


def names_in(description: str) -> str:
    """The names of its media, one letter each."""
    return "".join(line[6:] for line in description.splitlines() if line.startswith("a=mid:"))


@pytest.mark.parametrize(
    ("known", "others"), [("a", "x"), ("av", "xy"), ("av", "va"), ("av", "ax")], ids=lambda names: names
)
def test_an_end_keeps_the_names_of_its_media_where_the_other_end_changes_them(
    call: NgCall, known: str, others: str
) -> None:
    """As where a device takes a call over: a browser refuses an offer in which a medium changes its name."""
    call.offer(named(*known))
    call.answer(named(*known, port=40_100))
    for _ in range(2):
        offer = call.reoffer(named(*others))
        assert names_in(offer) == known
        answer = call.answer(named(*known, port=40_100))
        assert names_in(answer) == others
    offer = call.reoffer_of_callee(named(*known, port=40_100))
    assert names_in(offer) == others


def test_an_answer_has_the_names_of_its_offer(call: NgCall) -> None:
    call.offer(named("a", "v"))
    answer = call.answer(named("x", "y", port=40_100))
    assert names_in(answer) == "av"


@pytest.mark.parametrize(
    "also",
    ["a=group:LS x y\r\n", "a=group:BUNDLE x y\r\n", "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"],
    ids=["lips", "bundle", "in packets"],
)
def test_names_that_are_elsewhere_too_stay(nh: NgRelay, also: str) -> None:
    with NgClient(nh.address) as client:
        call = NgCall(client)
        call.offer(named("a", "v"))
        call.answer(named("a", "v", port=40_100))
        offer = call.reoffer(named("x", "y", also=also))
        assert names_in(offer) == "xy"


def test_another_medium_at_the_place_of_a_rejected_one_has_its_own_name(nh: NgRelay) -> None:
    with NgClient(nh.address) as client:
        call = NgCall(client)
        rejected = named("a", "v", port=40_100).replace("m=audio 40110", "m=audio 0")
        call.offer(named("a", "v"))
        call.answer(rejected)
        offer = call.reoffer(named("a", "w"))
        assert names_in(offer) == "aw"
