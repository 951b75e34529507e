"""SRTP on one side of a call, with keys in SDP (SDES, RFC 4568): which keys an offer and its answer agree on.

Pure functions between the views of nh.sdp and the domain.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from nh.calls.protocols.media_security import MediaSecurity, OfferedKey, new_receiver, new_sender
from nh.commands import SdesOptions
from nh.sdp.crypto import CryptoAttribute, read_crypto, write_crypto
from nh.sdp.description import Medium
from nh.srtp.keys import MasterKey, new_master_key
from nh.srtp.state import DirectionState
from nh.srtp.suites import SUITES

if TYPE_CHECKING:
    from nh.srtp.receiver import SrtpReceiver
    from nh.srtp.sender import SrtpSender

PREFERENCE: Final = (
    "AEAD_AES_128_GCM",
    "AES_CM_128_HMAC_SHA1_80",
    "AEAD_AES_256_GCM",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_32",
)
"""The suites in the order in which nh offers and takes them: what costs least first, short tags last."""


def keys_to_offer(
    options: SdesOptions, before: tuple[OfferedKey, ...], towards: MediaSecurity | None
) -> tuple[OfferedKey, ...]:
    """The keys of an offer: those of the offer before, because any of its receivers may answer still.

    The key that the other end is sent media with already is the first.

    Args:
        options: which suites the client permits; with no_new, that key alone.
        before: the keys of the last offer for the same end.
        towards: what the end that gets the offer has agreed on.
    """
    names = [] if options.no_new else list(_permitted(options, options.order))
    present = towards.sender if towards is not None and towards.dtls is None else None
    known = present is None or any(key.sender is present for key in before)
    if known and sorted(key.master.suite.name for key in before) == sorted(names):
        return before
    keys = [OfferedKey(0, new_master_key(SUITES[name])) for name in names]
    if present is not None:
        others = [key for key in keys if key.master.suite is not present.master.suite]
        keys = [OfferedKey(0, present.master, present), *others]
    return tuple([OfferedKey(tag, key.master, key.sender) for tag, key in enumerate(keys, 1)])


def offer_lines(offered: Sequence[OfferedKey], options: SdesOptions) -> tuple[bytes, ...]:
    """The a=crypto lines of an offer."""
    return tuple(
        [write_crypto(key.tag, key.master, pad=options.pad, lifetime=options.lifetime) for key in offered]
    )


def find_preferred(medium: Medium, options: SdesOptions) -> CryptoAttribute | None:
    """The line that nh takes of those that a medium offers; None if it can use none.

    Where the client permits none of them, the first one is taken, as in rtpengine: what it permits is about
    the other end, too, and that one is offered others.
    """
    lines = lines_of(medium)
    if not lines:
        return None
    names = _permitted(options, (*options.offerer_order, *options.order))
    return next((line for name in names for line in lines if line.key.suite.name == name), lines[0])


def security_of_offer(
    line: CryptoAttribute, current: MediaSecurity | None, known: Sequence[MediaSecurity]
) -> MediaSecurity:
    """What the relay has with an end that offers a key.

    Args:
        line: the one that nh takes.
        current: what the end has agreed on.
        known: what its other parties have: it may go on with the key of one.
    """
    current = current if current is None or current.dtls is None else None
    ours = current.sender if current is not None else None
    if ours is None or ours.master.suite is not line.key.suite or ours.master.mki != line.key.mki:
        key = new_master_key(line.key.suite)
        ours = new_sender(MasterKey(key.suite, key.key, key.salt, line.key.mki))
    receivers = [each.receiver for each in known if each.receiver is not None]
    return _with_receiver(line, current, ours, receivers)


def security_of_answer(
    medium: Medium, offered: Sequence[OfferedKey], current: MediaSecurity | None
) -> MediaSecurity | None:
    """What the relay has with an end that answers its offer of keys; None: it takes none of them."""
    by_tag = {key.tag: key for key in offered}
    current = current if current is None or current.dtls is None else None
    for line in lines_of(medium):
        taken = by_tag.get(line.tag)
        if taken is not None and taken.master.suite is line.key.suite:
            return _with_receiver(line, current, taken.take())
    return None


def answer_lines(security: MediaSecurity, options: SdesOptions) -> tuple[bytes, ...]:
    """The a=crypto line of the answer for an end that has offered a key."""
    assert security.sender is not None, "the offer has set it"
    master = security.sender.master
    return (write_crypto(security.tag, master, pad=options.pad, lifetime=options.lifetime),)


def lines_of(medium: Medium) -> list[CryptoAttribute]:
    """The a=crypto lines of a medium that nh can use."""
    attributes = medium.attributes.get("crypto")
    return [] if attributes is None else read_crypto([each.value for each in attributes])


def _permitted(options: SdesOptions, order: Sequence[str]) -> Iterator[str]:
    """The suites that the client permits, in its order, then in nh's."""
    for name in dict.fromkeys((*order, *PREFERENCE)):
        if options.permits(name):
            yield name


def _with_receiver(
    line: CryptoAttribute,
    current: MediaSecurity | None,
    ours: "SrtpSender",
    known: Sequence["SrtpReceiver"] = (),
) -> MediaSecurity:
    """The present security if nothing changed; else a new one, in which a key that stays goes on.

    A new party of the same end receives at other ports, so its receiver is its own (RFC 3711 3.2.3), but the
    sequence numbers of the key may have begun again since: it starts where the other one is. The streams of a
    new key may go on where the key before is.
    """
    receiver = current.receiver if current is not None else None
    if receiver is None or receiver.master != line.key:
        earlier = [*known, receiver] if receiver is not None else known
        receiver = new_receiver(line.key, _go_on(line.key, earlier))
    if current is not None and (current.tag, current.receiver, current.sender) == (line.tag, receiver, ours):
        return current
    return MediaSecurity(line.tag, receiver, ours)


def _go_on(key: MasterKey, earlier: Sequence["SrtpReceiver"]) -> DirectionState | None:
    """Where the receiver of a key begins, after some of the same end, the latest last."""
    for each in reversed(earlier):
        if each.master == key:
            return each.to_state()
    return earlier[-1].to_next_key() if earlier else None
