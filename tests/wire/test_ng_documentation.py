"""docs/reference/ng.md says of every flag, key and text what the codec makes of it."""

from pathlib import Path

import pytest

from nh.wire.ng import flags, options, replies, requests, unsupported

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reference" / "ng.md").read_text()
SPELLED = DOCUMENT.lower()
REFUSED = SPELLED[SPELLED.index("### what nh refuses") : SPELLED.index("## errors")]
DONE = SPELLED[SPELLED.index("### what nh does") : SPELLED.index("### what nh leaves out")]

SPELLINGS = {b"t38": b"t.38"}
"""Other spellings of what the document has."""


@pytest.mark.parametrize("name", sorted({*unsupported.UNSUPPORTED_FLAGS, *unsupported.UNSUPPORTED_KEYS}))
def test_what_is_refused_is_said_to_be(name: bytes) -> None:
    prefix = name.startswith((b"codec-", b"transcode"))
    assert prefix or f"`{name.decode()}`" in REFUSED


@pytest.mark.parametrize("name", sorted({*flags._OPTIONS, *flags._SWITCHES, *flags._NO_EFFECT}))
def test_what_is_granted_is_said_to_be(name: bytes) -> None:
    assert f"`{name.decode()}`" in DONE


@pytest.mark.parametrize(
    "name", sorted({*options._READERS, *unsupported.NOT_OPTIONS} - {b"flags", b"all", b"command"})
)
def test_every_key_is_explained(name: bytes) -> None:
    assert f"`{SPELLINGS.get(name, name).decode()}" in SPELLED or name in (b"address", b"to-label")


@pytest.mark.parametrize("text", sorted({*replies._WORDS.values(), replies.NOT_DELETED}))
def test_every_error_of_rtpengines_is_listed(text: str) -> None:
    assert f"`{text}`" in DOCUMENT


@pytest.mark.parametrize("name", sorted(requests.REQUESTS))
def test_every_command_is_listed(name: bytes) -> None:
    assert f"`{name.decode()}`" in DOCUMENT
