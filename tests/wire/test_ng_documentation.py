"""docs/reference/ng.md says of every flag, key and text what the codec makes of it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from nh.commands import Feature
from nh.results import Failure
from nh.wire.ng import codecs, decode_request, flags, options, replies, requests, unsupported
from tests.wire.ng import offer
from tests.wire.rtpengine_names import FLAGS, KEYS, VALUES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
DOCUMENT = (REFERENCE / "ng.md").read_text()
CONFIGURATION = (REFERENCE / "configuration.md").read_text()
SPELLED = DOCUMENT.lower()
REFUSED = SPELLED[SPELLED.index("### what nh refuses") : SPELLED.index("## errors")]
LEFT_OUT = SPELLED[SPELLED.index("### what nh leaves out") : SPELLED.index("### what nh refuses")]
DONE = SPELLED[SPELLED.index("### what nh does") : SPELLED.index("### what nh leaves out")]

SPELLINGS = {b"t38": b"t.38"}
"""Other spellings of what the document has."""


def row_of(feature: Feature) -> str:
    """The row of a feature in the table of what is refused."""
    return next(line for line in REFUSED.splitlines() if line.startswith(f"| `{feature}` |"))


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (table, name)
        for table in (unsupported.UNSUPPORTED_FLAGS, unsupported.UNSUPPORTED_KEYS)
        for name in sorted(table)
    ],
)
def test_what_is_refused_is_said_to_be(table: Mapping[bytes, unsupported.Gap], name: bytes) -> None:
    assert f"`{name.decode()}`" in row_of(table[name].feature)


@pytest.mark.parametrize("feature", list(Feature))
def test_every_feature_has_its_row(feature: Feature) -> None:
    assert row_of(feature)
    assert f"`{feature}`" in CONFIGURATION


@pytest.mark.parametrize(
    "name", sorted({*flags._OPTIONS, *flags._SWITCHES, *flags._NO_EFFECT, *codecs.CHOICE_FLAGS})
)
def test_what_is_granted_is_said_to_be(name: bytes) -> None:
    assert f"`{name.decode()}`" in DONE


@pytest.mark.parametrize(
    "name",
    sorted(
        {*options._READERS, *unsupported.NOT_OPTIONS}
        - {b"flags", b"all", b"command"}
        - {b"codec-" + option for option in (*codecs.CHOICES, *unsupported.CODEC_OPTIONS)}
    ),
)
def test_every_key_is_explained(name: bytes) -> None:
    assert f"`{SPELLINGS.get(name, name).decode()}" in SPELLED or name in (b"address", b"to-label")


@pytest.mark.parametrize("text", sorted({*replies._WORDS.values(), replies.NOT_DELETED}))
def test_every_error_of_rtpengines_is_listed(text: str) -> None:
    assert f"`{text}`" in DOCUMENT


@pytest.mark.parametrize("name", sorted(requests.REQUESTS))
def test_every_command_is_listed(name: bytes) -> None:
    assert f"`{name.decode()}`" in SPELLED


@pytest.mark.parametrize("option", sorted(unsupported.CODEC_OPTIONS))
def test_every_option_of_codecs_is_refused_or_left_out(option: bytes) -> None:
    left_out = SPELLED[SPELLED.index("### what nh leaves out") : SPELLED.index("### what nh refuses")]
    place = left_out if unsupported.CODEC_OPTIONS[option] is None else row_of(Feature.CODECS)
    assert f"`{option.decode()}`" in place


@pytest.mark.parametrize("option", sorted(codecs.CHOICES))
def test_every_choice_of_codecs_is_explained(option: bytes) -> None:
    assert f"| `{option.decode()}` |" in DONE


@pytest.mark.parametrize("name", sorted(flags._IGNORED))
def test_every_flag_that_is_left_out_is_listed(name: bytes) -> None:
    left_out = SPELLED[SPELLED.index("### what nh leaves out") : SPELLED.index("### what nh refuses")]
    assert f"`{name.decode()}`" in left_out


SAMPLES: Mapping[str, object] = {
    "address-family": "IP4",
    "all": "all",
    "bundle": "offer",
    "codec": {"strip": ["PCMU"]},
    "drop-traffic": "start",
    "dtmf-log-dest": "192.0.2.1:2228",
    "dtmf-log-destination": "192.0.2.1:2228",
    "endpoint-learning": "off",
    "extmap": {"strip": ["all"]},
    "flags": ["symmetric"],
    "ice": "remove",
    "ice-lite": "both",
    "media-address": "192.0.2.1",
    "received-from": ["IP4", "192.0.2.1"],
    "replace": ["origin"],
    "rtcp-mux": ["offer"],
    "rtpp-flags": "symmetric",
    "t.38": "decode",
    "t38": "decode",
    "sdp-attr": {"audio": {"remove": ["ptime"]}},
    "tos": 184,
    "xmlrpc-callback": "192.0.2.1",
}
"""Values with which a key means something; others mean something as `yes`."""

BY_NATURE = {"call-id", "command", "flags", "from-tag", "rtpp-flags", "sdp"}
"""Keys that need no row."""


@pytest.mark.parametrize(
    ("kind", "name"), [("flag", name) for name in FLAGS] + [("key", name) for name in KEYS]
)
def test_every_flag_and_key_of_rtpengine_has_its_place(kind: str, name: str) -> None:
    if name in BY_NATURE:
        return
    field = name.replace("-", "_")
    asked = offer(flags=[name]) if kind == "flag" else offer(**{field: SAMPLES.get(name, "yes")})
    request = decode_request(asked)
    if isinstance(request.command, Failure):
        assert request.command.code == "unsupported"
        assert f"`{name}`" in REFUSED or f"`{name}=" in REFUSED
    elif request.ignored:
        assert f"`{name}`" in LEFT_OUT or f"`{name}=" in LEFT_OUT
    else:
        assert f"`{name}`" in SPELLED.replace(LEFT_OUT, "").replace(REFUSED, "")


IN_ANY_CASE = {
    "alias-key": {"none", "off", "no"},
    "all": {*VALUES["all"]},
    "audio-player": {"default", "no", "off", "disable", "disabled"},
    "drop-traffic": {"stop"},
    "dtls": {"passive"},
    "generate-rtcp": {"off"},
    "ice": {"default", *(word for word in VALUES["ice"] if "lite" in word)},
    "ice-lite": {*VALUES["ice-lite"]},
    "record-call": {"no", "off", "discard"},
    "replace": {"session-connection"},
    "sdes": {"static"},
    "t.38": {*VALUES["t.38"]},
    "transport-protocol": {"accept"},
}
"""Words that may change nothing without a warning: nh does so in any case, or never does the contrary, or the
word is about other commands than offer."""

EVERYTHING = [(key, word) for key, words in VALUES.items() for word in words]


def asks_for_something(name: str, value: object) -> bool:
    """Whether an offer with a key does anything else than one without it, or has a warning, or is refused."""
    request = decode_request(offer(**{name.replace("-", "_"): value}))
    changed = request.command != decode_request(offer()).command
    return changed or bool(request.ignored)


@pytest.mark.parametrize(("key", "word"), EVERYTHING)
def test_no_word_of_rtpengine_is_passed_over(key: str, word: str) -> None:
    assert asks_for_something(key, word) or word in IN_ANY_CASE[key]


@pytest.mark.parametrize("key", sorted(VALUES))
def test_an_unknown_word_is_never_passed_over(key: str) -> None:
    assert asks_for_something(key, "gibberish")
