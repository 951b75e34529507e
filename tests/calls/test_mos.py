"""The estimated MOS: its ends, its order, and values of the E-model worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.rtp.mos import estimate_mos

ratios = st.floats(0, 1)
jitters = st.floats(0, 10)
encodings = st.sampled_from(["PCMU", "pcma", "G729", "G723", "AMR", "GSM-EFR", "opus", ""])


def mos(encoding: str = "PCMU", loss_ratio: float = 0, jitter_s: float = 0) -> float:
    return estimate_mos(encoding=encoding, loss_ratio=loss_ratio, jitter_s=jitter_s)


def test_without_loss_and_jitter_it_is_the_default_of_the_e_model() -> None:
    assert mos() == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(
    ("encoding", "loss_ratio", "jitter_s", "expected"),
    [
        # R = 93.2 - 95 * 2 / 27.1 = 86.19
        ("PCMU", 0.02, 0, 4.23),
        # R = 93.2 - 11 = 82.2
        ("G729", 0, 0, 4.11),
        # R = 93.2 - 11 - 84 * 5 / 24 = 64.7
        ("G729", 0.05, 0, 3.34),
        # a buffer of 200 ms: R = 93.2 - 0.024 * 200 - 0.11 * 22.7 = 85.9
        ("PCMU", 0, 0.1, 4.22),
        # R = 93.2 - 95 * 50 / 75.1 = 29.95
        ("PCMU", 0.5, 0, 1.61),
    ],
)
def test_worked_examples(encoding: str, loss_ratio: float, jitter_s: float, expected: float) -> None:
    assert mos(encoding, loss_ratio, jitter_s) == pytest.approx(expected, abs=0.01)


@given(encodings, ratios, jitters)
def test_it_is_on_the_scale(encoding: str, loss_ratio: float, jitter_s: float) -> None:
    assert 1 <= mos(encoding, loss_ratio, jitter_s) <= 4.5


@given(encodings, ratios, ratios, jitters, jitters)
def test_more_loss_or_jitter_is_never_better(
    encoding: str, one: float, other: float, jitter: float, other_jitter: float
) -> None:
    worse = mos(encoding, max(one, other), max(jitter, other_jitter))
    assert worse <= mos(encoding, min(one, other), min(jitter, other_jitter)) + 1e-9


def test_the_letter_case_of_a_name_does_not_matter() -> None:
    assert mos("g729") == mos("G729") < mos("whatever") == mos("PCMA")
