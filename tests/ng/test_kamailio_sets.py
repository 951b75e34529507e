"""Sets of relays behind a real Kamailio, by the recipes of docs/how-to/sets-of-relays.md."""

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.ng.kamailio import (
    DOCUMENT,
    NODES_LINE,
    SETS_DOCUMENT,
    Kamailio,
    answers,
    documented_block,
    replaced,
    running_documented,
)
from tests.ng.relays import NgRelay, call_ids, drain, running_nh
from tests.sip.calls import establish, hang_up, reinvite, talk
from tests.sip.phone import Phone
from tests.sip.proxy import FAR, NEAR
from tools.harness.program import Program
from tools.harness.waiting import eventually

pytestmark = pytest.mark.kamailio

FIRST, SECOND = "192.0.2.21:2223", "192.0.2.22:2223"
"""The relays of the page."""


@pytest.fixture(scope="module")
def first() -> Iterator[NgRelay]:
    with running_nh(shards=1) as relay:
        yield relay


@pytest.fixture(scope="module")
def second() -> Iterator[NgRelay]:
    with running_nh(shards=1) as relay:
        yield relay


def node(relay: NgRelay) -> str:
    """A relay as Kamailio's configuration has it, without its weight."""
    return f"{relay.address[0]}:{relay.address[1]}"


def url(relay: NgRelay) -> str:
    return f"udp:{node(relay)}"


@contextlib.contextmanager
def running_set(
    first: NgRelay,
    second: NgRelay,
    changes: Mapping[str, str] | None = None,
    *,
    more: str = "",
    script: Mapping[str, str] | None = None,
) -> Iterator[Kamailio]:
    """Kamailio with the set of the page, at which nearly every call goes to the first relay.

    Args:
        first, second: the relays.
        changes: what is other than on the page.
        more: further parameters.
        script: what is other in the configuration of Kamailio's page.
    """
    nodes = {f"{FIRST}=2": f"{node(first)}=100000", f"{SECOND}=1": f"{node(second)}=1"}
    soon = {'_disable_tout", 5': '_disable_tout", 1'}
    block = replaced(documented_block(SETS_DOCUMENT, "rtpengine_retr"), changes or nodes | soon)
    with running_documented(DOCUMENT, {NODES_LINE: block + more, **(script or {})}) as kamailio:
        yield kamailio


@contextlib.contextmanager
def two_phones(kamailio: Kamailio) -> Iterator[tuple[Phone, Phone]]:
    with Phone("alice", NEAR, kamailio.near) as alice, Phone("bob", FAR, kamailio.near) as bob:
        yield alice, bob


def relay_of(phone: Phone, *relays: NgRelay) -> NgRelay:
    """The relay that a phone sends its media to."""
    [relay] = [relay for relay in relays if phone.target[1] in relay.ports]
    return relay


def call_through(kamailio: Kamailio, relay: NgRelay) -> None:
    """A call from INVITE to BYE, which this relay carries."""
    with two_phones(kamailio) as (alice, bob):
        establish(alice, bob)
        talk(alice, bob)
        assert {alice.target[1], bob.target[1]} <= set(relay.ports)
        hang_up(alice, bob)
        assert alice.call_id.decode() not in call_ids(relay)


@contextlib.contextmanager
def silent(relay: NgRelay) -> Iterator[None]:
    """The relay's supervisor is stopped: it answers nothing, and its sockets are open."""
    process = psutil.Process(relay.program.pid)
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def waits(kamailio: Kamailio, command: str = "offer") -> int:
    """How often Kamailio has waited for a silent relay, in vain."""
    return sum(f'timeout waiting reply for command "{command}"' in line for line in kamailio.program.lines)


# --- which relay ----------------------------------------------------------------------------------


def test_relays_get_calls_by_their_weights(first: NgRelay, second: NgRelay) -> None:
    """The Call-IDs are fixed, so that the shares are the same in each run."""
    weights = {f"{FIRST}=2": f"{node(first)}=2", f"{SECOND}=1": f"{node(second)}=1"}
    calls: Counter[NgRelay] = Counter()
    with running_set(first, second, weights) as kamailio, two_phones(kamailio) as (alice, bob):
        for number in range(120):
            alice.invite(bob, call_id=f"weights-{number}@example.org")
            bob.answer(bob.receive_request("INVITE"), 486)
            calls[relay_of(bob, first, second)] += 1
            alice.ack(alice.receive_response(486))
            bob.receive_request("ACK")
            bob.forget()
    assert 0.55 < calls[first] / 120 < 0.78, "two of three calls"


