"""Estimated MOS: how well speech would be understood, from what a relay sees of its packets.

The E-model (ITU-T G.107) with its default values, reduced to what is known: a rating R of 93.2, less what
coding and loss impair (Ie,eff) and what delay impairs (Id), and from R the mean opinion score (Annex B).

What is assumed, and so makes it an estimate:
- The delay between the ends is not known and counts as none, but for a jitter buffer that holds twice the
  jitter (rtpengine's model adds one to two times the jitter, too). So it is a listening quality, MOS-LQ.
- The jitter buffer is large enough: no packet is lost for being late.
- Losses are random (BurstR = 1), and decoders conceal them (G.711's appendix I does).
- Wideband codecs are rated as narrowband ones, for there is one scale; so is an unknown codec, as G.711.

rtpengine and VoIPmonitor tell such figures, too; they differ by these assumptions, so compare like with like.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

MIN_PACKETS: Final = 50
"""Fewest packets that tell anything: a second of speech."""

_BEST_RATING: Final = 93.2
"""R with the default values of G.107 (Table 3): narrowband, no delay, no loss."""


class _Codec(NamedTuple):
    """Equipment impairment Ie and robustness against random loss Bpl (ITU-T G.113 appendix I)."""

    impairment: float
    robustness: float


_UNKNOWN: Final = _Codec(0, 25.1)
"""G.711 with concealment of losses."""

_CODECS: Final[Mapping[str, _Codec]] = {
    "pcmu": _UNKNOWN,
    "pcma": _UNKNOWN,
    "g729": _Codec(11, 19),  # G.729A with VAD
    "g723": _Codec(15, 16.1),  # G.723.1 at 6.3 kbit/s with VAD
    "gsm-efr": _Codec(5, 10),
    "amr": _Codec(5, 10),  # at 12.2 kbit/s it is GSM-EFR
}


def estimate_mos(*, encoding: str, loss_ratio: float, jitter_s: float) -> float:
    """The mean opinion score, 1.0 (nobody understands) to 4.5; 4.4 is the best of narrowband telephony.

    Arguments:
        encoding: its name in SDP, in any letter case; "" if not known.
        loss_ratio: lost packets among those sent, 0 to 1.
        jitter_s: RFC 3550's, seconds.
    """
    codec = _CODECS.get(encoding.lower(), _UNKNOWN)
    loss_percent = 100 * loss_ratio
    impaired = (95 - codec.impairment) * loss_percent / (loss_percent + codec.robustness)
    return _mos(_BEST_RATING - codec.impairment - impaired - _delay_impairment(1000 * 2 * jitter_s))


def _delay_impairment(delay_ms: float) -> float:
    """Id without echo, as usually shortened (Cole and Rosenbluth, 2001): it grows faster beyond 177.3 ms."""
    return 0.024 * delay_ms + 0.11 * max(delay_ms - 177.3, 0)


def _mos(rating: float) -> float:
    """The mean opinion score of R (G.107 Annex B)."""
    if rating <= 0:
        return 1.0
    # between 0 and 6.5 the formula falls below the scale
    return min(max(1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating), 1.0), 4.5)
