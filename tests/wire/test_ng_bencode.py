"""nh.wire.ng.bencode: what clients write is read, what is none is refused, whatever it is."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nh.errors import MalformedRequest
from nh.wire.ng.bencode import MAX_DEPTH, decode, encode
from tests.memory import grows_less_than
from tests.wire.fuzz import fuzzed, mutated
from tests.wire.ng import offer, values, written


@fuzzed
@given(values)
def test_every_value_is_read_as_it_was_written(value: object) -> None:
    try:
        assert decode(written(value)) == value
        assert decode(encode(value)) == value
    except MalformedRequest as exc:
        assert "within each other" in str(exc)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 255, 256, 65_000])
def test_a_string_may_have_any_length(size: int) -> None:
    assert decode(b"l%d:%be" % (size, b":" * size)) == [b":" * size]


def test_text_is_written_as_utf_8_wherever_it_is() -> None:
    text, octets = "Straße 日本", "Straße 日本".encode()
    assert decode(encode({text: text, "list": [text, "plain"]})) == {
        octets: octets,
        b"list": [octets, b"plain"],
    }
    assert encode({"plain": octets}) == encode({"plain": text}) == encode({b"plain": text})


def test_keys_need_no_order_and_the_last_of_equal_ones_counts() -> None:
    assert decode(b"d1:bd1:zi1e1:yi2ee1:ai3e1:ai4ee") == {b"a": 4, b"b": {b"z": 1, b"y": 2}}


def test_tags_of_peers_do_not_fill_the_memory() -> None:
    count, size = 100, 16_384
    with grows_less_than(count * size // 10):
        for number in range(count):
            assert encode({"tags": {b"%0*d" % (size, number): {"created": 1}}})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"d",
        b"d1:a",
        b"d1:ae",
        b"d1:ai1e",
        b"di1ei2ee",
        b"dlei2ee",
        b"d1:ai1eed1:ai1ee",
        b"d1:a3:xye",
        b"d1:ai01ee",
        b"d1:ai-0ee",
        b"d1:ai-01ee",
        b"d01:ai1ee",
        b"d1:xi1e-6:",
        b"d1:ai1_0ee",
        b"d1:a999999999:x",
        b"1",
        b"l0",
        b"l01:xe",
        b"l:xe",
        b"l1x:xe",
        b"l256",
        b"l0256:" + b"x" * 256 + b"e",
        b"l2_56:" + b"x" * 256 + b"e",
        b"l256:" + b"x" * 255,
        b"i" + b"9" * 60_000 + b"e",
        b"9" * 60_000 + b":",
        b"e",
        b"d1:ai1ee\n",
    ],
)
def test_what_is_no_bencode_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedRequest, match="bencode"):
        decode(data)


@pytest.mark.parametrize("opening", [b"l", b"d1:a"])
def test_depth_has_a_limit(opening: bytes) -> None:
    closing = b"i1e" + b"e" * MAX_DEPTH if opening != b"l" else b"e" * MAX_DEPTH
    decode(opening * MAX_DEPTH + closing)
    with pytest.raises(MalformedRequest, match="within each other"):
        decode(opening * 15_000)


@fuzzed
@given(st.binary(max_size=200) | mutated(st.just(offer())))
@example(b"d1:a")
def test_garbage_gives_a_value_or_an_error(data: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        decode(data)
