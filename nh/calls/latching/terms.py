"""The terms of a leg: what signalling says of one direction, beside addresses. Thousands of legs share each.

Pure values.
"""

import functools

import msgspec

from nh.calls.latching.claims import Carried
from nh.calls.latching.source import SourcePolicy


class LegTerms(msgspec.Struct, frozen=True, gc=False):
    """What a leg goes by until its end signals again.

    Attributes:
        policy: who may send.
        carried: the packets that claim the leg.
        relatch_s: silence in seconds after which another source of the same IP address takes over; 0: none
            does.
        receives: whether the end that sends here wants to receive (not on hold).
    """

    policy: SourcePolicy
    carried: Carried = Carried.OTHER
    relatch_s: float = 0.0
    receives: bool = True


@functools.lru_cache(maxsize=256)  # the calls of a relay have few: some of audio, of RTCP, on hold
def leg_terms(policy: SourcePolicy, carried: Carried, relatch_s: float, receives: bool) -> LegTerms:
    """These terms, the same object for equal arguments; see LegTerms."""
    return LegTerms(policy, carried, relatch_s, receives)
