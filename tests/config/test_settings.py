"""Settings: layers, errors that help, and the reference that must not lie (configuration.md)."""

import json
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.address import TcpAddress
from nh.calls.interfaces import Interface
from nh.calls.latching.source import SourcePolicy
from nh.calls.settings import RelaySettings
from nh.commands import Feature
from nh.config import Settings, check_served_addresses
from nh.config.interfaces import parse_address
from nh.config.sources import load_settings, read_settings, unknown_variables, with_origin
from nh.durations import parse_seconds
from nh.errors import ConfigError
from nh.logs.settings import LogLevel
from nh.start_again import HANDOVER_FD, TRY_UNTIL
from nh.stats.layout import MAX_GROUPS
from tests.foreign_words import foreign_words

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def load(
    flags: dict[str, Any] | None = None,
    *,
    file: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Settings:
    return load_settings(flags=flags, environment=environment or {}, file=file)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "nh.toml"


# --- layers ---------------------------------------------------------------------------------------


def test_without_anything_the_defaults_hold() -> None:
    assert load() == Settings()


def test_each_layer_wins_over_the_one_before(toml: Path) -> None:
    toml.write_text("shards = 1\ndscp = 1\nsilent_s = 1\nmax_calls = 1\n")
    environment = {"NH_DSCP": "2", "NH_SILENT_S": "2", "NH_MAX_CALLS": "2"}
    settings = load({"silent_s": 3.5, "max_calls": None}, file=toml, environment=environment)
    assert (settings.shards, settings.dscp, settings.silent_s, settings.max_calls) == (1, 2, 3.5, 2)


def test_the_file_may_be_named_in_the_environment(toml: Path) -> None:
    toml.write_text("shards = 3")
    assert load(environment={"NH_CONFIG": str(toml)}).shards == 3


def test_lists_and_enumerations_come_from_every_layer(toml: Path) -> None:
    toml.write_text('rpc = ["/run/a", "127.0.0.1:1"]\npolicy = "strict"\nlog_level = "debug"')
    settings = load(file=toml)
    assert settings.rpc_addresses == ("/run/a", "127.0.0.1:1")
    assert (settings.policy, settings.log_level) == (SourcePolicy.STRICT, LogLevel.DEBUG)
    for text in ("/run/b,[::1]:2", " /run/b, [::1]:2,"):
        assert load(file=toml, environment={"NH_RPC": text}).rpc == ("/run/b", "[::1]:2")
    assert load({"rpc": ["/run/c"], "policy": "first"}, file=toml).rpc == ("/run/c",)


def test_ng_and_its_interfaces_may_come_from_different_layers(toml: Path) -> None:
    toml.write_text('ng = ["127.0.0.1:2223"]')
    settings = load(file=toml, environment={"NH_INTERFACE": "pub/192.0.2.1,priv/10.0.0.1"})
    assert settings.ng_addresses == (TcpAddress("127.0.0.1", 2223),)
    assert [interface.name for interface in settings.interfaces] == ["pub", "priv"]
    with pytest.raises(ConfigError, match="--address IP, or --interface NAME/IP"):
        load(file=toml)


@pytest.mark.parametrize(
    ("words", "lenient"),
    [
        ("refuse", set()),
        ("warn", set(Feature)),
        ("recording=warn, DTMF=warn", {Feature.RECORDING, Feature.DTMF}),
        ("srtp=refuse,warn", set(Feature) - {Feature.SRTP}),
        ("refuse,codecs=warn,codecs=refuse", set()),
    ],
)
def test_a_feature_by_its_name_goes_before_the_word_for_all(words: str, lenient: set[Feature]) -> None:
    assert load({"ng_unsupported": words}).ng_lenient == lenient


def test_the_statistics_have_room_for_every_relay_that_a_standby_may_follow() -> None:
    names = tuple(f"relay-{number}" for number in range(MAX_GROUPS))
    assert Settings(standby_for=names).groups == names
    with pytest.raises(ValueError, match=f"standby_for: .* {MAX_GROUPS} relays at most"):
        Settings(standby_for=(*names, "one-more"))


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_booleans_come_from_the_environment(text: str, value: bool) -> None:
    assert load(environment={"NH_RPC_PUBLIC": text}).rpc_public is value


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("shards = 300", r"shards: 300 is not in 0 to 256"),
        ("shards = 1.5", "shards"),
        ('shards = "many"', "shards"),
        ("silent_s = nan", "silent_s"),
        ("silent_s = inf", "silent_s"),
        ('ports = "20000"', "ports.*10000-29999"),
        ('ports = "30000-20000"', "ports.*MIN below MAX"),
        ('ports = "80-200"', "ports.*1024-65535"),
        ("rpc_mode = 600", "rpc_mode"),
        ('rpc_mode = "0888"', "rpc_mode.*0600"),
        ('rpc_group = "proxies"', "rpc_group: rpc_mode 0600 admits no group; set rpc_mode to 0660"),
        ('rpc = "/run/nh.sock"', r"rpc: .* is not a list of text, .*; write rpc = \['/run/nh\.sock'\]$"),
        ('timeout_url = "http://u:hidden@h/"', r"write timeout_url = \['http://u:\(secret\)@h/'\]$"),
        ('policy = "nice"', "policy"),
        ('rpc = ["nh.sock"]', r"rpc: address 'nh\.sock': .*\./name"),
        ('ng = ["/run/ng"]', "ng: .*HOST:PORT"),
        (
            'kernel_interface = ["eth0,lo"]',
            "kernel_interface: 'eth0,lo' is no name of an interface; name",
        ),
        ('kernel_interface = ["eth0 "]', "kernel_interface: 'eth0 ' is no name of an interface"),
        ('kernel_interface = ["interface-of-15+"]', "kernel_interface: 'interface-of-15\\+' is no name"),
        ('ng = ["udp:127.0.0.1:2223"]', "ng: .*: stands here without its transport; say 127.0.0.1:2223$"),
        ('rtpproxy = ["udp6:[::1]:22"]', r"rtpproxy: .*: stands here without its transport; say \[::1\]:22$"),
        ('log_areas = ["rpc=info", "rpc=debug"]', "log_areas: rpc is named twice; leave one of them out"),
        ('on_promote = "/bin/true"', "on_promote: needs a standby; say --standby, or --standby-for NAME"),
        ('on_demote = "/bin/true"', "on_demote: needs a standby"),
        ('ng = ["2223"]', r"ng: '2223' is not HOST:PORT, such as 127\.0\.0\.1:2223$"),
        ('http = ["localhost"]', r"http: 'localhost' is not HOST:PORT, such as 127\.0\.0\.1:8080$"),
        (
            'ng_unsupported = "ignore"',
            "ng_unsupported: 'ignore' is not refuse, warn or FEATURE=warn, such as",
        ),
        ('ng_unsupported = "fax=warn"', "ng_unsupported: 'fax' is no feature; the features are recording, "),
        ('ng_unsupported = "dtmf"', "ng_unsupported: 'dtmf' is not refuse, warn or "),
        ('address = "here"', "address: .*not an IPv4 or IPv6 address"),
        ('address = "0.0.0.0"', "address: .*every address"),
        ('address = "192.0.2.1!"', "address: .*not an IPv4 or IPv6 address"),
        ('address = "192.0.2.1!2001:db8::1"', "address: .*different IP versions"),
        ('interface = ["192.0.2.1"]', "interface: .*NAME/IP"),
        ('interface = ["a b/192.0.2.1"]', "interface: .*NAME/IP"),
        ('interface = ["a/192.0.2.1@5"]', "interface: .*MIN-MAX"),
        ('interface = ["a/192.0.2.1@5-6"]', "interface: .*1024-65535"),
        ('interface = ["a/192.0.2.1", "a/192.0.2.1!203.0.113.1"]', "interface: 'a' has 192.0.2.1 twice"),
        (
            'interface = ["a/192.0.2.1@2000-3000", "b/192.0.2.1@2500-3500"]',
            "interface: .*overlap on 192.0.2.1",
        ),
        ("shard = 2", r"'shard' is no setting; did you mean shards\?"),
        ("silent-s = 2", r"'silent-s' is no setting; did you mean silent_s\?"),
        ("colour = 2", "'colour' is no setting; `nh config` lists all"),
        ("[relay]\ndscp = 46", r"\[relay\] is a table; settings stand at the top of the file"),
        ("ports.low = 46", r"ports: .*is not text in quotes"),
        ("rpc = [1]", "rpc: .1. is not a list of text"),
        ("rpc = [true, 'x', 2020-01-01]", r"rpc: \[true, 'x', 2020-01-01\] is not a list of text"),
        ("dscp = {a = [false]}", r"dscp: \{'a' = \[false\]\} is not a whole number"),
        pytest.param(f"silent_s = 0x{'f' * 4000}", "silent_s: 0xf{78} is not a span of time", id="long"),
        ("shards = true", "shards: true is not a whole number"),
        ("state = 2020-01-01", "state: 2020-01-01 is not text in quotes"),
        (
            'silent_s = "5 parsecs"',
            "silent_s: '5 parsecs' is not a span of time, such as 30, 30s, 5m",
        ),
        ('silent_s = "8d"', r"silent_s: 691200 s is not in 1 to 604800 s \(7 days\)"),
        ('state = "of"', r"state: 'of' has no /, so it may be a mistyped word; a directory here is \./of"),
        ('runtime_dir = "rnu"', r"runtime_dir: 'rnu' has no /"),
        ('runtime_dir = "off"', r"runtime_dir: 'off' has no /"),
        (r'state = "/var/\u0000nh"', "state: '/var/.x00nh' has a NUL character"),
        (r'runtime_dir = "/run/\u0000nh"', "runtime_dir: '/run/.x00nh' has a NUL character"),
        ("shards = = 2", "'shards = = 2' is not valid TOML; a line is NAME = VALUE, with text in quotes"),
        ("ports = 1-2", "'ports = 1-2' is not valid TOML"),
    ],
)
def test_an_error_names_the_file_and_the_setting(toml: Path, text: str, named: str) -> None:
    toml.write_text(text)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(toml))}:1: .*{named}"):
        load(file=toml)


