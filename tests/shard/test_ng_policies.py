"""nh.shard.ng.negotiation.policy_for: the table of docs/reference/ng.md, row by row."""

import itertools
import re
from pathlib import Path

import pytest

from nh.calls.latching.source import SourcePolicy
from nh.commands import EndpointLearning, Offer
from nh.shard.ng.negotiation import policy_for
from nh.wire.ng import decode_request
from tests.wire.ng import offer

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reference" / "ng.md").read_text()
TABLE = DOCUMENT[DOCUMENT.index("### Who may send") : DOCUMENT.index("Two things are different")]
ROWS = [
    (re.findall(r"`([^`]+)`", flags), policy.strip().strip("`"))
    for flags, policy in re.findall(r"^\| (`.*) \| (.*) \|$", TABLE, re.MULTILINE)
]


def policy_of(flags: list[str], default: SourcePolicy = SourcePolicy.HEURISTIC) -> SourcePolicy:
    """The policy of an offer whose client sends `flags`, some of them as keys with a value."""
    keys = dict(flag.split("=") for flag in flags if "=" in flag)
    command = decode_request(offer(flags=[flag for flag in flags if "=" not in flag], **keys)).command
    assert isinstance(command, Offer)
    return policy_for(command.options, default)


@pytest.mark.parametrize(("flags", "policy"), ROWS, ids=" ".join)
def test_each_row_of_the_table_holds(flags: list[str], policy: str) -> None:
    assert policy_of(flags) is SourcePolicy(policy)


def test_the_table_has_every_way_to_learn() -> None:
    alone = {flags[0] for flags, _policy in ROWS if len(flags) == 1}
    assert alone >= {f"endpoint-learning={learning}" for learning in EndpointLearning}
    assert alone >= {"asymmetric", "media-handover", "strict-source"}


@pytest.mark.parametrize("default", SourcePolicy)
def test_without_flags_it_is_the_policy_of_the_settings(default: SourcePolicy) -> None:
    assert policy_of([], default) is default


@pytest.mark.parametrize("default", SourcePolicy)
def test_strict_source_makes_no_policy_of_the_settings_laxer(default: SourcePolicy) -> None:
    strict = {
        SourcePolicy.HEURISTIC: SourcePolicy.LEARNED,
        SourcePolicy.DELAYED: SourcePolicy.LEARNED,
        SourcePolicy.HANDOVER: SourcePolicy.LEARNED,
        SourcePolicy.ASYMMETRIC: SourcePolicy.STRICT,
    }
    assert policy_of(["strict-source"], default) is strict.get(default, default)


@pytest.mark.parametrize("learning", EndpointLearning)
def test_strict_source_never_lets_every_source_in(learning: EndpointLearning) -> None:
    for others in itertools.chain.from_iterable(
        itertools.combinations(["asymmetric", "media-handover"], count) for count in range(3)
    ):
        policy = policy_of(["strict-source", *others, f"endpoint-learning={learning}"])
        assert policy not in (SourcePolicy.ASYMMETRIC, SourcePolicy.HANDOVER)
