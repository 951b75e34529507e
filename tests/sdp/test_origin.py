"""o= and s= that stay as an end got them first, and versions that the relay counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.origin import MAX_ORIGIN_BYTES, SentOrigin, next_version
from nh.commands import SdpText
from nh.sdp.origin import control_origin
from tests.sdp import samples

VERSION = SdpText(version=True)
FORCED = SdpText(force_version=True)
USERNAME = SdpText(username=True)
SESSION_NAME = SdpText(session_name=True)
WHOLE = SdpText(whole_origin=True)


def sdp(
    origin: str = "alice 154 1 IN IP4 192.0.2.1", name: str = "talk", port: int = 4000, more: str = ""
) -> bytes:
    return samples.crlf(
        f"v=0\no={origin}\ns={name}\nc=IN IP4 192.0.2.9\nt=0 0\nm=audio {port} RTP/AVP 0{more}"
    )


class Receiver:
    """An end that gets one SDP after the other."""

    def __init__(self) -> None:
        self.sent: SentOrigin | None = None

    def get(self, body: bytes, text: SdpText) -> str:
        """The o= and s= that it gets, in one line."""
        got, self.sent = control_origin(body, self.sent, text)
        rest = body.split(b"\r\n", 3)[3]
        assert got.endswith(rest), "other lines stay"
        return got.decode().split("\r\n", 1)[1].removesuffix(rest.decode()).replace("\r\n", " ").strip()


@pytest.fixture
def bob() -> Receiver:
    return Receiver()


@pytest.mark.parametrize("text", [VERSION, FORCED, USERNAME, SESSION_NAME, WHOLE])
def test_the_first_sdp_arrives_as_it_is(bob: Receiver, text: SdpText) -> None:
    assert control_origin(sdp(), None, text)[0] == sdp()


@pytest.mark.parametrize("fields", ["- 0 0", "alice 154 0", "al ice 154 0", "- 0 00", "- - -", "0 0 1"])
@pytest.mark.parametrize("text", [VERSION, FORCED, USERNAME, SESSION_NAME, WHOLE])
def test_any_first_origin_arrives_as_it_is_and_again(bob: Receiver, text: SdpText, fields: str) -> None:
    """A version of 0 was left out: what is missing counts as 0."""
    first = sdp(f"{fields} IN IP4 192.0.2.1")
    assert bob.get(first, text) == f"o={fields} IN IP4 192.0.2.1 s=talk"
    again = bob.get(first, text).split(" IN ")[0]
    counted = f"{fields.rpartition(' ')[0]} {next_version(fields.rpartition(' ')[2].encode()).decode()}"
    assert again == f"o={counted if text is FORCED else fields}"


def test_versions_go_up_by_one_with_each_change(bob: Receiver) -> None:
    bob.get(sdp(), VERSION)
    assert bob.get(sdp("alice 154 7 IN IP4 192.0.2.1"), VERSION).startswith("o=alice 154 1 ")
    assert bob.get(sdp(port=4002), VERSION).startswith("o=alice 154 2 ")
    assert bob.get(sdp("alice 154 9 IN IP4 192.0.2.1", port=4002), VERSION).startswith("o=alice 154 2 ")
    assert bob.get(sdp(name="other", port=4002), VERSION).startswith("o=alice 154 3 ")
    assert bob.get(sdp("al 99 1 IN IP4 192.0.2.1", port=4002), VERSION).startswith("o=al 99 4 ")


def test_a_forced_version_goes_up_each_time(bob: Receiver) -> None:
    versions = [bob.get(sdp(), FORCED).split()[2] for _ in range(4)]
    assert versions == ["1", "2", "3", "4"]


def test_a_count_goes_on_where_a_client_forces_it_only_now_and_then(bob: Receiver) -> None:
    bob.get(sdp(), VERSION)
    assert bob.get(sdp(port=1), FORCED).startswith("o=alice 154 2 ")
    assert bob.get(sdp(port=1), VERSION).startswith("o=alice 154 2 ")


def test_a_user_name_stays(bob: Receiver) -> None:
    bob.get(sdp("alice in chains 154 1 IN IP4 192.0.2.1"), USERNAME)
    after = bob.get(sdp("bob 99 8 IN IP4 192.0.2.2", name="other"), USERNAME)
    assert after == "o=alice in chains 99 8 IN IP4 192.0.2.2 s=other"


def test_a_session_name_stays(bob: Receiver) -> None:
    bob.get(sdp(), SESSION_NAME)
    assert bob.get(sdp("b 9 8 IN IP4 192.0.2.2", name="x"), SESSION_NAME) == "o=b 9 8 IN IP4 192.0.2.2 s=talk"


def test_a_whole_origin_stays_but_for_the_address_that_is_written_before(bob: Receiver) -> None:
    bob.get(sdp(), WHOLE)
    same = bob.get(sdp("bob 99 8 IN IP4 192.0.2.1"), WHOLE)
    assert same == "o=alice 154 1 IN IP4 192.0.2.1 s=talk"
    assert bob.get(sdp("bob 99 8 IN IP4 192.0.2.1", port=4002), WHOLE).startswith("o=alice 154 2 ")


@pytest.mark.parametrize("version", ["x", "-1", "1.5", "²"])
def test_what_is_no_number_counts_as_zero(bob: Receiver, version: str) -> None:
    bob.get(sdp(f"a 1 {version} IN IP4 192.0.2.1"), FORCED)
    assert bob.get(sdp(), FORCED).startswith("o=alice 154 1 ")


@pytest.mark.parametrize(
    ("origin", "kept"),
    [("- 5 IN IP4 192.0.2.1", "- 5 1"), ("- IN IP4 192.0.2.1", "- 0 1"), ("IN IP4 h", "- 0 1")],
)
def test_what_an_origin_lacks_is_filled_in(bob: Receiver, origin: str, kept: str) -> None:
    bob.get(sdp(origin), WHOLE)
    assert bob.get(sdp(origin), SdpText(whole_origin=True, force_version=True)).startswith(f"o={kept} IN ")


@pytest.mark.parametrize(
    "long", [f"{'a' * 2000} 1 1 IN IP4 h", f"a {'1' * 2000} 1 IN IP4 h", f"a 1 {'9' * 2000} IN IP4 h"]
)
def test_strings_beyond_the_limit_pass_on_as_they_are(bob: Receiver, long: str) -> None:
    bob.get(sdp(), WHOLE)
    assert bob.get(sdp(long), WHOLE) == f"o={long} s=talk"
    assert bob.get(sdp(name="n" * 2000), SESSION_NAME).endswith("n" * 2000)
    assert bob.get(sdp(port=1), WHOLE).startswith("o=alice 154 2 ")


def test_a_version_that_gets_too_long_is_not_kept(bob: Receiver) -> None:
    longest = f"a 1 {'9' * MAX_ORIGIN_BYTES} IN IP4 h"
    for port in (1, 2, 3):
        assert bob.get(sdp(longest, port=port), VERSION) == f"o={longest} s=talk"
        assert bob.sent is not None
        assert bob.sent.origin.is_keepable, "a snapshot with a longer one cannot be restored"


def test_a_description_without_origin_or_name_stays(bob: Receiver) -> None:
    nameless = samples.crlf("v=0\no=a 1 1 IN IP4 192.0.2.1\nt=0 0\nm=audio 1 RTP/AVP 0")
    for body in (samples.crlf("v=0\nt=0 0\nm=audio 1 RTP/AVP 0"), nameless, nameless):
        got, bob.sent = control_origin(body, bob.sent, SESSION_NAME)
        assert got == body


@given(st.integers(0, 10**30))
def test_a_version_is_counted_like_a_number(number: int) -> None:
    assert int(next_version(b"%d" % number)) == number + 1


@given(st.integers(1, MAX_ORIGIN_BYTES), st.text("0123456789", min_size=1, max_size=3))
def test_a_version_may_have_any_number_of_digits(nines: int, start: str) -> None:
    after = next_version(start.encode() + b"9" * nines)
    assert after.endswith(b"0" * nines)
    assert int(after[:-nines]) == int(start) + 1
