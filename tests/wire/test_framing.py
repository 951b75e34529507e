import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.errors import MalformedFrame
from nh.wire.framing import MAX_FRAME_BYTES, Framer, frame
from tests.wire.fuzz import fuzzed
from tests.wire.golden import VECTORS, Vector


def frames_of(framer: Framer) -> list[bytes]:
    frames = []
    while (payload := framer.next_frame()) is not None:
        frames.append(payload)
    return frames


@fuzzed
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_any_portions_give_the_same_frames(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, payloads))
    framer = Framer()
    received: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        framer.feed(stream[:size])
        stream = stream[size:]
        received += frames_of(framer)
    assert received == payloads
    assert framer.pending_bytes == 0


@pytest.mark.parametrize(
    "golden", [vector for vector in VECTORS if vector.frame], ids=lambda vector: vector.name
)
def test_frames_are_those_of_net_sip(golden: Vector) -> None:
    assert frame(golden.image) == golden.frame


def test_the_longest_frame_is_accepted() -> None:
    framer = Framer()
    framer.feed(frame(b"x" * MAX_FRAME_BYTES))
    assert framer.next_frame() == b"x" * MAX_FRAME_BYTES


@pytest.mark.parametrize("size", [0, MAX_FRAME_BYTES + 1, 2**31, 2**32 - 1])
def test_an_impossible_length_is_refused_before_its_payload_comes(size: int) -> None:
    framer = Framer()
    framer.feed(frame(b"fine") + size.to_bytes(4, "big"))
    assert framer.next_frame() == b"fine"
    for _ in range(2):
        with pytest.raises(MalformedFrame, match=f"{size} bytes"):
            framer.next_frame()


def test_a_client_may_allow_longer_replies() -> None:
    framer = Framer(max_bytes=100_000)
    framer.feed(frame(b"x" * 100_000))
    assert framer.next_frame() == b"x" * 100_000


def test_a_partial_frame_is_pending() -> None:
    framer = Framer()
    framer.feed(frame(b"complete") + frame(b"part")[:-1])
    assert frames_of(framer) == [b"complete"]
    assert framer.pending_bytes == 7
