"""nh.reasons: what the errors of msgspec and of the system say is said in nh's words."""

import errno
from typing import Annotated

import msgspec
import pytest

from nh.errors import Refused
from nh.reasons import decode_fault, reason, shortage


class Part(msgspec.Struct, forbid_unknown_fields=True):
    number: int


class Whole(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="whole"):
    id: Annotated[int, msgspec.Meta(ge=-5, le=5)] | Annotated[str, msgspec.Meta(max_length=3)]
    yes: bool = False
    parts: Annotated[list[Part], msgspec.Meta(max_length=1)] = []
    texts: dict[str, str] = {}
    ratio: float | None = None


def whole(fields: bytes) -> bytes:
    return b'{"kind":"whole",' + fields + b"}"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "the file: ends too early"),
        (b"{", "the file: ends too early"),
        (b"{}", "id: is missing"),
        (b"[1]", "the file: is a list, not an object"),
        (b"null", "the file: is null, not an object"),
        (b"\xff", "the file: byte 0 cannot be read"),
        (b"[" * 100_000, "the file: is a list, not an object"),
        (whole(b'"id":null'), "id: is null, not a whole number or text"),
        (whole(b'"id":1.5'), "id: is a number, not a whole number or text"),
        (whole(b'"id":-6'), "id: is below -5"),
        (whole(b'"id":6'), "id: is above 5"),
        (whole(b'"id":"long"'), "id: is longer than 3 characters"),
        (whole(b'"id":1e400'), "id: is out of range"),
        (whole(b'"id":"\xff"'), "the file: has text that is not UTF-8"),
        (whole(b'"id":1,"yes":1'), "yes: is a whole number, not a boolean"),
        (whole(b'"id":1,"parts":[{}]'), "parts[0].number: is missing"),
        (whole(b'"id":1,"parts":[{"number":"x"}]'), "parts[0].number: is text, not a whole number"),
        (whole(b'"id":1,"parts":[{"number":1},{"number":1}]'), "parts: has more than 1 entries"),
        (whole(b'"id":1,"texts":{"a":1}'), "texts: is a whole number, not text"),
        (whole(b'"id":1,"ratio":"a"'), "ratio: is text, not a number or null"),
        (whole(b'"id":1,"weather":1'), "weather: is unknown"),
        (whole(b'"id":1,"a`b\\n":1'), r"a`b\x0a: is unknown"),
        (whole(b'"id":1,"' + b"x" * 1000 + b'":1'), "x" * 64 + ": is unknown"),
        (whole(b'"id":1,"yes":tru'), "the file: byte 33 cannot be read"),
        (whole(b'"id":1') + b" 5", "the file: goes on behind its end, at byte 25"),
        (b'{"kind":"part"}', "kind: has a value that is unknown"),
    ],
)
def test_a_fault_says_where_and_what(data: bytes, expected: str) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeError)) as error:
        msgspec.json.decode(data, type=Whole)
    assert decode_fault(error.value, "the file") == expected


def test_data_that_are_nested_too_deep_are_a_fault() -> None:
    with pytest.raises(RecursionError) as error:
        msgspec.json.decode(b"[" * 100_000)
    assert decode_fault(error.value, "reply") == "reply: is nested too deep"


def test_what_msgspec_may_say_some_day_is_not_shown() -> None:
    assert (
        decode_fault(msgspec.DecodeError("Expected `weather` - at `$.x`"), "reply") == "reply: cannot be read"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use", "/run/nh"), "Address already in use"),
        (OSError("the link has ended"), "the link has ended"),
        (TimeoutError(), "TimeoutError"),
        (Refused("no"), "no"),
        (msgspec.DecodeError("Input data was truncated"), "ends too early"),
        (msgspec.DecodeError("it sent Yield"), "it sent Yield"),
    ],
)
def test_a_reason_has_neither_numbers_nor_names_of_files(error: Exception, expected: str) -> None:
    assert reason(error) == expected


def test_a_shortage_says_which_limit_to_raise() -> None:
    assert shortage(OSError(errno.EMFILE, "Too many open files")) == (
        "Too many open files; raise the limit on descriptors (ulimit -Hn, LimitNOFILE= of the service)"
    )
    assert shortage(OSError(errno.EIO, "Input/output error")) == "Input/output error"
