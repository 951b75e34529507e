"""SRTP on one side of a call, with keys in SDP (SDES, RFC 4568): which keys an offer and its answer agree on.

Where both sides have SRTP, it passes through as it is: then the ends agree with each other, and the path in
the kernel serves them. Pure functions between the views of nh.sdp and the domain.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from nh.calls.media_security import MediaSecurity, OfferedKey, new_receiver, new_sender, require_srtp
from nh.calls.offer_answer.party import Party
from nh.commands import SdesOptions
from nh.errors import UnusableSdp
from nh.sdp.crypto import CryptoAttribute, read_crypto, write_crypto
from nh.sdp.description import Medium, SessionDescription
from nh.srtp.keys import MasterKey, new_master_key
from nh.srtp.suites import SUITES

if TYPE_CHECKING:
    from nh.srtp.receiver import SrtpReceiver
    from nh.srtp.sender import SrtpSender

_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
_SECURE: Final = ("RTP/SAVP", "RTP/SAVPF")

PREFERENCE: Final = (
    "AEAD_AES_128_GCM",
    "AES_CM_128_HMAC_SHA1_80",
    "AEAD_AES_256_GCM",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_32",
)
"""The suites in the order in which nh offers and takes them: what costs least first, short tags last."""


class Secured(NamedTuple):
    """What becomes of one medium.

    Attributes:
        security: SRTP between the end that the SDP is of and the relay; None: none.
        offered: the keys that the relay offers to the other end.
        lines: the a=crypto lines of the forwarded SDP; None leaves those of the SDP.
    """

    security: MediaSecurity | None = None
    offered: tuple[OfferedKey, ...] = ()
    lines: tuple[bytes, ...] | None = None


UNCHANGED: Final = Secured()
"""The medium is the same on both sides: plain, or SRTP that passes through."""


def converts(proto: str, other: str) -> bool:
    """Whether one of two transports is plain RTP, and the other SRTP."""
    return _secures(proto, other) or _secures(other, proto)


def can_secure(medium: Medium, wanted: str, options: SdesOptions) -> bool:
    """Whether a medium of an offer, plain or not, can be the other one of the two with keys in SDP."""
    if _secures(medium.proto, wanted):
        return not options.off
    return _secures(wanted, medium.proto) and _find_preferred(medium, options) is not None


def _secures(proto: str, wanted: str) -> bool:
    """Whether a medium is plain RTP, and `wanted` is SRTP."""
    return proto.upper() in _PLAIN and wanted.upper() in _SECURE


def secure_offer(
    description: SessionDescription,
    wanted: str,
    options: SdesOptions,
    *,
    sender: Party | None,
    same_end: Sequence[Party] = (),
    receiver: Party | None,
) -> list[Secured]:
    """What becomes of the media of an offer.

    Args:
        description: the offer.
        wanted: the transport that the client asks for, "" if the SDP's stays.
        options: which suites the client permits.
        sender: who offers; None: it is new.
        same_end: all parties of that end: a new one may go on with the key of another.
        receiver: who will be offered to, if that end has answered before.

    Raises:
        Unsupported: `cryptography` is not installed.
    """
    return [
        _secure_offered(
            medium,
            wanted,
            options,
            before=_offered_keys(sender, index),
            current=_security(sender, index),
            known=[each for party in same_end for each in _receivers(party, index)],
            towards=_security(receiver, index),
        )
        for index, medium in enumerate(description.media)
    ]


def _secure_offered(
    medium: Medium,
    wanted: str,
    options: SdesOptions,
    *,
    before: tuple[OfferedKey, ...],
    current: MediaSecurity | None,
    known: Sequence["SrtpReceiver"],
    towards: MediaSecurity | None,
) -> Secured:
    if medium.rejected or not wanted:
        return UNCHANGED
    if _secures(medium.proto, wanted) and not options.off:
        require_srtp()
        offered = _keys_to_offer(list(_permitted(options)), before, towards)
        lines = [
            write_crypto(key.tag, key.master, pad=options.pad, lifetime=options.lifetime) for key in offered
        ]
        return Secured(offered=offered, lines=tuple(lines))
    line = _find_preferred(medium, options) if _secures(wanted, medium.proto) else None
    if line is not None:
        ours = current.sender if current is not None else None
        if ours is None or ours.master.suite is not line.key.suite or ours.master.mki != line.key.mki:
            key = new_master_key(line.key.suite)
            ours = new_sender(MasterKey(key.suite, key.key, key.salt, line.key.mki))
        return Secured(_with_receiver(line, current, ours, known), lines=())
    return UNCHANGED


def secure_answer(
    description: SessionDescription, options: SdesOptions, *, offerer: Party, answerer: Party | None
) -> list[Secured]:
    """What becomes of the media of an answer.

    Args:
        description: the answer.
        options: how lines are written.
        offerer: whose offer it answers.
        answerer: who answers; None: it is new.

    Raises:
        UnusableSdp: an a=crypto line takes none that was offered.
    """
    return [
        _secure_answered(medium, index, options, offerer, _security(answerer, index))
        for index, medium in enumerate(description.media)
    ]


def _secure_answered(
    medium: Medium, index: int, options: SdesOptions, offerer: Party, current: MediaSecurity | None
) -> Secured:
    if medium.rejected or index >= len(offerer.offered):
        return UNCHANGED
    offered_proto = offerer.offered[index].proto
    offered = _offered_keys(offerer, index)
    if offered and _secures(offered_proto, medium.proto):
        by_tag = {key.tag: key for key in offered}
        for line in _lines_of(medium):
            taken = by_tag.get(line.tag)
            if taken is not None and taken.master.suite is line.key.suite:
                return Secured(_with_receiver(line, current, taken.take()), lines=())
        raise UnusableSdp(f"SDP medium {medium.number}: its a=crypto takes no line that was offered")
    security = offerer.security[index] if index < len(offerer.security) else None
    if security is not None and security.sender is not None and _secures(medium.proto, offered_proto):
        line_out = write_crypto(
            security.tag, security.sender.master, pad=options.pad, lifetime=options.lifetime
        )
        return Secured(lines=(line_out,))
    return UNCHANGED


def _security(party: Party | None, index: int) -> MediaSecurity | None:
    """What a party has agreed on for a medium, or has offered since."""
    if party is None:
        return None
    # an offer of T.38 may have been refused: then what it superseded is agreed still
    superseded = [group for medium, group in reversed(party.superseded) if medium == index]
    for group in (party.find_group(index), *superseded):
        if group is not None and group.security is not None:
            return group.security
    return party.security[index] if index < len(party.security) else None


def _receivers(party: Party, index: int) -> Iterator["SrtpReceiver"]:
    """What a party has sent a medium with, or has offered to."""
    security = _security(party, index)
    if security is not None and security.receiver is not None:
        yield security.receiver


def _offered_keys(party: Party | None, index: int) -> tuple[OfferedKey, ...]:
    """The keys that the relay has offered in the place of a party."""
    return party.offered_keys[index] if party is not None and index < len(party.offered_keys) else ()


def _lines_of(medium: Medium) -> list[CryptoAttribute]:
    return read_crypto([each.value for each in medium.attributes.get("crypto", ())])


def _permitted(options: SdesOptions) -> Iterator[str]:
    """The suites that the client permits, in its order, then in nh's."""
    for name in dict.fromkeys((*options.order, *PREFERENCE)):
        if name not in options.excluded and (not options.only or name in options.only):
            yield name


