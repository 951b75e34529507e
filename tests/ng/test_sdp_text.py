"""What scripts have changed in the text of SDPs: nh beside rtpengine, line by line."""

from collections.abc import Iterator

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import NgCall
from tests.ng.relays import NgRelay


@pytest.fixture(params=["nh", pytest.param("rtpengine", marks=pytest.mark.rtpengine)])
def call(request: pytest.FixtureRequest) -> Iterator[NgCall]:
    relay: NgRelay = request.getfixturevalue(request.param)
    with NgClient(relay.address) as client:
        call = NgCall(client)
        yield call
        call.delete()


def sdp(
    user: str = "alice", version: int = 1, port: int = 40_000, address: str = "127.0.0.1", *more: str
) -> str:
    lines = ["v=0", f"o={user} 154 {version} IN IP4 192.0.2.1", f"s={user}'s", f"c=IN IP4 {address}", "t=0 0"]
    return "".join(f"{line}\r\n" for line in [*lines, f"m=audio {port} RTP/AVP 0", *more])


def lines(description: str, *starts: str) -> list[str]:
    """The lines that begin so."""
    return [line for line in description.splitlines() if line.startswith(starts)]


def test_versions_are_counted_for_each_end(call: NgCall) -> None:
    flags = {"replace": ["SDP-version", "username", "session-name"]}
    got = [
        call.offer(sdp("alice", 7), **flags),
        call.answer(sdp("bob", 30), **flags),
        call.reoffer(sdp("al", 9), **flags),
        call.answer(sdp("bo", 31, 40_444), **flags),
        call.reoffer_of_callee(sdp("bob", 50, 40_446), **flags),
        call.answer_of_caller(sdp("alice", 7, 40_010), **flags),
    ]
    names = [line.split(" IN ")[0] for description in got for line in lines(description, "o=")]
    assert names == [
        "o=alice 154 7",
        "o=bob 154 30",
        "o=alice 154 7",
        "o=bob 154 31",
        "o=bob 154 32",
        "o=alice 154 8",
    ]
    assert {line for description in got for line in lines(description, "s=")} == {"s=alice's", "s=bob's"}


@pytest.mark.parametrize(
    ("direction", "says"), [("sendrecv", "sendonly"), ("recvonly", "inactive"), ("inactive", "inactive")]
)
def test_a_zero_address_is_replaced(call: NgCall, direction: str, says: str) -> None:
    held = sdp("alice", 1, 40_000, "0.0.0.0", f"a={direction}")
    kept = call.offer(held)
    assert lines(kept, "c=") == ["c=IN IP4 0.0.0.0"]
    assert lines(kept, f"a={says}")
    original = call.offer(held, flags=["original-sendrecv"])
    assert lines(original, f"a={direction}")
    replaced = call.offer(held, replace=["zero-address"])
    assert lines(replaced, "c=") == ["c=IN IP4 127.0.0.1"]
    assert lines(replaced, f"a={says}")


def test_attributes_of_rtcp_and_mid(call: NgCall) -> None:
    rich = sdp("alice", 1, 40_000, "127.0.0.1", "a=extmap:1 urn:x", "a=rtcp:40001")
    full = call.offer(rich, flags=["full-rtcp-attribute", "generate-mid", "strip-extmap"])
    port = int(lines(full, "m=")[0].split()[1])
    assert lines(full, "a=rtcp", "a=mid", "a=extmap") in (
        [f"a=rtcp:{port + 1} IN IP4 127.0.0.1", "a=mid:1"],
        ["a=mid:1", f"a=rtcp:{port + 1} IN IP4 127.0.0.1"],
    )
    assert lines(call.offer(rich, flags=["no-rtcp-attribute"]), "a=rtcp") == []