@pytest.mark.parametrize(
    "url",
    [
        "valkey:/:hidden@host/0",
        "valkey::hidden@host:6379",
        "valkey:user:hidden@host",
        "valkey//:hidden@host/0",
        "valkye:/:hidden@host/0",
    ],
)
def test_a_url_of_a_store_that_lacks_a_character_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="NH_STATE: the URL has no ://; say valk") as refused:
        load(environment={"NH_STATE": url})
    assert "hidden" not in str(refused.value)


def test_a_setting_that_stands_in_the_file_twice_is_named(toml: Path) -> None:
    toml.write_text("shards = 1\nshards = 2\n")
    with pytest.raises(ConfigError, match=r"nh.toml:2: 'shards = 2' sets what another line sets; keep one"):
        load(file=toml)


def test_an_error_names_the_environment_or_the_command_line() -> None:
    with pytest.raises(ConfigError, match=r"^environment: NH_DSCP: 64 is not in"):
        load(environment={"NH_DSCP": "64"})
    with pytest.raises(ConfigError, match=r"^environment: NH_DSCP: 'many' is not"):
        load(environment={"NH_DSCP": "many"})
    with pytest.raises(ConfigError, match=r"^command line: --max-clients: 0 is not in"):
        load({"max_clients": 0})


def test_an_error_that_is_found_later_says_where_the_value_came_from(toml: Path) -> None:
    toml.write_text("shards = 2\nhttp = ['0.0.0.0:8080']\n")
    loaded = read_settings(flags={"rpc": ["[::]:9"]}, environment={"NH_STATE": "off"}, file=toml)
    refused = pytest.raises(ConfigError, match=r"^command line: --rpc: \[::\]:9: :: is not loopback")
    with refused, loaded.naming_origins():
        check_served_addresses(loaded.settings)
    assert with_origin("state: no room", loaded.origins) == "environment: NH_STATE: no room"
    assert with_origin("http: no room", loaded.origins) == f"{toml}:2: http: no room"
    for other in ("ports: 1-2 overlaps", "the disk is full", "store: rpc: no room"):
        assert with_origin(other, loaded.origins) == other, "a default, or no setting"