def test_a_call_stays_at_its_relay_when_others_would_get_it_now(first: NgRelay, second: NgRelay) -> None:
    with running_set(first, second) as kamailio, two_phones(kamailio) as (alice, bob):
        kamailio.rpc("rtpengine.enable", url(first), "0")
        establish(alice, bob)
        kamailio.rpc("rtpengine.enable", url(first), "1")
        call_through(kamailio, first)
        for one, other in ((alice, bob), (bob, alice)):
            reinvite(one, other)
            assert {relay_of(one, first, second), relay_of(other, first, second)} == {second}
        talk(alice, bob)
        hang_up(bob, alice)
        assert alice.call_id.decode() not in call_ids(second)


def test_calls_of_one_carrier_have_a_set_of_their_own(first: NgRelay, second: NgRelay) -> None:
    nodes = replaced(documented_block(SETS_DOCUMENT, "setid_avp"), {FIRST: node(first), SECOND: node(second)})
    choice = replaced(documented_block(SETS_DOCUMENT, "add_rr_param"), {"192.0.2.50": FAR})
    behind = '    if (is_method("BYE")) {\n        xlog'
    changes = {
        NODES_LINE: nodes,
        "        record_route();": f"{choice}\n        record_route();",
        behind: documented_block(SETS_DOCUMENT, "check_route_param") + behind,
    }
    with running_documented(DOCUMENT, changes) as kamailio:
        for near, far, relay in ((NEAR, FAR, first), (FAR, NEAR, second)):
            with Phone("alice", near, kamailio.near) as alice, Phone("bob", far, kamailio.near) as bob:
                establish(alice, bob)
                reinvite(bob, alice)
                assert {relay_of(alice, first, second), relay_of(bob, first, second)} == {relay}
                hang_up(bob, alice)
                assert alice.call_id.decode() not in call_ids(relay)


# --- relays that take no calls --------------------------------------------------------------------


def test_a_silent_relay_costs_one_wait_and_is_used_again_when_it_answers(
    first: NgRelay, second: NgRelay
) -> None:
    with running_set(first, second) as kamailio, two_phones(kamailio) as (alice, bob):
        establish(alice, bob)
        assert relay_of(alice, first, second) is first
        with silent(first):
            with two_phones(kamailio) as (carol, dave):
                carol.invite(dave)
                carol.retransmit()
                carol.retransmit()
                dave.answer(dave.receive_request("INVITE"), 486)
                carol.ack(carol.receive_response(486))
                dave.receive_request("ACK")
                assert relay_of(dave, first, second) is second
            for _ in range(3):
                call_through(kamailio, second)
            assert waits(kamailio) == 1

            alice.reinvite()
            alice.ack(alice.receive_response(503))
            assert waits(kamailio) == 1
            talk(alice, bob)
        eventually(lambda: goes_through(kamailio, first), "the relay is used again", poll_s=0.1)
        hang_up(alice, bob)
        assert alice.call_id.decode() not in call_ids(first)


def goes_through(kamailio: Kamailio, relay: NgRelay) -> bool:
    """Whether the next new call is relayed by this relay."""
    with two_phones(kamailio) as (alice, bob):
        establish(alice, bob)
        hang_up(alice, bob)
        return alice.target[1] in relay.ports


def test_a_call_that_no_relay_takes_is_refused(first: NgRelay, second: NgRelay) -> None:
    with running_set(first, second) as kamailio, two_phones(kamailio) as (alice, bob):
        for relay in (first, second):
            kamailio.rpc("rtpengine.enable", url(relay), "0")
        alice.invite(bob)
        alice.ack(alice.receive_response(503))


def test_a_relay_that_an_operator_has_disabled_keeps_its_calls(first: NgRelay, second: NgRelay) -> None:
    with running_set(first, second) as kamailio, two_phones(kamailio) as (alice, bob):
        establish(alice, bob)
        kamailio.rpc("rtpengine.enable", url(first), "0")
        for _ in range(3):
            call_through(kamailio, second)
        reinvite(alice, bob)
        talk(alice, bob)
        assert relay_of(alice, first, second) is first
        hang_up(bob, alice)
        assert alice.call_id.decode() not in call_ids(first)


@pytest.mark.full  # seconds of measurements
def test_a_relay_at_its_load_limit_is_passed_over(second: NgRelay) -> None:
    with (
        running_nh(shards=1, max_bandwidth=1) as busy,
        running_set(busy, second) as kamailio,
        two_phones(kamailio) as (alice, bob),
    ):
        establish(alice, bob)

        def goes_elsewhere_while_they_talk() -> bool:
            talk(alice, bob)
            return goes_through(kamailio, second)

        eventually(goes_elsewhere_while_they_talk, "new calls are relayed by the next relay")
        assert waits(kamailio) == 0
        eventually(
            lambda: goes_through(kamailio, busy), "it is used again, because nothing arrives", poll_s=0.1
        )
        assert relay_of(alice, busy, second) is busy
        hang_up(alice, bob)


