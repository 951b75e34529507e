"""SDP for ng: what is written can be read, and what a relay sends is never too strange."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.errors import MalformedFrame
from tools.rtpload.codec import CODECS
from tools.rtpload.ends import BrowserParameters, Endpoint, MediaEnd, VideoPorts
from tools.rtpload.sdp import read_browser, read_sdp, write_sdp


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::1"])
@pytest.mark.parametrize("codec", ["pcmu", "opus", "h264"])
def test_what_is_written_can_be_read(address: str, codec: str) -> None:
    end = MediaEnd(Endpoint(address, 30_000), Endpoint(address, 30_009))
    assert read_sdp(write_sdp(end, CODECS[codec], 20, direction="sendrecv", version=1)) == end


def test_rtcp_is_above_rtp_unless_it_says_otherwise() -> None:
    head = "v=0\r\nc=IN IP4 192.0.2.1\r\n"
    assert read_sdp(head + "m=audio 4000 RTP/AVP 0\r\n").rtcp == ("192.0.2.1", 4001)
    elsewhere = head + "m=audio 4000 RTP/AVP 0\r\na=rtcp:5000 IN IP4 192.0.2.2\r\n"
    assert read_sdp(elsewhere).rtcp == ("192.0.2.2", 5000)


def test_what_a_browser_says_can_be_read() -> None:
    parameters = BrowserParameters("frag", "a password", "sha-256 AB:CD")
    place = Endpoint("192.0.2.7", 30_000)
    end = MediaEnd(place, place, browser=parameters)
    text = write_sdp(end, CODECS["opus"], 20, direction="sendrecv", version=1, mids=["audio"])
    assert read_browser(text) == (parameters, ["audio"])
    assert read_sdp(text) == MediaEnd(place, place)
    with pytest.raises(MalformedFrame, match="no a=ice-pwd for a browser"):
        read_browser(text.replace("a=ice-pwd", "a=x"))


def test_each_medium_counts_with_its_own_address() -> None:
    text = (
        "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.3\n"
        "m=video 6000 RTP/AVP 9\nc=IN IP4 192.0.2.4\na=rtcp:77\n"
    )
    assert read_sdp(text) == MediaEnd(
        Endpoint("192.0.2.3", 4000),
        Endpoint("192.0.2.3", 4001),
        video=VideoPorts(Endpoint("192.0.2.4", 6000), Endpoint("192.0.2.4", 77)),
    )


def test_a_browser_has_its_media_in_one_bundle() -> None:
    place = Endpoint("192.0.2.7", 30_000)
    browser = BrowserParameters("frag", "a password", "sha-256 AB:CD")
    end = MediaEnd(place, place, browser=browser, video=VideoPorts(place, place))
    text = write_sdp(end, CODECS["pcmu"], 20, direction="sendrecv", version=1, mids=["a", "v"])
    assert "a=group:BUNDLE a v\r\n" in text
    assert read_browser(text) == (browser, ["a", "v"])
    assert read_sdp(text)._replace(browser=browser) == end


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0\nm=audio 4000 RTP/AVP 0\n",
        "c=IN IP4 192.0.2.1\n",
        "c=IN IP4 host.example\nm=audio 4000 RTP/AVP 0\n",
        "c=IN IP4\nm=audio 4000 RTP/AVP 0\n",
        "c=IN IP4 192.0.2.1\nm=audio 99999 RTP/AVP 0\n",
        "c=IN IP4 192.0.2.1\nm=\n",
        "c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtcp:x\n",
    ],
)
def test_sdp_without_a_place_to_send_to_is_refused(text: str) -> None:
    with pytest.raises(MalformedFrame, match="SDP from the relay"):
        read_sdp(text)


line = st.tuples(st.sampled_from(["m=", "c=IN IP4 ", "a=rtcp:", "c="]), st.text(max_size=30)).map("".join)


@given(st.lists(st.one_of(line, st.text(max_size=40))).map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        end = read_sdp(text)
    except MalformedFrame:
        return
    assert 0 <= end.rtp.port <= 65_535
