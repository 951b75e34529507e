"""nh.calls.settings: what an operator may set."""

import pytest

from nh.calls.latching.source import SourcePolicy
from nh.calls.settings import RelaySettings


def test_the_defaults_are_those_of_the_documentation() -> None:
    rules = RelaySettings()
    assert rules.policy is SourcePolicy.HEURISTIC
    assert (rules.latch_window_s, rules.relatch_s) == (3, 2)
    assert (rules.unused_s, rules.silent_s, rules.hold_s, rules.replaced_s) == (180, 30, 3600, 1)
    assert (rules.max_calls, rules.max_sockets, rules.max_sockets_in_group) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latch_window_s", -0.1),
        ("latch_window_s", 61),
        ("latch_window_s", float("nan")),
        ("relatch_s", -1),
        ("unused_s", 0),
        ("silent_s", 0.9),
        ("hold_s", 1e9),
        ("replaced_s", 61),
        ("dscp", 64),
        ("dscp", -1),
        ("max_calls", -1),
        ("max_sockets", -1),
        ("max_sockets_in_group", 2**32),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        RelaySettings(**{name: value})  # type: ignore[arg-type]
