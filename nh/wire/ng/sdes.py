"""The key `SDES` of an ng request, and the flags `SDES-…`: how keys of SRTP are in the SDP."""

from typing import Final

from msgspec import structs

from nh.commands import DEFAULT_SDES, SdesOptions
from nh.srtp.suites import find_suite
from nh.wire.ng.dictionary import text_of, words_of
from nh.wire.ng.parsed_options import ParsedOptions

_OFF: Final = frozenset({"off", "no", "disabled", "disable"})

_FIELDS: Final = {
    "pad": "pad",
    "lifetime": "lifetime",
    "prefer": "prefer",
    "priority": "prefer",
    "nonew": "no_new",
}

_NO_EFFECT: Final = frozenset({"static"})
"""The same offer gets the same suite in any case."""

_LISTS: Final = {"no-": "excluded", "only-": "only"}
"""Prefixes of words with the name of one crypto suite, and the field that it goes into."""

_ORDERS: Final = {"order:": "order", "offerer_pref:": "offerer_order"}
"""Prefixes of words with the names of several, and the field that they go into."""


def read_sdes(value: object, parsed: ParsedOptions) -> None:
    """Add the words of `SDES` to what a request asks for; a word that nh does not know is ignored."""
    for each in words_of(value):
        word = text_of(each[:512])
        present: SdesOptions = parsed.options.get("sdes", DEFAULT_SDES)
        changed = _read_word(word, present)
        if changed is None:
            parsed.ignore(f"SDES={word[:64]}")
        else:
            parsed.set("sdes", changed)


def _read_word(word: str, options: SdesOptions) -> SdesOptions | None:
    lowered = word.lower()
    if lowered in _OFF:
        return structs.replace(options, off=True)
    if lowered in _NO_EFFECT:
        return options
    if lowered in _FIELDS:
        return structs.replace(options, **{_FIELDS[lowered]: True})
    for prefix, field in _ORDERS.items():
        if lowered.startswith(prefix):
            return _with_suites(options, field, word[len(prefix) :].split(";"))
    for prefix, field in _LISTS.items():
        if lowered.startswith(prefix):
            return _with_suites(options, field, [word[len(prefix) :]])
    return None


def _with_suites(options: SdesOptions, field: str, names: list[str]) -> SdesOptions | None:
    """The options with suites added to one of their lists; None if nh knows none of them."""
    known = [suite.name for name in names if (suite := find_suite(name.strip())) is not None]
    if not known and field != "excluded":
        return None
    present: tuple[str, ...] = getattr(options, field)
    return structs.replace(options, **{field: tuple(dict.fromkeys((*present, *known)))})
