"""Arguments of the programs of tools and benchmarks: what is out of range is refused in one sentence."""

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

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


def number(low: float, high: float) -> Callable[[str], float]:
    """A `type` of argparse: a number, such as seconds or a rate.

    Args:
        low: the least one.
        high: the highest one, finite: what is longer than people wait is a slip.

    Returns:
        A function that raises argparse.ArgumentTypeError for another text.
    """

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:.10g} to {high:.10g}")
        return value

    return parse


def new_directory(text: str) -> Path:
    """A `type` of argparse: a directory, made if it is not there. Raises argparse.ArgumentTypeError."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is a file, not a directory") from exc
    except OSError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be made: {exc.strerror}") from exc
    if not os.access(path, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{text!r}: this user may not write there")
    return path


def port_range(text: str) -> range:
    """A `type` of argparse: media ports, such as 20000-20399. Raises argparse.ArgumentTypeError."""
    try:
        low, high = parse_ports(text, "media ports")
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return range(low, high + 1)
