"""What a client has changed in the text of SDPs, over a call: what each end got before counts."""

import re

import pytest

from nh.calls.interfaces import Interface
from nh.commands import AttributeEdit, RtcpAttribute, SdpText
from nh.errors import UnusableSdp
from tests.sdp.samples import crlf
from tests.shard.conftest import MakeNg
from tests.shard.ng_testbed import NgTestbed
from tests.shard.testbed import V4

WHOLE = SdpText(whole_origin=True)
COUNTED = SdpText(version=True)


@pytest.fixture
def ng(make_ng: MakeNg) -> NgTestbed:
    return make_ng(Interface("default", V4, V4))


def sdp(user: str = "alice", version: int = 1, port: int = 4000, *more: str) -> bytes:
    head = f"v=0\no={user} 154 {version} IN IP4 192.0.2.1\ns={user}'s\nc=IN IP4 192.0.2.1\nt=0 0"
    return crlf("\n".join([head, f"m=audio {port} RTP/AVP 0", *more]))


def origin(forwarded: bytes) -> str:
    """User name and version that an end got."""
    found = re.search(rb"^o=(.*?) 154 (\d+) ", forwarded, re.MULTILINE)
    assert found
    return b" ".join(found.groups()).decode()


def test_each_end_has_a_count_of_its_own(ng: NgTestbed) -> None:
    assert origin(ng.offer(sdp("alice", 7), text=COUNTED)) == "alice 7"
    assert origin(ng.answer(sdp("bob", 30), text=COUNTED)) == "bob 30"
    assert origin(ng.offer(sdp("alice", 9), to=b"bob", text=COUNTED)) == "alice 7"
    assert origin(ng.answer(sdp("bob", 31, 4444), text=COUNTED)) == "bob 31"
    again = ng.offer(sdp("bob", 40, 4446), tag=b"bob", to=b"alice", text=COUNTED)
    assert origin(again) == "bob 32"
    assert origin(ng.answer(sdp("alice", 9, 4010), tag=b"alice", to=b"bob", text=COUNTED)) == "alice 8"


def test_an_end_sees_one_session_although_others_answer(ng: NgTestbed) -> None:
    ng.offer(sdp("alice"), branch=b"one")
    assert origin(ng.answer(sdp("bob", 5), text=WHOLE)) == "bob 5"
    assert origin(ng.answer(sdp("carol", 900, 4444), tag=b"carol", text=WHOLE)) == "bob 6"


def test_the_count_goes_on_at_each_fork_of_an_offer(ng: NgTestbed) -> None:
    ng.offer(sdp("alice", 3), text=WHOLE)
    ng.answer(sdp("bob"), text=WHOLE)
    ng.answer(sdp("carol"), tag=b"carol", text=WHOLE)
    for fork in (b"bob", b"carol"):
        assert origin(ng.offer(sdp("al", 1, 4008), to=fork, text=WHOLE)) == "alice 4"


def test_the_relays_ports_count_as_a_change(ng: NgTestbed) -> None:
    first = ng.offer(sdp("alice", 1, 4000), text=COUNTED)
    assert ng.offer(sdp("alice", 2, 4000), text=COUNTED) == first
    assert origin(ng.offer(sdp("alice", 2, 4002), text=COUNTED)) == "alice 2"


def test_a_command_that_asks_for_nothing_tells_the_count_all_the_same(ng: NgTestbed) -> None:
    ng.offer(sdp("alice", 1), text=COUNTED)
    assert origin(ng.offer(sdp("alice", 50, 4002))) == "alice 50"
    assert origin(ng.offer(sdp("alice", 1, 4004), text=COUNTED)) == "alice 51"


def test_an_origin_that_is_to_stay_has_to_be_readable(ng: NgTestbed) -> None:
    odd = sdp().replace(b"o=alice 154 1 IN IP4 192.0.2.1", b"o=x y")
    assert b"o=x y\r\n" in ng.offer(odd)
    with pytest.raises(UnusableSdp):
        ng.offer(odd, text=COUNTED)


def test_attributes_of_the_relays_own_can_be_edited_too(ng: NgTestbed) -> None:
    text = SdpText(
        rtcp_attribute=RtcpAttribute.FULL,
        generate_mid=True,
        attributes=(AttributeEdit("audio", b"rtcp", b""), AttributeEdit("audio", b"mid:1", b"mid:a")),
    )
    lines = ng.offer(sdp(), text=text).decode().splitlines()
    assert "a=mid:a" in lines
    assert not any(line.startswith("a=rtcp") for line in lines)
