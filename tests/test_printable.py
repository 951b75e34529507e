"""nh.printable: names for people."""

import time
from collections.abc import Sequence

import pytest

from nh.printable import listed


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a-long-name"], "a-long-name"),
        (["ab", "cd", "ef"], "ab, cd, ef"),
        (["ab", "cd", "efg"], "ab, …"),
        (["ä", "ö", "ü", "x"], "ä, …"),
        (["a-long-name", "x"], "a-long-name, …"),
    ],
)
def test_names_are_listed_whole_as_far_as_there_is_room(names: Sequence[str], text: str) -> None:
    assert listed(names, 10) == text


def test_a_list_of_very_many_names_is_short_at_once() -> None:
    """The supervisor names the calls that it cannot save: it took 7 s for 10,000."""
    names, began = [f"{number:060d}" for number in range(10_000)], time.process_time()
    assert listed(names, 240) == ", ".join([*names[:3], "…"])
    assert time.process_time() - began < 1.0
