"""A clock that jumps: calls neither end by it nor live for ever, while nh runs and over a restart."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exhaustion.faults import DAY_S, YEAR_S, Faults
from tests.exhaustion.new_calls import no_shard_fails
from tests.profiles import quick_first
from tools.harness.call import RelayedCall
from tools.harness.relay import SILENT_S, Place, Relay
from tools.harness.waiting import eventually

OTHER_BOOT = "01234567-89ab-cdef-0123-456789abcdef"


@contextlib.contextmanager
def running(place: Place, state: Path | None = None, *, silent_s: float = SILENT_S) -> Iterator[Relay]:
    """A relay whose calls live for `silent_s` after their last packet."""
    environment = {"NH_SILENT_S": str(silent_s), "NH_STATE": "off" if state is None else str(state)}
    relay = Relay(place, 1, environment)
    with relay.program:
        relay.wait_until_ready()
        with no_shard_fails(relay):
            yield relay
        assert relay.program.ended or relay.program.stop() == 0


def expiry_was_looked_at_again(relay: Relay) -> None:
    """Return once the shard has been through its rounds several times."""
    since = relay.stats().shards[0].heartbeat
    eventually(lambda: relay.stats().shards[0].heartbeat > since + 1.6, "the shard went on with its rounds")


@pytest.mark.parametrize("jump_s", quick_first([YEAR_S, -DAY_S]))
def test_a_running_relay_does_not_mind_a_clock_that_jumps(place: Place, faults: Faults, jump_s: int) -> None:
    with running(place) as relay, RelayedCall(relay.unix_address) as one:
        one.talk()
        faults.begin("clock_s", jump_s)
        expiry_was_looked_at_again(relay)
        assert one.call_id in {call.call_id for call in relay.calls().calls}
        one.talk()
        with RelayedCall(relay.unix_address) as other:
            other.talk()


@pytest.mark.parametrize("jump_s", quick_first([YEAR_S, -DAY_S]))
def test_a_silent_call_ends_in_time_whatever_the_clock_does(
    place: Place, faults: Faults, jump_s: int
) -> None:
    with running(place, silent_s=1) as relay, RelayedCall(relay.unix_address) as one:
        faults.begin("clock_s", jump_s)
        relay.wait_until_gone(one.call_id)
        assert relay.stats().totals.expired_silent <= 1


@contextlib.contextmanager
def stored_call(place: Place, state: Path) -> Iterator[RelayedCall]:
    """A call of a relay that was killed."""
    with contextlib.ExitStack() as phones:
        relay = Relay(place, 1, {"NH_STATE": str(state)})
        with relay.program:
            relay.wait_until_ready()
            one = phones.enter_context(RelayedCall(relay.unix_address))
            one.talk()

            def is_stored() -> bool:
                supervisor = relay.stats().supervisor
                return supervisor.store_written >= 1 and supervisor.store_pending == 0

            eventually(is_stored, "it is stored")
            relay.kill_all()
        yield one


@pytest.mark.full
@pytest.mark.parametrize("jump_s", [YEAR_S, -DAY_S])
def test_within_one_boot_calls_come_back_whatever_the_clock_did(
    place: Place, tmp_path: Path, faults: Faults, jump_s: int
) -> None:
    with stored_call(place, tmp_path / "state") as one:
        faults.begin("clock_s", jump_s)
        with running(place, tmp_path / "state") as relay:
            expiry_was_looked_at_again(relay)
            assert relay.stats().totals.calls == 1
            one.talk()


@pytest.mark.full
@pytest.mark.parametrize("jump_s", [YEAR_S, -DAY_S])
@pytest.mark.parametrize("another_boot", [False, True])
def test_no_clock_makes_stored_calls_live_for_ever(
    place: Place, tmp_path: Path, faults: Faults, jump_s: int, another_boot: bool
) -> None:
    with stored_call(place, tmp_path / "state") as one:
        faults.begin("clock_s", jump_s)
        if another_boot:
            faults.begin("boot_id", OTHER_BOOT)
        with running(place, tmp_path / "state", silent_s=1) as relay:
            relay.wait_until_gone(one.call_id)
            eventually(relay.all_ports_are_free, "its ports are free")


@pytest.mark.full
def test_after_another_boot_a_clock_that_went_back_means_that_no_time_has_passed(
    place: Place, tmp_path: Path, faults: Faults
) -> None:
    with stored_call(place, tmp_path / "state") as one:
        faults.begin("clock_s", -DAY_S)
        faults.begin("boot_id", OTHER_BOOT)
        with running(place, tmp_path / "state") as relay:
            expiry_was_looked_at_again(relay)
            one.talk()


@pytest.mark.full
def test_after_another_boot_a_clock_that_jumped_forward_is_like_a_long_stop(
    place: Place, tmp_path: Path, faults: Faults
) -> None:
    with stored_call(place, tmp_path / "state") as one:
        faults.begin("clock_s", YEAR_S)
        faults.begin("boot_id", OTHER_BOOT)
        with running(place, tmp_path / "state") as relay:
            relay.wait_until_gone(one.call_id)
            eventually(relay.all_ports_are_free, "its ports are free")
