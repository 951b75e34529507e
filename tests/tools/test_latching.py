"""tools.latching: attacks and accidents at real relays, whose table is in docs/explanation/security.md.

What becomes of them at nh: tests/isolation/test_strangers.py.
"""

import pytest

from tools.latching.__main__ import call_for, main
from tools.latching.relays import running_nh
from tools.latching.scenarios import REBOUND, ROAMS, Outcome


def test_an_outcome_says_what_strangers_gained_and_the_phone_lost() -> None:
    assert str(Outcome(300, 1, 24)) == "1 of 300 passed, 24 leaked"
    assert not Outcome(300, 1, 0).good
    lost = Outcome(asks_received=True, received_s=0.02)
    assert str(lost) == "received after 0.02 s, not answered"
    assert not lost.good
    assert (
        str(Outcome(asks_received=True, received_s=0.0, answered_s=0.0))
        == "received at once, answered at once"
    )


def test_a_relay_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["rtpproxy"])
    assert "no such relay: rtpproxy; there are: nh; " in capsys.readouterr().err


@pytest.mark.full
def test_a_phone_that_its_nat_moves_is_not_received_where_the_source_is_strict() -> None:
    with running_nh(latch_window_s=0.3, policy="learned") as relay:
        for scenario in (REBOUND, ROAMS):
            with call_for(relay.ng, scenario, latched_s=1.5, limit_s=0.5) as talk:
                moved = scenario.run(talk)
                assert (moved.received_s, moved.answered_s) == (None, None)
