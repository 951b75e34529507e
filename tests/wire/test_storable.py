import contextlib
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nh.errors import MalformedFrame
from nh.wire.netsip.storable import Value, freeze, freeze_array, thaw
from tests.wire.fuzz import fuzzed, mutated, values
from tests.wire.golden import VECTORS, Vector, vector, vectors

HEAD = b"\x05\x0b"


AS_STRINGS = {
    "int_2147483648": "2147483648",
    "int_4294967296": "4294967296",
    "int_9007199254740993": "9007199254740993",
    "double": "1.5",
    "true": "1",
    "nested_ref": "x",
    "cseq_large": ["activate", ["3c2670@192.0.2.10", "4294967295", *vector("cseq_large").value[1][2:]]],
}
"""What Perl sends as a string, although its vector says otherwise; a reference is what it refers to."""


def as_json(value: Value) -> Any:
    """A thawed value as the vectors write it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {as_json(key): as_json(item) for key, item in value.items()}
    return value


def nested(depth: int) -> bytes:
    """An array in an array and so on, `depth` of them behind references."""
    return HEAD + b"\x04\x02\x00\x00\x00\x01" * depth + b"\x05"


# --- what Perl sends ------------------------------------------------------------------------------


@pytest.mark.parametrize("golden", vectors("request", "value", "reply"))
def test_golden_images_are_read(golden: Vector) -> None:
    assert as_json(thaw(golden.image)) == AS_STRINGS.get(golden.name, golden.value)


@pytest.mark.parametrize("golden", vectors("value", "reply"))
def test_what_was_read_is_written_as_perl_does(golden: Vector) -> None:
    if golden.name not in ("nested_ref", "shared_ref_twice"):  # plain values do not tell such things
        assert freeze(thaw(golden.image)) == golden.image


@pytest.mark.parametrize("golden", vectors("request"))
def test_requests_are_written_as_bare_arrays(golden: Vector) -> None:
    request = thaw(golden.image)
    assert isinstance(request, list)
    written = freeze_array(request)
    assert written[:7] == golden.image[:7]
    assert thaw(written) == request


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (2**31, "int_2147483648"),
        (2**32, "int_4294967296"),
        (2**53 + 1, "int_9007199254740993"),
        (1.5, "double"),
        (True, "true"),
        (False, "false"),
        ("\u00e9\u20ac", "utf8"),
        ([[b"127.0.0.1", 5004, 2], (b"127.0.0.1", 5008, 2)], "media"),
    ],
)
def test_values_are_written_as_perl_writes_them(value: object, name: str) -> None:
    assert freeze(value) == vector(name).image


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (b"\x0e", None),
        (b"\x0f", True),
        (b"\x10", False),
        (b"\x1f", None),
        (b"\x22", True),
        (b"\x23", False),
        (b"\x07" + struct.pack("<d", -2.25), -2.25),
        (b"\x18\x00\x00\x00\x02\xc3\xa9", "\u00e9"),
        (b"\x04\x03\x00\x00\x00\x01\x05\x00\x00\x00\x01k", {b"k": None}),
    ],
)
def test_the_rest_of_the_subset_is_read(image: bytes, value: Value) -> None:
    assert thaw(HEAD + image) == value


@pytest.mark.parametrize("minor", range(4, 13))
def test_minor_versions_from_4_to_12_are_read(minor: int) -> None:
    assert thaw(bytes((5, minor, 5))) is None


def test_what_perl_5_6_and_5_8_write_is_read() -> None:
    """By Storable.xs of Storable 1.0 and 2.15: minor 4 has plain hashes, minor 6 locks those of Net::SIP."""
    strings = b"\x0a\x05close\x04\x02\x00\x00\x00\x03\x0a\x04call\x09\x00\x01\x11\x70\x17\x02\xc3\xa9"
    plain = b"\x04\x03\x00\x00\x00\x01\x0a\x0530000\x00\x00\x00\x04port"
    locked = b"\x04\x19\x01\x00\x00\x00\x01\x0a\x0530000\x04\x00\x00\x00\x04port"
    expected = [b"close", [b"call", 70_000, "\u00e9"], {b"port": b"30000"}]
    for minor, medium in ((4, plain), (5, locked), (6, locked), (7, locked)):
        assert thaw(bytes((5, minor)) + b"\x02\x00\x00\x00\x03" + strings + medium) == expected


def test_what_perl_5_40_and_5_42_write_is_read() -> None:
    # [1 == 0, 1 == 1], and sub { \@_ }->(undef, $s, 1, $s)
    assert thaw(bytes.fromhex("050b02000000022322")) == [False, True]
    undef_and_shared = bytes.fromhex("050b02000000041f0402000000010a017308810000000002")
    assert thaw(undef_and_shared) == [None, [b"s"], 1, [b"s"]]


def test_locked_hashes_are_read_without_their_placeholders() -> None:
    # lock_keys(%h, "a", "b") with only "a" in it
    image = bytes.fromhex("050b1901000000020e1400000001620881000000000161")
    assert thaw(image) == {b"a": 1}


def test_keys_are_text_where_perl_flagged_them_and_bytes_where_that_changes_nothing() -> None:
    latin1 = bytes.fromhex("050b1900000000010881020000" + "0001e9")
    ascii_key = bytes.fromhex("050b1900000000010881020000" + "000461646472")
    assert thaw(latin1) == {"\u00e9": 1}
    assert thaw(ascii_key) == {b"addr": 1}


# --- references -----------------------------------------------------------------------------------


def test_a_shared_array_is_read_in_both_places() -> None:
    assert thaw(vector("shared_ref_twice").image) == [[b"s"], [b"s"]]


def test_back_references_count_objects_as_storable_does() -> None:
    # Perl: $s = ["s"]; nfreeze([undef, { k => $s }, "t", $s]): root 0, undef 1, ref 2, hash 3, ref 4, $s 5
    image = b"\x02\x00\x00\x00\x04" + b"\x05" + b"\x04\x03\x00\x00\x00\x01"
    image += (
        b"\x04\x02\x00\x00\x00\x01\x0a\x01s"
        + b"\x00\x00\x00\x01k"
        + b"\x0a\x01t"
        + b"\x04\x00\x00\x00\x00\x05"
    )
    assert thaw(HEAD + image) == [None, {b"k": [b"s"]}, b"t", [b"s"]]


@pytest.mark.parametrize("number", [0, 1])
def test_cycles_are_refused(number: int) -> None:
    image = b"\x02\x00\x00\x00\x01\x04\x00" + number.to_bytes(4, "big")
    with pytest.raises(MalformedFrame, match="cycle"):
        thaw(HEAD + image)


def test_a_reference_to_what_is_not_there_is_refused() -> None:
    with pytest.raises(MalformedFrame, match="byte 8 refers to object 2"):
        thaw(HEAD + b"\x02\x00\x00\x00\x01\x04\x00\x00\x00\x00\x02")


def test_references_cannot_multiply_what_a_frame_holds() -> None:
    # twelve arrays in one another, each of which refers nine more times to the one inside of it
    image = b"\x04\x02\x00\x00\x00\x01\x0a\x02ha"
    for level in range(11, 0, -1):
        again = b"\x04\x00" + (2 * level + 1).to_bytes(4, "big")
        image = b"\x04\x02\x00\x00\x00\x0a" + image + again * 9
    with pytest.raises(MalformedFrame, match="expand"):
        thaw(HEAD + image)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("golden", vectors("hostile"))
def test_hostile_images_are_refused(golden: Vector) -> None:
    with pytest.raises(MalformedFrame, match="byte"):
        thaw(golden.image)


@pytest.mark.parametrize(
    "tag", sorted(set(range(256)) - {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 14, 15, 16, 23, 24, 25, 31, 34, 35})
)
def test_tags_outside_the_subset_are_refused(tag: int) -> None:
    with pytest.raises(MalformedFrame, match=f"tag {tag:#04x} at byte 2"):
        thaw(HEAD + bytes((tag,)) + b"\x00" * 20)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"", "byte 0"),
        (b"\x05", "byte 1"),
        (b"\x05\x0b", "byte 1"),
        (b"pst0\x05\x0b\x05", "byte 0"),
        (b"\x07\x0b\x05", "byte 0"),
        (b"\x05\x03\x05", "byte 1"),
        (b"\x05\x0d\x05", "byte 1"),
        (HEAD + b"\x05\x05", "1 bytes too many at byte 3"),
        (HEAD + b"\x0a\x05abc", "5 bytes are needed at byte 4, 3 are left"),
        (HEAD + b"\x01\xff\xff\xff\xff", "4294967295 bytes are needed at byte 7"),
        (HEAD + b"\x09\x00\x00", "4 bytes are needed"),
        (HEAD + b"\x17\x02\xc3\x28", "not UTF-8 at byte 4"),
        (HEAD + b"\x17\x03\xed\xa0\x80", "not UTF-8"),
        (HEAD + b"\x07" + struct.pack("<d", float("nan")), "byte 3 is nan"),
        (HEAD + b"\x07" + struct.pack("<d", float("-inf")), "byte 3 is -inf"),
        (HEAD + b"\x02\x00\x00\x00\x01\x02\x00\x00\x00\x00", "without a reference"),
        (HEAD + b"\x03\x00\x00\x00\x02" + b"\x05\x00\x00\x00\x01k" * 2, "second time"),
        (HEAD + b"\x19\x80\x00\x00\x00\x00", "hash flags 0x80 at byte 3"),
        (HEAD + b"\x19\x00\x00\x00\x00\x01\x05\x08\x00\x00\x00\x00", "key flags 0x08 at byte 9"),
        (HEAD + b"\x19\x00\x00\x00\x00\x01\x05\x01\x00\x00\x00\x01\xff", "not UTF-8"),
    ],
)
def test_malformed_images_are_refused_with_the_place(image: bytes, why: str) -> None:
    with pytest.raises(MalformedFrame, match=why):
        thaw(image)


@pytest.mark.parametrize("tag", [2, 3, 25])
def test_a_count_beyond_the_frame_is_refused_before_anything_is_allocated(tag: int) -> None:
    flags = b"\x00" if tag == 25 else b""
    image = HEAD + bytes((tag,)) + flags + (2**31 - 1).to_bytes(4, "big") + b"\x05" * 1000
    tracemalloc.start()
    try:
        with pytest.raises(MalformedFrame, match="2147483647 entries"):
            thaw(image)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_nesting_is_limited() -> None:
    assert thaw(nested(15)) is not None
    for depth in (17, 5000):
        with pytest.raises(MalformedFrame, match="nested deeper"):
            thaw(nested(depth))
    with pytest.raises(MalformedFrame, match="nested deeper"):
        thaw(HEAD + b"\x04" * 30_000 + b"\x05")


@pytest.mark.parametrize("value", [object(), {1: 2}, {None: 1}, {3.0}])
def test_what_has_no_perl_form_is_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="storable"):
        freeze(value)


def test_endless_and_infinite_values_are_not_written() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value in (endless, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="storable"):
            freeze(value)


# --- any bytes ------------------------------------------------------------------------------------


@fuzzed
@given(values)
@example([b"x" * 255, b"x" * 256, "\u00e9" * 127, "\u00e9" * 128])
def test_values_survive_the_way(value: Value) -> None:
    assert thaw(freeze(value)) == value
    assert thaw(freeze_array([value])) == [value]


@fuzzed
@given(mutated(st.sampled_from([vector.image for vector in VECTORS])))
def test_mutated_images_are_read_or_refused(image: bytes) -> None:
    with contextlib.suppress(MalformedFrame):
        thaw(image)


@fuzzed
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tail: bytes) -> None:
    with contextlib.suppress(MalformedFrame):
        thaw(HEAD + tail)
