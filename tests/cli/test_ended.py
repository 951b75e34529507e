"""`nh calls --ended`, and what `nh calls` and `nh why` say of a call that has ended."""

import json
import re
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from nh.cli.main import app
from tools.harness.call import RelayedCall
from tools.harness.relay import Relay, running_relay

EVIL = b"z\0\x1b[2J\xff\\"
EVIL_SHOWN = r"z\x00\x1b[2J\xff\\"


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    """A relay with three calls that have ended, the first of which was one-way."""
    with running_relay(shards=1) as relay:
        with RelayedCall(relay.unix_address, b"one-way") as call:
            call.alice.send(b"hello", call.for_alice)
            call.bob.receive()
            call.end()
        for call_id in (b"both-ways", EVIL):
            with RelayedCall(relay.unix_address, call_id) as call:
                call.talk()
                call.end()
        yield relay


def nh(relay: Relay, *words: str) -> Result:
    return CliRunner().invoke(app, [words[0], "--runtime-dir", str(relay.directory), *words[1:]])


def test_the_calls_that_ended_last_come_first_with_their_reason(relay: Relay) -> None:
    lines = nh(relay, "calls", "--ended").stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["call-id", EVIL_SHOWN, "both-ways", "one-way"]
    assert all("closed" in line and "native" in line for line in lines[1:])


def test_a_list_is_limited_and_says_so(relay: Relay) -> None:
    result = nh(relay, "calls", "--ended", "--limit", "1", "--json")
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["reason"] == "closed"
    assert "there is more than 1 call" in result.stderr
    (line,) = nh(relay, "calls", "--ended", "--contains", "both", "--json").stdout.splitlines()
    assert json.loads(line)["call_id"] == "both-ways"


@pytest.mark.parametrize("words", [("calls", "one-way"), ("calls", "--ended", "one-way")])
def test_the_record_of_a_call_says_who_ended_it_and_what_happened(
    relay: Relay, words: tuple[str, ...]
) -> None:
    shown = nh(relay, *words).stdout
    assert "closed by native close of pid" in shown
    assert "nothing came" in shown
    assert "latched port" in shown
    assert shown.splitlines()[-1].endswith("ended: closed")


def test_a_record_in_json_is_that_of_the_protocol(relay: Relay) -> None:
    record = json.loads(nh(relay, "calls", "--ended", "both-ways", "--json").stdout)
    assert (record["packets"], record["events"][0]["event"]) == (4, "begun")


def test_why_judges_a_call_that_has_ended(relay: Relay) -> None:
    assert nh(relay, "why", "both-ways").exit_code == 0
    result = nh(relay, "why", "one-way")
    assert (result.exit_code, "nothing came" in result.stdout) == (3, True)
    call, ended, *_, watch = result.stdout.splitlines()
    assert call == "call one-way"
    assert re.fullmatch(r"  ended .*, after .*: closed by native close of pid .*", ended)
    assert watch.startswith("  in a capture of it: tcpdump -nr FILE 'udp and (port ")


def test_why_in_json_says_whether_and_how_the_call_has_ended(relay: Relay) -> None:
    told = json.loads(nh(relay, "why", "--json", "one-way").stdout)
    record = json.loads(nh(relay, "calls", "--ended", "one-way", "--json").stdout)
    assert told["ended"] == {name: record[name] for name in ("end", "duration_s", "reason", "ended_by")}
    assert told["ended"]["ended_by"]["command"] == "close"
    with RelayedCall(relay.unix_address, b"goes-on") as call:
        assert json.loads(nh(relay, "why", "--json", "goes-on").stdout)["ended"] is None
        call.end()


def test_a_hostile_call_id_is_shown_so_that_it_can_be_typed(relay: Relay) -> None:
    shown = nh(relay, "calls", "--ended", "--", EVIL_SHOWN).stdout
    assert "\x1b[2J" not in shown
    assert EVIL_SHOWN in shown


def test_a_call_that_was_never_there_is_unknown(relay: Relay) -> None:
    for words in (("calls", "never"), ("calls", "--ended", "never"), ("why", "never")):
        result = nh(relay, *words)
        assert (result.exit_code, "no call 'never' here" in result.stderr) == (1, True)


def test_options_of_calls_that_go_on_are_refused(relay: Relay) -> None:
    result = nh(relay, "calls", "--ended", "--silent")
    assert result.exit_code == 2
    assert "--ended takes --contains and --limit" in result.stderr
