"""No words of a library, of Python or of the system reach users: every message is nh's."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from nh.cli.main import app
from nh.config import Settings
from nh.config_sources import load_settings
from nh.errors import ConfigError, NhError
from nh.results import Allocated, CallDetail, CallList, Closed, Failure, Stats
from nh.wire import native, netsip, ng, rtpproxy
from nh.wire.native.requests import DECODERS
from nh.wire.netsip.storable import freeze
from tests.wire.fuzz import fuzzed, mutated, values
from tests.wire.golden import VECTORS
from tests.wire.ng import offer, payload

FOREIGN = re.compile(
    r"\$\.|\$`|Expected |Errno|(?<!')\bb'|\bb\"|bytearray|Traceback|<class|object at 0x|msgspec|pydantic|"
    r"typer|codec can't|invalid literal|does not appear to be|Invalid value for '--|at line \d+|None\b"
)
"""What Python and the libraries that nh uses say."""


def check(message: str) -> None:
    """Fail if a message is not in nh's words, or steers a terminal."""
    shown = ascii(message)
    assert not FOREIGN.search(message), shown
    assert message.isprintable(), shown
    assert len(message) < 1000, shown


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
        check(message)


@fuzzed
@given(json_values, st.sampled_from([Allocated, CallDetail, CallList, Closed, Stats]))
def test_the_client_of_the_native_protocol(result: object, kind: type[Any]) -> None:
    for reply in ({"id": 1, "result": result}, {"id": result, "result": 1}, {"error": result}, result):
        try:
            native.decode_reply(json.dumps(reply).encode(), kind)
        except NhError as exc:
            check(str(exc))


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
        check(str(exc))


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
        check(message)


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
        check(message)


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
        message = str(exc)
        check(message.replace(repr(value), "'VALUE'"))  # ':b' ends as b'' begins
        assert message.isprintable() and len(message) < 1000
        assert message.startswith("environment: ")


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
        check(str(exc))
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
    assert line.startswith("nh: ")
    check(line)
