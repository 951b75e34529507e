"""Estimated MOS (mean opinion score): the quality of speech, estimated from the packets that the relay sees.

It is the E-model (ITU-T G.107) with its default values: a rating R of 93.2, less the impairments by coding
and loss (Ie,eff) and by delay (Id), converted to the mean opinion score (Annex B).

Assumptions:
- The delay between the ends is unknown and counts as 0, plus a jitter buffer of twice the jitter (rtpengine
  adds one to two times the jitter). So the figure is a listening quality, MOS-LQ.
- The jitter buffer is large enough: no packet arrives too late to be played.
- Losses are random (BurstR = 1), and decoders conceal them (G.711 appendix I).
- Wideband codecs are rated on the narrowband scale; unknown codecs are rated as G.711.

rtpengine and VoIPmonitor make other assumptions, so their figures differ.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

MIN_PACKETS: Final = 50
"""Fewest packets for an estimate: a second of speech."""

_BEST_RATING: Final = 93.2
"""R with the default values of G.107 (Table 3): narrowband, no delay, no loss."""


class _Codec(NamedTuple):
    """Equipment impairment factor Ie and packet-loss robustness factor Bpl (ITU-T G.113 appendix I)."""

    impairment: float
    robustness: float


_UNKNOWN: Final = _Codec(0, 25.1)
"""G.711 with packet loss concealment."""

_CODECS: Final[Mapping[str, _Codec]] = {
    "pcmu": _UNKNOWN,
    "pcma": _UNKNOWN,
    "g729": _Codec(11, 19),  # G.729A with VAD
    "g723": _Codec(15, 16.1),  # G.723.1 at 6.3 kbit/s with VAD
    "gsm-efr": _Codec(5, 10),
    "amr": _Codec(5, 10),  # at 12.2 kbit/s it is GSM-EFR
}


def estimate_mos(*, encoding: str, loss_ratio: float, jitter_s: float) -> float:
    """The mean opinion score, 1.0 (bad) to 4.5; narrowband telephony reaches 4.4.

    Args:
        encoding: name of the codec in SDP, in any letter case; "" if unknown.
        loss_ratio: lost packets divided by sent packets, 0 to 1.
        jitter_s: interarrival jitter (RFC 3550 6.4.1), seconds.
    """
    codec = _CODECS.get(encoding.lower(), _UNKNOWN)
    loss_percent = 100 * loss_ratio
    impaired = (95 - codec.impairment) * loss_percent / (loss_percent + codec.robustness)
    return _mos(_BEST_RATING - codec.impairment - impaired - _delay_impairment(1000 * 2 * jitter_s))


def _delay_impairment(delay_ms: float) -> float:
    """Id without echo, in the usual approximation (Cole and Rosenbluth, 2001)."""
    return 0.024 * delay_ms + 0.11 * max(delay_ms - 177.3, 0)


def _mos(rating: float) -> float:
    """The mean opinion score of R (G.107 Annex B)."""
    if rating <= 0:
        return 1.0
    # for R between 0 and 6.5 the formula yields less than 1
    return min(max(1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating), 1.0), 4.5)
