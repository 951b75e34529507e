"""Bundles that end at the relay (BUNDLE, RFC 9143): which media of an offer and its answer share a transport.

A bundle ends here if the client says so, or if SRTP of its media does; else it passes through, and the ends
bundle with each other. Pure functions between the views of nh.sdp and the domain.
"""

import itertools
from collections.abc import Container, Sequence
from typing import NamedTuple, Self

from nh.calls.bundle import Bundle, BundledMedium
from nh.calls.offer_answer.offered import Mux, OfferedMedium
from nh.calls.offer_answer.party import Party
from nh.commands import BundleOptions
from nh.sdp.description import Medium, SessionDescription
from nh.shard.ng.bundle_members import indexes_of, mids_for, read_bundles, tagged_of, without_clashes
from nh.shard.ng.offer_ends import OfferEnds
from nh.shard.ng.secured import UNCHANGED, Secured


class OfferedBundles(NamedTuple):
    """What becomes of the bundles of an offer.

    Attributes:
        accepted: bundles of the offer that end at the relay.
        mids: a=mid of each medium towards the other end; () if the relay offers no bundle.
        bundled: indexes of the media that the relay offers the other end as one bundle.
        one_port: these media have one port already.
        strict: those but the first have no port at all.
        ends: no bundle of the offer passes through.
        bundle_only: indexes of the media without a transport of their own.
        warning: for the client, "" if there is none.
    """

    accepted: tuple[Bundle, ...] = ()
    mids: tuple[str, ...] = ()
    bundled: tuple[int, ...] = ()
    one_port: bool = False
    strict: bool = False
    ends: bool = False
    bundle_only: frozenset[int] = frozenset()
    warning: str = ""

    def without(self, rejected: Container[int]) -> Self:
        """The same where the relay rejects media, by index: it offers none of them in its bundle."""
        bundled = tuple([index for index in self.bundled if index not in rejected])
        return self._replace(bundled=bundled, mids=self.mids if bundled else ())

    @property
    def groups(self) -> tuple[tuple[str, ...], ...] | None:
        """The bundles of the forwarded offer; None leaves those that there are."""
        if not self.ends:
            return None
        return (tuple([self.mids[index] for index in self.bundled]),) if self.bundled else ()

    @property
    def shared_by_receiver(self) -> dict[int, int]:
        """See MediumRequest.shares, by medium: of the sockets that the receiver of the offer sends to."""
        return _shares(self.bundled) if self.one_port else {}

    @property
    def shared_by_sender(self) -> dict[int, int]:
        """The same of those that the sender of the offer sends to."""
        return _shares_of(self.accepted)

    @property
    def accepted_media(self) -> frozenset[int]:
        """Indexes of the media of bundles that end at the relay."""
        return frozenset([index for bundle in self.accepted for index in indexes_of(bundle)])

    @property
    def without_transport(self) -> frozenset[int]:
        """The a=bundle-only media whose bundle is not accepted: no answer can have them (RFC 9143 6)."""
        return self.bundle_only - self.accepted_media

    def mux_of(self, index: int, mux: Mux) -> Mux:
        """RTCP multiplexing of a medium, which bundled media always have (RFC 9143 9.3)."""
        if any(index == each.medium for bundle in self.accepted for each in bundle.media):
            mux = mux._replace(offered=True, decided=True)
        return mux._replace(passed_on=True) if index in self.bundled else mux


class AnsweredBundles(NamedTuple):
    """What becomes of the bundles of an answer.

    Attributes:
        offerer, answerer: what each end has agreed on with the relay.
        mids: a=mid of the offerer's media, by index, where it has a bundle.
        ends: no bundle of the answer passes through.
        unseen: indexes of the media that the offerer sees rejected, and whose transport others have.
    """

    offerer: tuple[Bundle, ...] = ()
    answerer: tuple[Bundle, ...] = ()
    mids: tuple[str, ...] = ()
    ends: bool = False
    unseen: frozenset[int] = frozenset()

    @property
    def shared_by_offerer(self) -> dict[int, int]:
        """See MediumRequest.shares, by medium: of the sockets that the offerer sends to."""
        return _shares_of(self.offerer)

    @property
    def tagged_of_offerer(self) -> dict[int, int]:
        """Of the media of the offerer's bundles, the tagged one whose transport each of the others has."""
        return tagged_of(self.offerer)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...] | None:
        """The bundles of the forwarded answer; None leaves those that there are."""
        if not self.ends:
            return None
        seen = [bundle.without(self.unseen) for bundle in self.offerer]
        return tuple([tuple([each.mid for each in bundle.media]) for bundle in seen if bundle.media])


