"""Rules on the checks of ICE, where the relay has ICE with an end: without them no media pass."""

from typing import Final

from nh.results import IceDetail
from nh.verdict.ruling import Direction, Ruling, State, ago, so_far

GONE_S: Final = 15.0
"""An end checks every few seconds for as long as it is there (RFC 7675 5.1: 5 s, and 30 s at most)."""

_COMPARE: Final = "compare a=ice-ufrag and a=ice-pwd of the SDPs that this end and the relay exchanged"


def sender_unchecked(direction: Direction) -> Ruling | None:
    """No check of the sender has passed, so nothing of it is taken."""
    ice = direction.leg.ice
    if ice is None or ice.checks or not ice.expected:
        return None
    if direction.begins and not ice.refused and not direction.dropped("source_mismatch"):
        return _not_yet(direction, direction.leg.local)
    return _unchecked(ice, direction.leg.local)


def receiver_unchecked(direction: Direction) -> Ruling | None:
    """No check of the receiver has passed, so nothing is sent to it."""
    ice = direction.other.ice
    if ice is None or ice.checks or not ice.expected or not direction.dropped("no_target"):
        return None
    if direction.begins and not ice.refused:
        return _not_yet(direction, direction.other.local)
    return _unchecked(ice, direction.other.local)


def checks_stopped(direction: Direction) -> Ruling | None:
    """The sender is silent, and checks no more."""
    ice = direction.leg.ice
    if ice is None or not direction.silent or ice.checked_s is None or ice.checked_s < GONE_S:
        return None
    return Ruling(
        State.PROBLEM,
        f"ICE: the last check came {ago(direction, ice.checked_s)}, and no media since",
        "the end has gone (a closed browser, a lost network), and its BYE is missing",
        "see whether the end still has the call; a new network needs a new nomination, or an ICE restart",
    )


def _not_yet(direction: Direction, local: str) -> Ruling:
    return Ruling(State.WAITING, f"ICE: no check has arrived at {local} {so_far(direction)}")


def _unchecked(ice: IceDetail, local: str) -> Ruling:
    refused = ice.refused
    if refused.get("wrong_password"):
        return Ruling(
            State.PROBLEM,
            f"ICE: checks have a wrong password ({refused['wrong_password']} came to {local})",
            "the end has another SDP than the relay wrote last, or a stranger guesses",
            _COMPARE,
        )
    if refused.get("wrong_ufrag"):
        return Ruling(
            State.PROBLEM,
            f"ICE: checks are for another user fragment ({refused['wrong_ufrag']} came to {local})",
            "the end has the SDP of another call or branch, or has restarted ICE without telling it",
            _COMPARE,
        )
    if refused:
        reasons = ", ".join(f"{number} {reason.replace('_', ' ')}" for reason, number in refused.items())
        return Ruling(
            State.PROBLEM,
            f"ICE: no check has passed at {local}: {reasons}",
            "the end's ICE is not that of RFC 8445, or strangers send here",
            "capture the checks with the filter",
        )
    return Ruling(
        State.PROBLEM,
        f"ICE: no check has arrived at {local}",
        "the end has not got the relay's SDP, has no ICE after all, or a firewall in between drops UDP",
        "see whether the SDP that this end received has the relay's a=candidate, with an address of this host"
        " that it can reach",
    )