def _find_preferred(medium: Medium, options: SdesOptions) -> CryptoAttribute | None:
    """The line that nh takes of those that a medium offers; None if it can use none."""
    lines = _lines_of(medium)
    names = _permitted(options)
    return next((line for name in names for line in lines if line.key.suite.name == name), None)


def _keys_to_offer(
    names: list[str], before: tuple[OfferedKey, ...], towards: MediaSecurity | None
) -> tuple[OfferedKey, ...]:
    """The keys for these suites: those of the offer before, because any of its receivers may answer still.

    The key that the other end is sent media with already is the first.
    """
    present = towards.sender if towards is not None else None
    known = present is None or any(key.sender is present for key in before)
    if known and sorted(key.master.suite.name for key in before) == sorted(names):
        return before
    keys = [OfferedKey(0, new_master_key(SUITES[name])) for name in names]
    if present is not None:
        others = [key for key in keys if key.master.suite is not present.master.suite]
        keys = [OfferedKey(0, present.master, present), *others]
    return tuple([OfferedKey(tag, key.master, key.sender) for tag, key in enumerate(keys, 1)])


def _with_receiver(
    line: CryptoAttribute,
    current: MediaSecurity | None,
    ours: "SrtpSender",
    known: Sequence["SrtpReceiver"] = (),
) -> MediaSecurity:
    """The present security if nothing changed; else a new one, in which a key that stays goes on.

    A new party of the same end receives at other ports, so its receiver is its own (RFC 3711 3.2.3), but the
    sequence numbers of the key may have begun again since: it starts where the other one is.
    """
    receiver = current.receiver if current is not None else None
    if receiver is None or receiver.master != line.key:
        before = next((each for each in reversed(known) if each.master == line.key), None)
        receiver = new_receiver(line.key, before.to_state() if before is not None else None)
    if current is not None and (current.tag, current.receiver, current.sender) == (line.tag, receiver, ours):
        return current
    return MediaSecurity(line.tag, receiver, ours)