def test_a_variable_that_is_no_setting_is_warned_of() -> None:
    environment = {
        "NH_SHARD": "3",
        "NH_SILENTS_S": "5",
        "NH_SERVICE_HOST": "10.0.0.1",
        "NHX": "",
        "HOME": "/",
    }
    assert list(unknown_variables(environment)) == [
        "environment: NH_SERVICE_HOST is no setting; `nh config` lists all",
        "environment: NH_SHARD is no setting; did you mean NH_SHARDS?",
        "environment: NH_SILENTS_S is no setting; did you mean NH_SILENT_S?",
    ]


def test_nhs_own_variables_are_known() -> None:
    names = [f"NH_{name.upper()}" for name in Settings.__struct_fields__]
    assert not list(unknown_variables(dict.fromkeys([*names, "NH_CONFIG", HANDOVER_FD, TRY_UNTIL], "1")))


def test_addresses_that_other_hosts_reach_are_refused_before_the_start() -> None:
    for flags, named in (
        ({"rpc": ["192.0.2.1:7070"]}, "rpc: 192.0.2.1:7070: 192.0.2.1 is not loopback"),
        ({"ng": ["[::]:2223"], "address": "192.0.2.1"}, "ng: [::]:2223: :: is not loopback"),
        ({"rtpproxy": ["[::]:2223"], "address": "192.0.2.1"}, "rtpproxy: [::]:2223: :: is not loopback"),
    ):
        with pytest.raises(ConfigError, match=f"^{re.escape(named)}.*--rpc-public"):
            check_served_addresses(load(flags))
        check_served_addresses(load({**flags, "rpc_public": True}))
    check_served_addresses(load({"rpc": ["127.0.0.1:1", "[::1]:2", "name:3", "/run/x"]}))


