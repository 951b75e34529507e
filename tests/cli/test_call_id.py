import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.cli.calls.call_id import read_id
from nh.errors import ConfigError
from nh.printable import show_id, show_text


@given(st.one_of(st.binary(), st.text().map(str.encode), st.text("\\x0f", max_size=8).map(str.encode)))
def test_every_id_has_a_printable_form_that_gives_it_back(identifier: bytes) -> None:
    shown = show_id(identifier)
    assert not shown or shown.isprintable()
    assert read_id(shown) == identifier


@given(st.binary(), st.binary())
def test_different_ids_look_different(one: bytes, other: bytes) -> None:
    assert (show_id(one) == show_id(other)) == (one == other)


@given(st.text("\\x0fF "))
def test_whatever_is_typed_is_an_id_or_an_error_that_says_why(typed: str) -> None:
    try:
        identifier = read_id(typed)
    except ConfigError as exc:
        assert "backslash" in str(exc)
    else:
        assert read_id(show_id(identifier)) == identifier


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        (b"a84b4c76e66710@pc33.atlanta.com", "a84b4c76e66710@pc33.atlanta.com"),
        (b"a\0b", r"a\x00b"),
        (b"\\x00", r"\\x00"),
        ("zoë 電話".encode(), "zoë 電話"),
        (b"\xff\xc3", r"\xff\xc3"),
        (b"\x1b[2J", r"\x1b[2J"),
        ("\u202e\u2028".encode(), r"\xe2\x80\xae\xe2\x80\xa8"),
        (b"", ""),
    ],
)
def test_how_ids_look(identifier: bytes, shown: str) -> None:
    assert show_id(identifier) == shown


@pytest.mark.parametrize("typed", ["\\", "a\\b", r"\x0", r"\xg0", r"\\\n"])
def test_a_backslash_that_begins_no_escape_is_an_error(typed: str) -> None:
    with pytest.raises(ConfigError, match="backslash"):
        read_id(typed)


def test_bytes_that_the_shell_passes_as_they_are_count_as_themselves() -> None:
    assert read_id(b"\xff\n".decode("utf-8", "surrogateescape")) == b"\xff\n"


@given(st.text())
def test_text_of_peers_cannot_steer_the_terminal(text: str) -> None:
    shown = show_text(text)
    assert not shown or shown.isprintable()
