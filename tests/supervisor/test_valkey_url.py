"""The URL of a store on a server, and the bytes of a call there: read exactly, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.address import TcpAddress
from nh.config import Settings
from nh.config.sources import load_settings
from nh.errors import ConfigError
from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.open import locate
from nh.supervisor.store.valkey.record import decode, encode
from nh.supervisor.store.valkey.url import SCHEMES, parse_url

SECRET = "open-sesame"


def test_what_a_url_leaves_out_has_its_default() -> None:
    target = parse_url("valkey", "store.example")
    assert target.hosts == (TcpAddress("store.example", 6379),)
    assert (target.database, target.prefix, target.user, target.password, target.tls) == (
        0,
        "nh",
        "",
        "",
        False,
    )
    assert parse_url("valkey", "store.example?prefix=a").prefix == "a"


def test_a_url_says_server_account_database_prefix_and_tls() -> None:
    target = parse_url(
        "valkeys", "nh:open%2Fsesame%40@[fd00::1]:7000/3?prefix=relay-1&ca=/etc/ca.pem&lease=2.5"
    )
    assert target.hosts == (TcpAddress("fd00::1", 7000),)
    assert (target.user, target.password) == ("nh", "open/sesame@")
    assert (target.database, target.prefix, target.ca, target.lease_s) == (3, "relay-1", "/etc/ca.pem", 2.5)
    assert target.tls
    assert target.name == "valkeys://[fd00::1]:7000/3?prefix=relay-1"
    over_tls = [scheme for scheme in SCHEMES if parse_url(scheme, "host").tls]
    assert over_tls == ["valkeys", "rediss", "valkeys+cluster", "rediss+cluster"]


def test_several_hosts_are_sentinels() -> None:
    target = parse_url("redis", "a,b:7001,c/0?sentinel=main")
    assert [each.port for each in target.hosts] == [26379, 7001, 26379]
    assert target.sentinel == "main"


def test_nodes_of_a_cluster_are_several_hosts() -> None:
    target = parse_url("valkeys+cluster", "a,b:7001/0?prefix=relay-1")
    assert (target.cluster, target.tls) == (True, True)
    assert target.hosts == (TcpAddress("a", 6379), TcpAddress("b", 7001))
    assert target.name == "valkeys+cluster://a:6379,b:7001/0?prefix=relay-1"
    for location, why in (("a/1", "has database 0 only"), ("a/0?sentinel=main", "has no Sentinels")):
        with pytest.raises(ConfigError, match=why):
            parse_url("redis+cluster", location)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("a,b/0", "several hosts are Sentinels: .* or nodes of a cluster: say valkey\\+cluster://"),
        (f":{SECRET}@/0", "the host or the port of the URL cannot be read"),
        (f":{SECRET}@host:70000/0", "the host or the port of the URL cannot be read"),
        (f":{SECRET}/x@host:1/0", "as %40, %2F and %23"),
        (f":{SECRET}#@host:1/0", "as %40, %2F and %23"),
        ("host/x", "is not a number"),
        ("host/65536", "is not a number"),
        ("host?prefix=a%20b", "prefix 'a b' is not"),
        ("host?prefix=a&lease=5&prefix=b", "the URL has the option prefix more than once"),
        ("host?prefix=a&prefix=a", "the URL has the option prefix more than once"),
        ("host?prefix=", "option prefix of the URL has no value"),
        ("host?colour=red", "'colour' is no option of the URL; say one of ca, "),
        ("host?lease=0.5", "is not 1 to 60 seconds"),
        ("host?lease=nan", "is not 1 to 60 seconds"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_without_the_password(location: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        parse_url("valkey", location)
    assert SECRET not in str(refused.value)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), max_size=60))
def test_any_text_is_a_url_or_refused_in_words(location: str) -> None:
    try:
        target = parse_url("valkey", location)
    except ConfigError as refused:
        assert str(refused).startswith("state: ")
    else:
        assert target.hosts


def test_the_setting_is_checked_before_a_server_is_asked() -> None:
    scheme, _ = locate(Settings(state="valkey://host/0?prefix=a", runtime_dir="/run/test"))
    assert scheme == "valkey"
    with pytest.raises(ConfigError, match="is no option"):
        locate(Settings(state="valkey://host/0?colour=red", runtime_dir="/run/test"))


def test_a_password_is_taken_from_the_environment_and_not_from_the_command_line() -> None:
    url = f"valkey://nh:{SECRET}@host/0"
    assert load_settings(flags={}, environment={"NH_STATE": url}).state == url
    with pytest.raises(ConfigError, match="password_file=PATH") as refused:
        load_settings(flags={"state": url}, environment={})
    assert SECRET not in str(refused.value)


def test_a_target_shows_no_password() -> None:
    target = parse_url("valkey", f"nh:{SECRET}@host/0?prefix=pair-1")
    assert target.password == SECRET
    assert f"{target} {target!r} {[target]}".count("prefix=pair-1") == 3
    assert SECRET not in f"{target} {target!r} {[target]}"


def test_where_the_password_ends_is_plain() -> None:
    with pytest.raises(ConfigError, match="as %40 and %2F") as refused:
        load_settings(flags={}, environment={"NH_STATE": f"valkey://nh:{SECRET}/more@host/0"})
    assert SECRET not in str(refused.value)


# --- records --------------------------------------------------------------------------------------


@given(st.binary(), st.binary(), st.floats(allow_nan=False, allow_infinity=False))
def test_a_record_is_the_call_again(call_id: bytes, snapshot: bytes, written_at: float) -> None:
    stored = StoredCall(call_id, snapshot, written_at)
    assert decode(call_id, encode(stored)) == stored


@given(st.binary(), st.binary(max_size=60))
def test_other_bytes_are_no_record(call_id: bytes, data: bytes) -> None:
    assert decode(call_id, data) is None


@given(st.binary(max_size=60), st.data())
def test_a_changed_record_is_none_and_neither_is_that_of_another_call(
    snapshot: bytes, data: st.DataObject
) -> None:
    record = bytearray(encode(StoredCall(b"a", snapshot, 1.5)))
    record[data.draw(st.integers(0, len(record) - 1))] ^= data.draw(st.integers(1, 255))
    assert decode(b"a", bytes(record)) is None
    assert decode(b"b", encode(StoredCall(b"a", snapshot, 1.5))) is None
