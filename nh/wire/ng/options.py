"""The keys of an ng request that are options: what each key does.

Each key has one reader, which adds the key's value to ParsedOptions. docs/reference/ng.md lists them.
"""

import functools
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from msgspec import structs

from nh.commands import DEFAULT_BUNDLE, BundleOptions, EndpointLearning, Feature
from nh.errors import MalformedRequest
from nh.ip_address import canonical_address, is_address, is_unicast
from nh.wire.ng.dictionary import (
    NO,
    Dictionary,
    integer_of,
    misfit_of,
    normalize_key,
    normalized_words,
    text_of,
    words_of,
)
from nh.wire.ng.flags import read_flag
from nh.wire.ng.ice import read_ice, read_ice_lite
from nh.wire.ng.parsed_options import ParsedOptions
from nh.wire.ng.partial_options import PARTIAL_READERS, Reader, says_something
from nh.wire.ng.rtpp_flags import split
from nh.wire.ng.sdp_text import read_attributes, read_extmap, read_removed_media, read_replace
from nh.wire.ng.targets import TARGET_READERS
from nh.wire.ng.unsupported import NOT_OPTIONS, UNSUPPORTED_KEYS

_TAGS: Final[Mapping[bytes, str]] = {b"to-tag": "to-tag", b"from-tag": "directional"}

MAX_TEXT_CHARACTERS: Final = 256
"""Longest label, interface name or transport protocol."""

_MAX_REMEMBERED_BYTES: Final = 1024
"""Longest options of a request that are parsed once only."""

_OF_COMMANDS: Final = frozenset(NOT_OPTIONS) - {b"rtpp-flags"}

_encode: Final = msgspec.msgpack.Encoder().encode

_MAX_TOS: Final = 255
_LEARNING: Final = frozenset(learning.value.encode() for learning in EndpointLearning)


def read_options(
    dictionary: Dictionary, lenient: Collection[Feature], *, escaped: bool = False
) -> ParsedOptions:
    """Parse all flags and options of a request.

    Args:
        dictionary: the request; keys in its `rtpp-flags` string are added to it, where commands read them.
        lenient: see ParsedOptions.
        escaped: see nh.commands.OfferOptions.

    Returns:
        The same object for equal options: it must not be changed.
    """
    options = [(name, value) for name, value in dictionary if name not in _OF_COMMANDS]
    try:
        known = _encode(options)
        if len(known) > _MAX_REMEMBERED_BYTES:
            return _parse(dictionary, lenient, escaped=escaped)
        parsed = _parse_remembered(known, frozenset(lenient), escaped)
    except (OverflowError, UnicodeError, RecursionError):  # what JSON can say and msgpack cannot
        return _parse(dictionary, lenient, escaped=escaped)
    for name, value in parsed.added:
        dictionary.put(name, value)
    return parsed


@functools.lru_cache(maxsize=1024)  # the scripts of a proxy send the same few with each command
def _parse_remembered(options: bytes, lenient: frozenset[Feature], escaped: bool) -> ParsedOptions:
    """See read_options().

    Args:
        options: names and values in msgpack: all values can be compared so, dictionaries too.
    """
    return _parse(Dictionary(dict(msgspec.msgpack.decode(options))), lenient, escaped=escaped)


def _parse(dictionary: Dictionary, lenient: Collection[Feature], *, escaped: bool) -> ParsedOptions:
    parsed = ParsedOptions(lenient)
    if escaped:
        parsed.set("escaped")
    try:
        raw_flags = dictionary.read_text(b"rtpp-flags")
    except MalformedRequest as exc:
        parsed.error(str(exc))
        raw_flags = b""
    for name, value in split(raw_flags) if raw_flags else ():
        if value is None:
            _read_flags([name], parsed)
            continue
        dictionary.put(name, value)
        parsed.added.append((name, value))
        if normalize_key(name) in _TAGS:  # a tag in the script's flags is there to select by
            parsed.switches.add(_TAGS[normalize_key(name)])
    for name, value in dictionary:
        _read_key(name, value, parsed)
    return parsed


def _read_key(name: bytes, value: object, parsed: ParsedOptions) -> None:
    if name in NOT_OPTIONS:
        return
    if name in _READERS:
        wrong = misfit_of(value, is_dictionary=name in _DICTIONARIES)
        if wrong:
            parsed.error(f"Invalid value for '{text_of(name)}': {wrong}")
        elif value not in ("", b""):  # an empty text says nothing
            _READERS[name](value, parsed)
    elif name in UNSUPPORTED_KEYS:
        if says_something(value):
            parsed.unsupported(text_of(name), UNSUPPORTED_KEYS[name])
    else:
        parsed.ignore(text_of(name[:64]))


def _read_flags(value: object, parsed: ParsedOptions) -> None:
    for flag in words_of(value):
        for key, meant in read_flag(flag, parsed):
            _read_key(key, meant, parsed)


# --- options that nh implements -------------------------------------------------------------------


def _read_mux(value: object, parsed: ParsedOptions) -> None:
    for word in normalized_words(value):
        if word in (b"offer", b"require", b"demux", b"accept", b"reject"):
            parsed.set(f"mux_{word.decode()}")
            if word == b"require":
                parsed.set("mux_offer")
        else:
            parsed.ignore(f"rtcp-mux-{text_of(word[:64])}")


_BUNDLE: Final[Mapping[bytes, tuple[str, ...]]] = {
    b"accept": ("accept",),
    b"offer": ("offer",),
    b"require": ("offer", "require"),
    b"strict": ("offer", "require", "strict"),
    b"reject": ("reject",),
}
"""By word: the fields of BundleOptions that it sets."""


