"""Snapshots of bundles: which media of an end share a transport. What packets have taught is the legs'."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from nh.calls.bundle import MAX_MID_BYTES, MAX_SSRCS, Bundle, BundledMedium
from nh.calls.media import MAX_MEDIA
from nh.calls.snapshots.values import Index, require_distinct, require_token

_Word = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Medium = tuple[
    Index,
    Annotated[str, msgspec.Meta(max_length=MAX_MID_BYTES)],
    Annotated[list[_Word], msgspec.Meta(max_length=MAX_SSRCS)],
]
_Bundle = tuple[
    Annotated[list[_Medium], msgspec.Meta(max_length=MAX_MEDIA)], Annotated[int, msgspec.Meta(ge=0, le=255)]
]

Bundles = Annotated[list[_Bundle], msgspec.Meta(max_length=MAX_MEDIA)]
"""Of each: (medium, mid, SSRCs) of its media, the tagged one first, and the id of its header extension."""


def take_bundles(bundles: Sequence[Bundle]) -> Bundles:
    """The snapshot of bundles."""
    if not bundles:  # as of nearly all calls
        return []
    return [
        ([(each.medium, each.mid, list(each.ssrcs)) for each in bundle.media], bundle.mid_extension)
        for bundle in bundles
    ]


def check_bundles(bundles: Bundles) -> None:
    """Check that no medium is in two, and their names.

    Raises:
        SnapshotUnreadable: one is, or has a name that no SDP can have.
    """
    if bundles:
        require_distinct([index for media, _ in bundles for index, _, _ in media], "media of bundles")
        for _, mid, _ in [each for media, _ in bundles for each in media]:
            require_token(mid, "an a=mid")


def rebuild_bundles(bundles: Bundles) -> tuple[Bundle, ...]:
    """The bundles as they were."""
    return tuple(
        [
            Bundle(tuple([BundledMedium(index, mid, tuple(ssrcs)) for index, mid, ssrcs in media]), extension)
            for media, extension in bundles
        ]
    )
