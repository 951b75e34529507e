"""Rules on what the SDPs say: no media are expected now. They stand before all others."""

from typing import Final

from nh.verdict.ruling import Direction, Ruling, State, received

_MUTE: Final = ("recvonly", "inactive")
_DEAF: Final = ("sendonly", "inactive")


def not_answered(direction: Direction) -> Ruling | None:
    """The session has no answer."""
    if direction.state != "offered":
        return None
    return Ruling(State.WAITING, f"the call is not answered yet; {received(direction.leg)}")


def carried(direction: Direction) -> Ruling | None:
    """Both ends send it to the port of another medium."""
    if direction.carried_by is None or not direction.silent:
        return None
    there = f"the ports of session {direction.carried_by}"
    return Ruling(State.WAITING, f"the ends bundle it: its packets use {there}, and count there")


def on_hold(direction: Direction) -> Ruling | None:
    """No medium is wanted by both ends, and this end is silent."""
    if direction.state != "hold" or not direction.silent:
        return None
    said = direction.leg.direction, direction.other.direction
    by = (
        ""
        if said == ("sendrecv", "sendrecv")
        else f" (its SDP says {said[0]}, that of the other end {said[1]})"
    )
    return Ruling(State.WAITING, f"the media are on hold{by}; {received(direction.leg)}")


def sends_nothing(direction: Direction) -> Ruling | None:
    """This end says that it sends nothing, and that is so."""
    if direction.leg.direction not in _MUTE or not direction.silent:
        return None
    said = f"the SDP of this end says {direction.leg.direction}, so it sends nothing"
    return Ruling(State.WAITING, f"{said}; {received(direction.leg)}")


def hears_nothing(direction: Direction) -> Ruling | None:
    """The other end says that it does not want to hear this one."""
    if direction.other.direction not in _DEAF:
        return None
    said = f"the SDP of the other end says {direction.other.direction}, so it plays nothing"
    return Ruling(State.WAITING, f"{said}; {received(direction.leg)}")