def test_a_path_for_rtpproxys_clients_may_have_its_prefix() -> None:
    settings = load({"rtpproxy": ["unix:/run/r.sock", "/run/s.sock", "127.0.0.1:1"], "address": "192.0.2.1"})
    assert list(map(str, settings.rtpproxy_addresses)) == ["/run/r.sock", "/run/s.sock", "127.0.0.1:1"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"ng": ["127.0.0.1:1", "127.0.0.1:1"]}, "ng: 127.0.0.1:1 is named twice"),
        ({"rpc": ["/run/r", "/run/x", "/run/r"]}, "rpc: /run/r is named twice"),
        ({"rpc": ["127.0.0.1:1"], "ng": ["127.0.0.1:1"]}, "ng: 127.0.0.1:1 is an address of rpc, too"),
        ({"ng": ["[::1]:1"], "rtpproxy": ["[::1]:1"]}, r"rtpproxy: \[::1\]:1 is an address of ng, too"),
        ({"rpc": ["/run/x"], "rtpproxy": ["unix:/run/x"]}, "rtpproxy: /run/x is an address of rpc, too"),
        ({"rpc": ["127.0.0.1:1"], "http": ["127.0.0.1:1"]}, "http: 127.0.0.1:1 is an address of rpc, too"),
        (
            {"ng": ["0.0.0.0:1"], "http": ["127.0.0.1:1"]},
            r"http: 127.0.0.1:1 and 0\.0\.0\.0:1 of ng exclude each other, .*",
        ),
        (
            {"ng": ["127.0.0.1:1", "0.0.0.0:1"]},
            r"ng: 0\.0\.0\.0:1 and 127.0.0.1:1 of ng exclude each other, .*",
        ),
        ({"rpc": ["[::1]:1"], "ng": ["[::]:1"]}, r"ng: \[::\]:1 and \[::1\]:1 of rpc exclude each other, .*"),
    ],
)
def test_an_address_is_that_of_one_socket(flags: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^command line: --{named}; "):
        load({**flags, "address": "192.0.2.1"})


def test_port_0_may_be_named_twice_because_each_gets_a_port_of_its_own() -> None:
    assert len(load({"rpc": ["127.0.0.1:0", "127.0.0.1:0"]}).rpc) == 2


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"timeout_url": ["ftp://127.0.0.1/"]}, "--timeout-url: .*is not a URL"),
        ({"timeout_url": ["http://127.0.0.1:99999/"]}, "--timeout-url: .*Port out of range"),
        ({"timeout_url": ["http://[::1/"]}, "^command line: --timeout-url: .*Invalid IPv6 URL"),
        ({"timeout_url": ["http://me:secret@127.0.0.1/"]}, "--timeout-url: a user in a URL"),
        ({"timeout_url": ["http://me:secret@127.0.0.1:99999/"]}, "--timeout-url: .*Port out of range"),
        ({"timeout_xmlrpc": "%%:8090"}, "--timeout-xmlrpc: '%%:8090' is not a URL"),
        ({"timeout_socket": ["udp:127.0.0.1:9"]}, "--timeout-socket: .*neither unix:PATH nor tcp:HOST:PORT"),
        ({"timeout_socket": ["unix:127.0.0.1:9"]}, "--timeout-socket: .*neither unix:PATH nor tcp:HOST:PORT"),
        ({"timeout_address": ["proxy.example"]}, "--timeout-address: .*is not an IP address"),
    ],
)
def test_a_target_for_reports_of_timeouts_is_checked(flags: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as refused:
        load(flags)
    assert "secret" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(toml: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nh\.toml: cannot be read: No such file.*--config"):
        load(file=toml)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(file=tmp_path)
    with pytest.raises(ConfigError, match=r"^/dev/zero: is longer than 1048576 bytes"):
        load(file=Path("/dev/zero"))
    toml.write_bytes(b"shards = 2\n\xff\xfe")
    with pytest.raises(ConfigError, match=r"nh\.toml:2: not UTF-8 text"):
        load(file=toml)


def test_an_error_has_the_line_of_the_file(toml: Path) -> None:
    toml.write_text("# silent_s = 1\nshards = 2\n\n  'silent_s'=0\n")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(toml))}:4: silent_s: 0 s is not in 1 to"):
        load(file=toml)
    toml.write_text("shards = 2\nrpc = [\n")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(toml))}:\d: .* is not valid TOML"):
        load(file=toml)


