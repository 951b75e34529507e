"""No words of a library, of Python or of the system reach users: every message is nh's."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from nh.cli.main import app
from nh.config import Settings
from nh.config.sources import load_settings
from nh.errors import ConfigError, NhError
from nh.results import Allocated, CallDetail, CallList, Closed, Failure, Stats
from nh.wire import native, netsip, ng, rtpproxy
from nh.wire.native.requests import DECODERS
from nh.wire.netsip.storable import freeze
from tests.foreign_words import foreign_words
from tests.wire.fuzz import fuzzed, mutated, values
from tests.wire.golden import VECTORS
from tests.wire.ng import offer, payload


def check(message: str, said: bytes | str) -> None:
    """Fail if a message has words that are neither nh's nor of what was said, or steers a terminal."""
    shown = ascii(message)
    given = said if isinstance(said, str) else said.decode("latin-1")
    assert not foreign_words(message, given), shown
    assert message.isprintable(), shown
    assert len(message) < 1000, shown


@pytest.mark.parametrize(
    ("message", "said", "foreign"),
    [
        ("level: Expected `int`, got `str` - at `$.level`", "{}", ["Expected ", "$."]),
        ("unknown command b'x'", "x", ["b'"]),
        ("call None has ended", "null", ["None"]),
        ("command: 'None' is unknown", '{"command": "None"}', []),
        ("$.b: is unknown; 'x b' is not a call", '{"$.b": "x b"}', []),
        ("a directory here is ./b'x", "b'x", []),
    ],
)
def test_words_of_peers_are_not_foreign(message: str, said: str, foreign: list[str]) -> None:
    assert foreign_words(message, said) == foreign


json_values: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = sorted(
    {field for decoder in DECODERS.values() for field in decoder.type.__struct_fields__} | {"weather"}
)
native_requests = st.builds(
    lambda id_, name, fields: json.dumps({"id": id_, "command": name, **fields}).encode(),
    st.integers(0, 5) | json_values,
    st.sampled_from([*DECODERS, "weather"]) | st.text(max_size=5),
    st.dictionaries(
        st.sampled_from(_FIELDS),
        json_values
        | st.just([{"address": "192.0.2.1", "port": 4000, "formats": [{"payload_type": "x"}]}])
        | st.just({"base64": "x"}),
        max_size=4,
    ),
)


def failures(*found: object) -> Iterable[str]:
    """The messages of those that are failures."""
    return (each.message for each in found if isinstance(each, Failure))


@fuzzed
@given(native_requests | mutated(native_requests) | st.binary(max_size=40).map(lambda data: b"{" + data))
def test_the_native_protocol(request: bytes) -> None:
    for message in failures(*native.decode_request(request)):
        check(message, request)


@fuzzed
@given(json_values, st.sampled_from([Allocated, CallDetail, CallList, Closed, Stats]))
def test_the_client_of_the_native_protocol(result: object, kind: type[Any]) -> None:
    for reply in ({"id": 1, "result": result}, {"id": result, "result": 1}, {"error": result}, result):
        said = json.dumps(reply)
        try:
            native.decode_reply(said.encode(), kind)
        except NhError as exc:
            check(str(exc), said)


@fuzzed
@given(
    mutated(st.sampled_from([each.image for each in VECTORS]))
    | st.lists(values, max_size=5).map(freeze)
    | st.builds(
        lambda name, arguments: freeze([name, *arguments]),
        st.sampled_from([b"allocate", b"activate", b"close"]),
        st.lists(
            values | st.just([b"call", 1, b"a", b"b", b"c", b"d"]) | st.just([[b"192.0.2.1", 1]]), max_size=5
        ),
    )
)
def test_net_sips_protocol(image: bytes) -> None:
    try:
        netsip.decode_request(image)
    except NhError as exc:
        check(str(exc), image)


@fuzzed
@given(
    mutated(
        st.sampled_from(
            [
                offer(),
                payload("delete", call_id=b"call"),
                payload("query", call_id=b"c"),
                b'{"command":"ping"}',
            ]
        )
    )
    | st.dictionaries(
        st.sampled_from(
            ["flags", "replace", "call-id", "from-tag", "TOS", "received-from", "direction", "ICE"]
        ),
        st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=5), max_size=2),
    ).map(lambda fields: offer(**{name.replace("-", "_"): value for name, value in fields.items()}))
)
def test_ng(request: bytes) -> None:
    read = ng.decode_request(request)
    for message in (*failures(read.command), read.ignored, read.left_out):
        check(message, request)


@fuzzed
@given(
    mutated(
        st.sampled_from(
            [b"Uc8,0,101 call 192.0.2.1 4000 a;1", b"L call 192.0.2.1 4000 a b", b"D call a", b"VF x"]
        )
    )
)
def test_rtpproxys_protocol(request: bytes) -> None:
    for message in failures(rtpproxy.decode_request(request).command):
        check(message, request)


_SETTINGS = sorted(Settings.__struct_fields__)
_VALUES = [
    "",
    "x",
    "-1",
    "1e999",
    "nan",
    "9" * 400,
    "a\x1b[2Jb",
    "300-200",
    "1.2.3.4.5:6",
    "[::1",
    "//",
    "é\udcff",
]


@fuzzed
@given(st.sampled_from(_SETTINGS), st.sampled_from(_VALUES) | st.text(max_size=8))
def test_settings_in_the_environment(name: str, value: str) -> None:
    try:
        load_settings(environment={f"NH_{name.upper()}": value})
    except ConfigError as exc:
        check(str(exc), value)
        assert str(exc).startswith("environment: ")


@fuzzed
@given(
    st.sampled_from(_SETTINGS),
    st.sampled_from(
        ["{}", "[[1]]", "1979-05-27", "-1", "1e999", "nan", "'x'", "true", "[1, 'a']", "'", "=", "\udcff"]
    ),
)
def test_settings_in_a_file(tmp_path_factory: pytest.TempPathFactory, name: str, value: str) -> None:
    file = tmp_path_factory.getbasetemp() / "nh-words.toml"
    file.write_bytes(f"{name} = {value}\n".encode("utf-8", "surrogateescape"))
    try:
        load_settings(environment={}, file=file)
    except ConfigError as exc:
        check(str(exc), value)
        assert str(exc).startswith(str(file))


_LINES = (
    *(["calls", "--limit", value] for value in _VALUES),
    *(["calls", "--address", value] for value in _VALUES),
    *(["calls", "--sort", value] for value in _VALUES if value != "call_id"),
    *(["stats", "--interval", value] for value in _VALUES),
    *(["drain", "--limit-s", value] for value in _VALUES),
    *(["shards", value] for value in _VALUES),
    *(["log", value] for value in _VALUES if value),
    *(["calls", "--rpc", value] for value in _VALUES),
    *(["health", "--config", value] for value in _VALUES if value),
    ["calls", "--weather"],
    ["calls", "a", "b"],
    ["calls", "--json=1"],
    ["calls", "--limit"],
    ["close"],
    ["weather"],
    ["log", "info", "weather"],
)


@pytest.mark.parametrize("words", _LINES, ids=range(len(_LINES)))
def test_the_command_line(tmp_path: Path, words: list[str]) -> None:
    result = CliRunner().invoke(app, words, env={"NH_RUNTIME_DIR": str(tmp_path)})
    assert result.exit_code in (1, 2), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(("nh: ", "nh "))  # the program is named once
    check(line, " ".join(words))
