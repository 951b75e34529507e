"""Arguments of the programs of tools and benchmarks: what is out of range is refused in one sentence."""

import argparse
from collections.abc import Callable

from nh.config.interfaces import parse_ports


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """A `type` of argparse: a whole number.

    Args:
        low: the least one.
        high: the highest one; None: any.

    Returns:
        A function that raises argparse.ArgumentTypeError for another text.
    """
    expected = f"a whole number from {low} " + ("on" if high is None else f"to {high}")

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return number

    return parse


def port_range(text: str) -> range:
    """A `type` of argparse: media ports, such as 20000-20399. Raises argparse.ArgumentTypeError."""
    try:
        low, high = parse_ports(text, "media ports")
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return range(low, high + 1)