def test_a_rule_of_two_settings_looks_at_what_holds_in_the_end(toml: Path) -> None:
    toml.write_text('rpc_group = "root"')
    assert load(file=toml, environment={"NH_RPC_MODE": "0660"}).rpc_group_id == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("30", 30), ("30s", 30), ("1.5", 1.5), ("5m", 300), ("1h", 3600), ("1h30m", 5400)),
        *(("2d", 172_800), ("1500ms", 1.5), (" 90s ", 90), ("1e2", 100), ("0.5m", 30)),
    ],
)
def test_spans_of_time_may_have_units_in_every_source(toml: Path, text: str, seconds: float) -> None:
    toml.write_text(f'silent_s = "{text}"')
    assert load(file=toml).silent_s == seconds
    assert load(environment={"NH_SILENT_S": text}).silent_s == seconds
    assert load({"silent_s": text}).silent_s == seconds


@given(st.text(alphabet="0123456789.smhd-+e_ \u0663") | st.text())
def test_every_text_is_a_span_of_time_or_an_error_in_nhs_words(text: str) -> None:
    try:
        seconds = parse_seconds(text)
    except ValueError as exc:
        assert "is not a span of time, such as 30, 30s, 5m or 1h30m" in str(exc)
    else:
        assert math.isfinite(seconds) or "e" in text.lower()


