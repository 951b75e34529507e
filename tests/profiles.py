"""Quick and full runs of the suite: `make test`, and `make test-all`, which CI runs.

A quick run leaves out tests with the marker `full`: those that take seconds, where another shows the same
promise or most of it. Of a matrix it runs the first entry (`quick_first`), and property tests draw fewer
examples (`examples`).
"""

import os
from collections.abc import Iterable
from typing import Final

import pytest

VARIABLE: Final = "TEST_PROFILE"
"""Environment variable, "quick" or "full": tests/conftest.py sets it by the markers that pytest selects."""

TIMES: Final = "TEST_EXAMPLES"
"""Environment variable: how many times as many examples property tests draw."""

QUICK_PART: Final = 8
MIN_EXAMPLES: Final = 10


def is_quick() -> bool:
    """Whether this is a quick run."""
    return os.environ.get(VARIABLE) == "quick"


def is_repeatable() -> bool:
    """Whether property tests draw the same examples each time.

    They do in a quick run and, as in hypothesis's own profile for it, in CI: its result is of the change that
    it judges. Elsewhere `make test-all` draws others each time.
    """
    return is_quick() or "CI" in os.environ


def more_examples() -> int:
    """How many times as many examples property tests draw; so much longer they may take."""
    return int(os.environ.get(TIMES, "1"))


def examples(full: int) -> int:
    """How many examples a property test draws.

    Args:
        full: how many in `make test-all`; a quick run draws an eighth of them, and 10 at least.
    """
    return more_examples() * (max(MIN_EXAMPLES, full // QUICK_PART) if is_quick() else full)


def quick_first(entries: Iterable[object]) -> list[object]:
    """Entries for pytest.mark.parametrize of which a quick run has the first one only.

    Args:
        entries: values; a tuple is one entry of several values.
    """
    first, *others = entries
    return [first, *(_full(entry) for entry in others)]


def _full(entry: object) -> object:
    values = entry if isinstance(entry, tuple) else (entry,)
    return pytest.param(*values, marks=pytest.mark.full)