def bundles_of_offer(
    description: SessionDescription,
    options: BundleOptions,
    secured: Sequence[Secured],
    ends: OfferEnds,
    *,
    hidden: Sequence[OfferedMedium],
) -> OfferedBundles:
    """What becomes of the bundles of an offer.

    Args:
        description: the offer.
        options: what the client wants.
        secured: of each medium, its keys.
        ends: who offers, and who will be offered to; the sender may offer again what it has agreed on.
        hidden: the m= lines, of which the receiver does not see some.

    Raises:
        UnusableSdp: a=group:BUNDLE contradicts the media.
    """
    sender, receiver = ends.sender, ends.receiver
    keys_end = any(each != UNCHANGED for each in secured)
    accepts = not options.reject and (
        options.accept or keys_end or (sender is not None and bool(sender.bundles))
    )
    offers = not options.reject and (options.offer or (receiver is not None and bool(receiver.bundles)))
    if not (accepts or offers or options.reject):
        return OfferedBundles()
    endable = [index for index, medium in enumerate(description.media) if _can_end(medium, secured[index])]
    others = {index for index in range(len(description.media)) if index not in endable}
    found = read_bundles(description)
    if any(description.media[index].rtp for each in found for index in others.intersection(indexes_of(each))):
        return OfferedBundles()
    if found and not (endable or accepts or options.reject):
        return OfferedBundles()  # as of a data channel alone: the relay has nothing to offer as a bundle
    warnings: list[str] = []
    accepted = [without_clashes(each.without(others), description.media, warnings) for each in found]
    bundled: tuple[int, ...] = ()
    mids: tuple[str, ...] = ()
    if offers:
        mids = tuple(mids_for(description, () if receiver is None else _known_mids(receiver)))
        seen = [BundledMedium(index, mids[index]) for index in endable if not hidden[index].hidden]
        bundled = tuple(indexes_of(without_clashes(Bundle(tuple(seen)), description.media, warnings)))
        mids = mids if bundled else ()
    return OfferedBundles(
        tuple([each for each in accepted if each.media]) if accepts else (),
        mids,
        bundled,
        one_port=options.require or (receiver is not None and bool(receiver.bundles)),
        strict=options.strict,
        ends=True,
        bundle_only=frozenset(
            index for index, medium in enumerate(description.media) if not (medium.port or medium.rejected)
        ),
        warning="; ".join(dict.fromkeys(warnings)),
    )


def bundles_of_answer(
    description: SessionDescription, offerer: Party, *, unseen: frozenset[int]
) -> AnsweredBundles:
    """What becomes of the bundles of an answer to `offerer`, who sees some of its media rejected.

    Raises:
        UnusableSdp: a=group:BUNDLE contradicts the media.
    """
    if not (offerer.bundles or offerer.relay_offer.bundled):
        return AnsweredBundles()
    kept = {
        index
        for index, medium in enumerate(description.media)
        if not medium.rejected and offerer.find_group(index) is not None
    }
    # an end that has answered with a bundle may have offered a medium by rtpproxy's protocol since
    gone = {each.medium for bundle in offerer.bundles for each in bundle.media} - kept
    offered = [bundle.without(gone) for bundle in offerer.bundles]
    answered: list[Bundle] = []
    if offerer.relay_offer.bundled:
        not_offered = frozenset(range(len(description.media))) - kept.intersection(
            offerer.relay_offer.bundled
        )
        answered = [bundle.without(not_offered) for bundle in read_bundles(description)]
    return AnsweredBundles(
        tuple([each for each in offered if each.media]),
        tuple([each for each in answered if each.media]),
        _mids_of(offerer),
        ends=True,
        unseen=unseen,
    )


def _known_mids(receiver: Party) -> tuple[str, ...]:
    """The a=mid by which an end knows its media, by index: also those of its answers without a bundle."""
    pairs = itertools.zip_longest(_mids_of(receiver), receiver.agreed.mids, fillvalue="")
    return tuple([mid or known for mid, known in pairs])


def _mids_of(party: Party) -> tuple[str, ...]:
    """The a=mid of the media of an end, by index: those that it offered, and those of its bundles."""
    mids = {index: each.mid for index, each in enumerate(party.offered)}
    mids |= {each.medium: each.mid for bundle in party.bundles for each in bundle.media}
    return tuple([mids.get(index, "") for index in range(max(mids, default=-1) + 1)])


def _shares_of(bundles: Sequence[Bundle]) -> dict[int, int]:
    return {index: first for bundle in bundles for index, first in _shares(indexes_of(bundle)).items()}


def _shares(indexes: Sequence[int]) -> dict[int, int]:
    """By medium, the first one of some in the SDP, whose sockets it shares."""
    first, *others = sorted(indexes) or [0]
    return dict.fromkeys(others, first)


def _can_end(medium: Medium, secured: Secured) -> bool:
    """Whether a medium is there, and is plain RTP or SRTP that ends here: its packets show what they are."""
    if not medium.rtp or medium.rejected or medium.field.count > 1:
        return False
    return "SAVP" not in medium.proto.upper() or secured != UNCHANGED