_VALUES = st.none() | st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(Settings.__struct_fields__)), _VALUES)
def test_every_value_is_accepted_or_refused_in_nhs_words(name: str, value: object) -> None:
    try:
        load({name: value})
    except ConfigError as exc:
        message = str(exc)
        flag = f"--{name.replace('_', '-')}"
        assert message.startswith(f"command line: {flag}: ") or name in ("address", "interface")
        assert message.isprintable()
        assert not foreign_words(message, json.dumps(value, default=str))


def test_the_origin_of_each_setting_is_known(toml: Path) -> None:
    toml.write_text("shards = 2\nsilent_s = 60\ndscp = 1\n")
    loaded = read_settings(flags={"dscp": 46, "hold_s": None}, environment={"NH_SILENT_S": "70"}, file=toml)
    assert loaded.origins == {"shards": f"{toml}:1", "silent_s": "environment", "dscp": "command line"}
    assert loaded.without_effect == {"silent_s": (f"{toml}:2",), "dscp": (f"{toml}:3",)}


def test_a_value_that_is_said_twice_is_in_force_wherever_it_is_said(toml: Path) -> None:
    toml.write_text("silent_s = 60\ndscp = 1\nhold_s = 600\n")
    environment = {"NH_SILENT_S": "1m", "NH_DSCP": "2", "NH_HOLD_S": "700"}
    loaded = read_settings(flags={"dscp": 1, "hold_s": 800}, environment=environment, file=toml)
    assert loaded.without_effect == {"dscp": ("environment",), "hold_s": (f"{toml}:3", "environment")}


# --- what is derived ------------------------------------------------------------------------------


def test_ports_and_mode_are_read_as_numbers() -> None:
    settings = Settings(ports="1024-65535", rpc_mode="0660")
    assert (settings.port_range, settings.rpc_mode_bits) == ((1024, 65535), 0o660)


def test_a_group_is_a_name_or_a_number() -> None:
    assert Settings().rpc_group_id is None
    assert Settings(rpc_group="7", rpc_mode="0660").rpc_group_id == 7
    assert Settings(rpc_group="root", rpc_mode="0660").rpc_group_id == 0
    with pytest.raises(ConfigError, match="rpc_group: this host has no group 'no such group'"):
        _ = Settings(rpc_group="no such group", rpc_mode="0660").rpc_group_id


def test_interfaces_are_read_with_what_they_announce_and_their_ports() -> None:
    settings = Settings(
        address="10.0.0.5!192.0.2.1",
        interface=(
            "pub/2001:DB8:0::1",
            "pub/192.0.2.2@20000-20999",
            "alias/192.0.2.2!198.51.100.1@20000-20999",
        ),
    )
    assert settings.interfaces == (
        Interface("default", "10.0.0.5", "192.0.2.1"),
        Interface("pub", "2001:db8::1", "2001:db8::1"),
        Interface("pub", "192.0.2.2", "192.0.2.2", (20000, 20999)),
        Interface("alias", "192.0.2.2", "198.51.100.1", (20000, 20999)),
    )


def test_the_runtime_directory_depends_on_who_runs_nh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert Settings(runtime_dir="/x").runtime_path == Path("/x")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Settings().rpc_addresses == ("/run/nh/nh.sock",)
    monkeypatch.setattr("os.geteuid", lambda: 7)
    assert Settings().runtime_path == Path("/run/user/7/nh")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert Settings().runtime_path == Path("/tmp/nh-7")


