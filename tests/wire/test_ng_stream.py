"""nh.wire.ng.stream: messages out of a byte stream."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.errors import MalformedFrame
from nh.wire.ng import NgFramer
from nh.wire.ng.stream import MessageEnd
from tests.wire.fuzz import fuzzed, mutated
from tests.wire.ng import offer, values, written

MESSAGES = [b"1_1 d7:command4:pinge", b"1_2 " + offer(), b"\xff d7:command4:pinge"]


def taken(framer: NgFramer) -> list[bytes]:
    found = []
    while (message := framer.next_frame()) is not None:
        found.append(message)
    return found


@fuzzed
@given(st.lists(st.integers(1, 40), max_size=40), st.sampled_from([b"", b"\n", b"\r\n"]))
def test_messages_come_out_as_they_went_in(portions: list[int], between: bytes) -> None:
    data, framer, found = between.join(MESSAGES) + between, NgFramer(), []
    for size in [*portions, len(data)]:
        framer.feed(data[:size])
        data = data[size:]
        found += taken(framer)
    assert found == MESSAGES
    assert framer.pending_bytes == 0


def test_a_long_message_is_no_garbage() -> None:
    framer = NgFramer()
    message = b"1 " + offer(sdp=b"x" * 60_000)
    framer.feed(message[:-1])
    assert framer.next_frame() is None
    framer.feed(message[-1:])
    assert framer.next_frame() == message


@pytest.mark.parametrize(
    "data",
    [
        b" d7:command4:pinge",
        b"x" * 1025,
        b'1 {"command": "ping"}',
        b"1 l4:pinge",
        b"1 4",
        b"1 i12",
        b"1 d7:command4:ping?",
        b"1 " + b"d1:a" * 100,
        b"1 d1:a" + b"5:abcde" * 20_000,
        b"1 d1:a99999:",
    ],
)
def test_what_cannot_become_a_message_ends_the_stream(data: bytes) -> None:
    framer = NgFramer()
    framer.feed(data)
    with pytest.raises(MalformedFrame, match="ng"):
        taken(framer)


@fuzzed
@given(st.binary(max_size=1200))
def test_garbage_waits_for_more_or_ends_the_stream(data: bytes) -> None:
    framer = NgFramer()
    framer.feed(data)
    with contextlib.suppress(MalformedFrame):
        taken(framer)


# --- where a message ends in a stream -------------------------------------------------------------


@fuzzed
@given(st.dictionaries(st.binary(max_size=6), values, max_size=4), st.lists(st.integers(1, 9), max_size=60))
def test_the_end_is_found_in_whatever_portions_it_comes(value: object, portions: list[int]) -> None:
    data = written(value) + b"5 d4"
    end, buffer, found = MessageEnd(0), bytearray(), None
    try:
        for size in [*portions, len(data)]:
            buffer += data[len(buffer) : len(buffer) + size]
            found = found if found is not None else end.find(buffer)
    except MalformedFrame as exc:
        assert "within each other" in str(exc)
    else:
        assert found == len(data) - 4


@fuzzed
@given(st.binary(max_size=300) | mutated(st.just(offer())))
def test_garbage_has_an_end_or_none_or_is_an_error(data: bytes) -> None:
    try:
        end = MessageEnd(0).find(data)
    except MalformedFrame:
        return
    assert end is None or data[0:1] == b"d"