# --- relays that come and go ----------------------------------------------------------------------


def test_calls_of_a_disabled_relay_move_with_a_reinvite_and_are_heard_all_the_time(
    first: NgRelay, second: NgRelay
) -> None:
    [variable, move] = (documented_block(SETS_DOCUMENT, what) for what in ("shvset", "$shv(moving)"))
    changes = {"# False without an SDP, too": f"{move}\n# False without an SDP, too"}
    with (
        running_set(first, second, more=variable, script=changes) as kamailio,
        two_phones(kamailio) as (alice, bob),
    ):
        establish(alice, bob)
        assert relay_of(alice, first, second) is first
        kamailio.rpc("rtpengine.enable", url(first), "0")
        kamailio.rpc("pv.shvSet", "moving", "int", "1")
        alice.reinvite()
        alice.retransmit()
        invite = bob.receive_request("INVITE")
        assert relay_of(alice, first, second) is first
        alice.media[0].send(b"meanwhile", alice.target)
        assert bob.media[0].receive()[0] == b"meanwhile"
        bob.answer(invite, 200, sdp=True)
        alice.ack(alice.receive_response(200))
        bob.receive_request("ACK")
        assert {relay_of(alice, first, second), relay_of(bob, first, second)} == {second}
        talk(alice, bob)
        hang_up(bob, alice)
        assert alice.call_id.decode() not in call_ids(second)


def test_a_call_that_kamailio_has_forgotten_is_set_up_anew_by_a_reinvite(
    first: NgRelay, second: NgRelay
) -> None:
    with running_set(first, second) as kamailio, two_phones(kamailio) as (alice, bob):
        kamailio.rpc("rtpengine.enable", url(first), "0")
        establish(alice, bob)
        assert relay_of(alice, first, second) is second
        kamailio.program.stop()
        with Program(kamailio.program.arguments) as restarted:
            restarted.wait_until(lambda: answers(kamailio.near), "Kamailio answers")
            talk(alice, bob)
            reinvite(alice, bob)
            assert {relay_of(alice, first, second), relay_of(bob, first, second)} == {first}
            talk(alice, bob)
            hang_up(bob, alice)
            assert alice.call_id.decode() not in call_ids(first)


@pytest.mark.full  # Kamailio reads the table again after ten seconds at the earliest
def test_relays_come_and_go_in_a_table_without_a_lost_call(second: NgRelay, tmp_path: Path) -> None:
    block = replaced(documented_block(SETS_DOCUMENT, "db_url"), {"/etc/kamailio/dbtext": str(tmp_path)})
    times = 'modparam("rtpengine", "rtpengine_allow_op", 2)\n'
    modules = 'loadmodule "rtpengine.so"'
    changes = {modules: f'loadmodule "db_text.so"\n{modules}', NODES_LINE: block + times}
    version, table = tables_of_the_page()
    (tmp_path / "version").write_text(version)

    def write(*relays: NgRelay) -> None:
        rows = [
            replaced(line, {old.replace(":", r"\:"): node(relay).replace(":", r"\:")})
            for relay, line, old in zip(relays, table.splitlines()[1:], (FIRST, SECOND), strict=False)
        ]
        (tmp_path / "rtpengine").write_text("\n".join([table.splitlines()[0], *rows, ""]))

    with running_nh(shards=1) as leaving:
        write(leaving)
        os.utime(tmp_path / "rtpengine", (0, 0))  # db_text tells changes by whole seconds
        with running_documented(DOCUMENT, changes) as kamailio, two_phones(kamailio) as (alice, bob):
            establish(alice, bob)
            assert relay_of(alice, leaving, second) is leaving
            write(leaving, second)
            eventually(lambda: reloads(kamailio), "Kamailio reads the table", 20, poll_s=0.5)
            eventually(lambda: goes_through(kamailio, second), "the new relay is used")
            drain(leaving)
            for _ in range(3):
                call_through(kamailio, second)
            talk(alice, bob)
            hang_up(bob, alice)
            assert leaving.program.wait() == 0
            call_through(kamailio, second)


def reloads(kamailio: Kamailio) -> bool:
    """Whether Kamailio reads the table again; it refuses that soon after the last time."""
    return "error" not in kamailio.rpc("rtpengine.reload")


def tables_of_the_page() -> tuple[str, str]:
    """The page's files of a database of text: the versions, and the relays."""
    blocks = [block.split("```")[0] for block in SETS_DOCUMENT.read_text().split("```\n")]
    [version] = [block for block in blocks if block.startswith("table_name(")]
    [table] = [block for block in blocks if block.startswith("id(int,auto)")]
    return version, table
