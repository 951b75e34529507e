"""Session information: what Net::SIP tells of a session that ends (info_as_hash)."""

import msgspec

from nh.calls.media import Media
from nh.calls.session import Session


class SessionInfo(msgspec.Struct, frozen=True):
    """What Net::SIP's info_as_hash has.

    Attributes:
        from_, to: the announced media of both ends, `addr:port/range` joined by commas.
        bytes_from, bytes_to: received from the FROM end and from the TO end.
        created: wall-clock seconds.
        param: see Session.
    """

    call_id: bytes
    cseq: int
    id_from: bytes
    id_to: bytes
    from_: str = msgspec.field(name="from")
    to: str
    bytes_from: int
    bytes_to: int
    created: float
    sessionid: int
    param: dict[str, str]


def session_info(session: Session, call_id: bytes, cseq: int, *, wall_offset_s: float) -> SessionInfo:
    """The session information.

    Args:
        session: the session.
        call_id, cseq: of its call and its transaction.
        wall_offset_s: wall-clock seconds minus monotonic seconds.
    """
    legs = session.legs
    for leg in legs:
        leg.collect()
    return SessionInfo(
        call_id=call_id,
        cseq=cseq,
        id_from=session.group_from.id,
        id_to=session.group_to.id,
        from_=media_text(session.group_from.media),
        to=media_text(session.group_to.media),
        bytes_from=sum([leg.bytes for leg in legs[::2]]),
        bytes_to=sum([leg.bytes for leg in legs[1::2]]),
        created=session.created + wall_offset_s,
        sessionid=session.id,
        param=session.param,
    )


def media_text(media: tuple[Media, ...]) -> str:
    """What a session's information says of the media of one end."""
    return ",".join([f"{medium.address}:{medium.port}/{medium.range}" for medium in media])
