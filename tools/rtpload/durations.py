"""How long calls last: a fixed time or a distribution, as text such as `90`, `exp:30`, `uniform:10-60`.

Randomness is the caller's: the same generator with the same seed gives the same calls.
"""

import random
from collections.abc import Callable

from nh.errors import ConfigError

MIN_S = 0.1
"""No call is shorter: a distribution's tail must not become a flood of set-ups."""

Duration = Callable[[random.Random], float]
"""The length of the next call, seconds."""


def parse_duration(text: str) -> Duration | None:
    """The rule that `text` means; None, for calls that last as long as the load, if it is empty.

    Args:
        text: seconds, `exp:MEAN` or `uniform:LOW-HIGH`, all in seconds, at least MIN_S.

    Raises:
        ConfigError: it is none of them.
    """
    if not text:
        return None
    kind, colon, value = text.partition(":")
    if not colon:
        fixed_s = _seconds(text, text)
        return lambda rng: fixed_s  # noqa: ARG005  # a rule takes the generator, this one has no use for it
    if kind == "exp":
        mean_s = _seconds(value, text)
        return lambda rng: max(MIN_S, rng.expovariate(1 / mean_s))
    if kind == "uniform":
        low, _, high = value.partition("-")
        low_s, high_s = _seconds(low, text), _seconds(high, text)
        return lambda rng: rng.uniform(low_s, high_s)
    raise _unreadable(text)


def _seconds(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError:
        raise _unreadable(text) from None
    if not MIN_S <= value <= 86_400:
        raise ConfigError(f"duration: {value} s is not in {MIN_S} to 86400")
    return value


def _unreadable(text: str) -> ConfigError:
    return ConfigError(
        f"duration: {text!r} is neither seconds, such as 90, nor exp:MEAN nor uniform:LOW-HIGH"
    )
