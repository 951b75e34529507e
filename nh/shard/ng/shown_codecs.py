"""The codecs that the receiver of an SDP sees, by a client's key `codec`, and what nh leaves out of that."""

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from nh.commands import EVERY_CODEC, Feature, OfferOptions
from nh.errors import Unsupported
from nh.printable import show_text
from nh.sdp.codecs import choose_codecs
from nh.sdp.description import SessionDescription


class ShownSdp(NamedTuple):
    """An SDP as its receiver sees it, but for what a relay changes.

    Attributes:
        description: the SDP.
        warning: for the client; "" for none.
        left_out: see nh.results.Rewritten.
    """

    description: SessionDescription
    warning: str = ""
    left_out: str = ""

    def unseen_of(self, description: SessionDescription) -> frozenset[int]:
        """The media of the SDP that this one shows, by index, that only its receiver sees rejected."""
        if self.description is description:
            return frozenset()
        pairs = zip(description.media, self.description.media, strict=True)
        return frozenset(
            index for index, (medium, seen) in enumerate(pairs) if seen.rejected and not medium.rejected
        )

    def without(self, unseen: Collection[int], description: SessionDescription) -> SessionDescription:
        """The SDP that this one shows, in which some media, by index, are rejected as in this one."""
        if not unseen:
            return description
        media = [
            self.description.media[index] if index in unseen else medium
            for index, medium in enumerate(description.media)
        ]
        return msgspec.structs.replace(description, media=tuple(media))


def show_codecs(description: SessionDescription, options: OfferOptions, *, offer: bool) -> ShownSdp:
    """The SDP of an offer or answer with the codecs that its receiver sees.

    Of the codecs to transcode to, an offer needs one: its receiver can take that one as it comes.

    Raises:
        Unsupported: it has none, and the settings say that the command fails then.
    """
    choice = options.codecs
    if choice is EVERY_CODEC:
        return ShownSdp(description)
    chosen = choose_codecs(description, choice, offer=offer)
    named = show_text(", ".join(chosen.missing))[:256]
    text = f"codec-transcode={named} (nh does not transcode, and the offer lacks it)"
    if not chosen.transcoded:
        return ShownSdp(chosen.description, f"Ignored by nh: {text}" if chosen.missing else "")
    if Feature.CODECS not in options.lenient:
        raise Unsupported(text)
    return ShownSdp(chosen.description, left_out=text)