def _read_bundle(value: object, parsed: ParsedOptions) -> None:
    for word in normalized_words(value):
        if word in _BUNDLE:
            present: BundleOptions = parsed.options.get("bundle", DEFAULT_BUNDLE)
            parsed.set("bundle", structs.replace(present, **dict.fromkeys(_BUNDLE[word], True)))
        else:
            parsed.ignore(f"bundle={text_of(word[:64])}")


def _read_direction(value: object, parsed: ParsedOptions) -> None:
    names = tuple(_short(word, "direction", parsed) for word in words_of(value))
    if len(names) > 2:
        parsed.ignore("direction beyond the second")
    parsed.set("direction", names[:2])


def _read_from_interface(value: object, parsed: ParsedOptions) -> None:
    known: tuple[str, ...] = parsed.options.get("direction", ())
    _, second = (*known, "", "")[:2]
    parsed.set("direction", (_short(value, "from-interface", parsed), second))


def _read_to_interface(value: object, parsed: ParsedOptions) -> None:
    known: tuple[str, ...] = parsed.options.get("direction", ())
    first, *_ = (*known, "")
    parsed.set("direction", (first, _short(value, "to-interface", parsed)))


def _read_family(value: object, parsed: ParsedOptions) -> None:
    family = {b"ip4": 4, b"ipv4": 4, b"ip6": 6, b"ipv6": 6}.get(normalize_key((words_of(value) or (b"",))[0]))
    if family is None:
        parsed.error("Invalid value for 'address family': is neither IP4 nor IP6")
    parsed.set("family", family)


def _read_media_address(value: object, parsed: ParsedOptions) -> None:
    address = text_of(value)
    if not is_address(address):
        parsed.error("Invalid value for 'media address': is not an IP address")
    else:
        parsed.set("media_address", canonical_address(address, where="media-address"))


def _read_received_from(value: object, parsed: ParsedOptions) -> None:
    # [family, address], or the address alone, in brackets too; 0.0.0.0 and :: name no source
    words = words_of(value)
    address = text_of(words[-1]) if words else ""
    if address[:1] == "[" and address[-1:] == "]":
        address = address[1:-1]
    if not is_address(address):
        parsed.ignore("received-from")
    elif is_unicast(address):
        parsed.set("received_from", canonical_address(address, where="received-from"))


def _read_tos(value: object, parsed: ParsedOptions) -> None:
    try:
        tos = integer_of(value, b"TOS")
    except MalformedRequest as exc:
        parsed.error(str(exc))
        return
    if 0 <= tos <= _MAX_TOS:
        parsed.set("dscp", tos >> 2)
    elif tos < 0:
        parsed.set("keeps_dscp")


def _reader_of_label(key: str) -> Reader:
    def read(value: object, parsed: ParsedOptions) -> None:
        parsed.set("label", _short(value, key, parsed))

    return read


def _read_transport(value: object, parsed: ParsedOptions) -> None:
    parsed.set(
        "transport_protocol", _short(value, "transport protocol", parsed).upper().replace("ACCEPT", "accept")
    )


def _short(value: object, name: str, parsed: ParsedOptions) -> str:
    text = text_of(value)
    if len(text) > MAX_TEXT_CHARACTERS:
        parsed.error(f"Invalid value for '{name}': is longer than {MAX_TEXT_CHARACTERS} characters")
    return text


def _read_learning(value: object, parsed: ParsedOptions) -> None:
    for word in normalized_words(value):
        if word in _LEARNING:
            parsed.set("learning", EndpointLearning(word.decode()))
        else:
            parsed.ignore(f"endpoint-learning={text_of(word[:64])}")


def _read_alias_key(value: object, parsed: ParsedOptions) -> None:
    if says_something(value):
        parsed.ignore("alias-key")


def _read_all(value: object, parsed: ParsedOptions) -> None:
    """Which media a command is about: all media of nh are of an offer and its answer."""
    for word in normalized_words(value):
        if word == b"all":
            parsed.switches.add("all")
        elif word in (b"except-offer-answer", b"non-offer-answer", b"not-offer-answer"):
            parsed.switches.add("except-offer-answer")
        elif word not in (b"offer-answer", b"flows") and word not in NO:
            parsed.ignore(f"all={text_of(word[:64])}")


def _read_supports(value: object, parsed: ParsedOptions) -> None:
    if b"load-limit" in normalized_words(value):
        parsed.switches.add("load limit")


# --- the table ------------------------------------------------------------------------------------

_DICTIONARIES: Final = frozenset({b"codec", b"extmap", b"sdp-attr"})
"""Keys whose value may be a dictionary."""

_READERS: Final[Mapping[bytes, Reader]] = {
    b"flags": _read_flags,
    b"replace": read_replace,
    b"sdp-attr": read_attributes,
    b"extmap": read_extmap,
    b"sdp-media-remove": read_removed_media,
    b"ice": read_ice,
    b"ice-lite": read_ice_lite,
    b"rtcp-mux": _read_mux,
    b"bundle": _read_bundle,
    b"direction": _read_direction,
    b"from-interface": _read_from_interface,
    b"to-interface": _read_to_interface,
    b"address-family": _read_family,
    b"media-address": _read_media_address,
    b"received-from": _read_received_from,
    b"tos": _read_tos,
    **TARGET_READERS,
    **{key.encode(): _reader_of_label(key) for key in ("label", "from-label", "set-label")},
    b"transport-protocol": _read_transport,
    b"endpoint-learning": _read_learning,
    b"supports": _read_supports,
    b"all": _read_all,
    b"alias-key": _read_alias_key,
    **PARTIAL_READERS,
}
