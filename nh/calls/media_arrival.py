"""Whether the media of a call arrive: from both ends, from one, from none. No I/O; `now` is an argument."""

from collections.abc import Iterator
from typing import NamedTuple

from nh.calls.call import Call
from nh.calls.leg import Leg
from nh.calls.media import Side
from nh.calls.media_state import SILENT_S, MediaState
from nh.calls.session import Session


class _Direction(NamedTuple):
    """What one end sends of one medium.

    Attributes:
        expected: whether the other end wants to receive it, and this one says that it sends.
        arrives: whether it has come within SILENT_S.
    """

    expected: bool
    arrives: bool


def is_answered(cseq: int, session: Session) -> bool:
    """Whether both ends of a session have announced media.

    Args:
        cseq: of its transaction; 0: ng's offer and answer, where the offer makes the session.
        session: the session.
    """
    return bool(cseq) or all(session.known(side) for side in Side)


def media_state(call: Call, *, now: float) -> MediaState:
    """The state of a call's media. Its sessions have to be noted before (Session.note).

    Audio decides where the call has any, because video and images often come from one end only; with ng each
    medium has a session of its own.

    Args:
        call: the call.
        now: monotonic seconds.
    """
    sessions = [
        session
        for cseq, session in call.sessions
        if session.replaced_at is None and is_answered(cseq, session)
    ]
    with_audio = [session for session in sessions if has_audio(session)]
    pairs = [pair for session in with_audio or sessions for pair in _pairs(session, now)]
    expected = [direction for pair in pairs for direction in pair if direction.expected]
    if not sessions:
        return MediaState.WAITING
    held = not expected or all(session.on_hold for session in with_audio or sessions)
    if held and not any(direction.arrives for direction in expected):
        return MediaState.HOLD
    one_way = any(
        one.expected and not one.arrives and other.arrives
        for pair in pairs
        for one, other in (pair, pair[::-1])
    )
    if not one_way and any(direction.arrives for direction in expected):
        return MediaState.FLOWING
    if now - max(session.created for session in sessions) < SILENT_S:
        return MediaState.WAITING
    return MediaState.ONE_WAY if one_way else MediaState.SILENT


def has_audio(session: Session) -> bool:
    """Whether one of its media is audio."""
    return any(medium.kind == "audio" for medium in session.group_from.media)


def main_medium(session: Session) -> tuple[str, Leg, Leg] | None:
    """The first audio medium, else the first one: its kind, and its legs from the FROM and the TO end."""
    for medium, from_, to in _media(session):
        return session.group_from.media[medium].kind, from_, to
    return None


def _media(session: Session) -> list[tuple[int, Leg, Leg]]:
    """Index and legs of each medium, of audio alone where there is any; without RTCP."""
    media = [(pair.medium, pair.from_, pair.to) for pair in session.pairs if pair.component == 0]
    return [each for each in media if session.group_from.media[each[0]].kind == "audio"] or media


def _pairs(session: Session, now: float) -> Iterator[tuple[_Direction, _Direction]]:
    offered, answered = session.group_from.media, session.group_to.media
    for medium, from_, to in _media(session):
        yield (
            _Direction(answered[medium].wanted and not offered[medium].mute, _arrives(from_, now)),
            _Direction(offered[medium].wanted and not answered[medium].mute, _arrives(to, now)),
        )


def _arrives(leg: Leg, now: float) -> bool:
    return leg.last_seen is not None and now - leg.last_seen < SILENT_S