def test_the_state_directory_depends_on_who_runs_nh_and_on_which_relay_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setenv("HOME", "/home/seven")
    assert Settings(state="/x").state_path == Path("/x")
    assert Settings(state="sqlite:///x").state_path == Path("/x")
    for elsewhere in ("off", "another://host/x"):
        assert Settings(state=elsewhere).state_path is None
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Settings().state_path == Path("/var/lib/nh")
    assert Settings(runtime_dir="/run/nh").state_path == Path("/var/lib/nh")
    assert Settings(runtime_dir="/run/nh2").state_path == Path("/var/lib/nh/%2Frun%2Fnh2")
    monkeypatch.setattr("os.geteuid", lambda: 7)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert Settings().state_path == Path("/state/nh")
    for not_usable in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", not_usable)
        assert Settings().state_path == Path("/home/seven/.local/state/nh")


def test_shards_get_the_settings_of_the_relay_and_no_others() -> None:
    settings = Settings(dscp=46, policy=SourcePolicy.FIRST, max_calls=10, shards=3)
    assert settings.relay == RelaySettings(dscp=46, policy=SourcePolicy.FIRST, max_calls=10)


# --- the reference --------------------------------------------------------------------------------


def rows() -> Iterator[tuple[str, ...]]:
    """The cells of each setting's line in the tables of the reference."""
    for line in REFERENCE.read_text().splitlines():
        if line.startswith("| `"):
            yield tuple(cell.strip() for cell in line.strip("|").split("|"))


ROWS = {row[0].strip("`"): row for row in rows()}
FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def test_the_reference_has_every_setting_and_no_other() -> None:
    assert set(ROWS) == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_the_reference_says_flag_variable_default_and_meaning(name: str) -> None:
    _, flag, variable, _, _, default = ROWS[name]
    assert flag == f"`--{name.replace('_', '-')}`"
    assert variable == f"`NH_{name.upper()}`"
    shown: Any = tomllib.loads(f"value = {default.strip('`')}")["value"]
    assert shown == msgspec.json.decode(msgspec.json.encode(getattr(Settings(), name)))
    assert re.search(rf"^- .*\*\*`{name}`\*\*", REFERENCE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row[3] in ("integer", "seconds")])
def test_the_reference_says_the_true_range(name: str) -> None:
    low, high = (float(bound) for bound in ROWS[name][4].split(" to "))
    step = 1 if ROWS[name][3] == "integer" else 1e-6
    kind = int if ROWS[name][3] == "integer" else float
    for value in (low, high):
        assert getattr(load({name: kind(value)}), name) == value
    for value in (low - step, high + step):
        with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}: "):
            load({name: kind(value)})


@pytest.mark.parametrize("name", ["policy", "log_level"])
def test_the_reference_lists_all_choices(name: str) -> None:
    kind = type(getattr(Settings(), name))
    assert ROWS[name][4].split(", ") == [choice.value for choice in kind]


def test_the_file_to_begin_with_is_valid(toml: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    toml.write_text(example)
    settings = load(file=toml)
    assert (settings.shards, settings.dscp, settings.rpc_mode_bits) == (8, 46, 0o660)


@pytest.mark.parametrize("text", ["fe80::1", "fe80::1%eth0", "192.0.2.1!fe80::1"])
def test_no_address_of_the_relay_is_link_local(text: str) -> None:
    with pytest.raises(ValueError, match="is a link-local address: no SDP can say to which link it belongs"):
        parse_address(text)


def test_an_address_of_the_relay_that_is_mapped_to_ipv6_is_one_of_ipv4() -> None:
    """The relay bound the mapped one, at which no media arrive."""
    for text in ("::ffff:10.0.0.5!192.0.2.1", "10.0.0.5!::ffff:192.0.2.1"):
        assert parse_address(text) == Interface("default", "10.0.0.5", "192.0.2.1")
    with pytest.raises(ValueError, match="is every address of the host"):
        parse_address("::ffff:0.0.0.0")
