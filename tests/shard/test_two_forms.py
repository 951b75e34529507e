"""nh.shard.ng.two_forms: which lines of an SDP stand for one medium."""

from nh.sdp.parse import parse
from nh.shard.ng.two_forms import read_forms

SESSION = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
PAIR = ("RTP/AVP", "RTP/SAVP")


def offer(*lines: str) -> bytes:
    return (SESSION + "".join(f"m={line}\r\n" for line in lines)).encode()


def test_media_behind_two_forms_that_have_become_two_media_keep_theirs() -> None:
    fax_and_audio = parse(
        offer(
            "image 40000 udptl t38",
            "audio 40002 RTP/SAVP 0",
            "audio 40004 RTP/AVP 0",
            "audio 40006 RTP/SAVP 0",
        )
    )
    assert [bool(forms) for forms in read_forms(fax_and_audio, (PAIR, PAIR), new=True)] == [
        False,
        False,
        True,
    ]
