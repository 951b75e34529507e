"""What each key of an ng request means to nh, beside those that a command is made of.

One reader a key takes its value into the wishes. docs/reference/ng.md describes these tables.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from nh.calls.media import is_address
from nh.commands import IceHandling
from nh.errors import MalformedRequest
from nh.wire.ng.dictionary import Dictionary, integer_of, normalize_key, text_of, words_of
from nh.wire.ng.flag_parser import Wishes
from nh.wire.ng.flags import read_flag
from nh.wire.ng.rtpp_flags import split
from nh.wire.ng.unsupported import NO_OPTION, REFUSED_KEYS

Reader = Callable[[object, Wishes], None]

_TAGS: Final[Mapping[bytes, str]] = {b"to-tag": "to-tag", b"from-tag": "directional"}

MAX_TEXT_CHARACTERS: Final = 256
"""Longest label, interface name or transport protocol."""

_MAX_TOS: Final = 255
_ICE: Final = frozenset(handling.value.encode() for handling in IceHandling)
_YES: Final = frozenset({b"yes", b"on", b"1", b"true"})
_NO: Final = frozenset({b"", b"no", b"off", b"0", b"false", b"default", b"disable"})


def read_options(dictionary: Dictionary) -> Wishes:
    """The wishes of a request; keys in its raw flags are put into the dictionary, where commands look."""
    wishes = Wishes()
    for name, value in split(dictionary.find(b"rtpp-flags")):
        if value is None:
            _read_flags([name], wishes)
            continue
        dictionary.put(name, value)
        if normalize_key(name) in _TAGS:  # who writes one into the script's flags wants it to count
            wishes.switches.add(_TAGS[normalize_key(name)])
    for name, value in dictionary:
        _read_key(name, value, wishes)
    return wishes


def _read_key(name: bytes, value: object, wishes: Wishes) -> None:
    if name in _READERS:
        _READERS[name](value, wishes)
    elif name in REFUSED_KEYS:
        if _says_something(value):
            wishes.refuse(text_of(name), REFUSED_KEYS[name])
    elif name not in NO_OPTION:
        wishes.ignore(text_of(name[:64]))


def _says_something(value: object) -> bool:
    """Whether a value is more than empty, zero or an off."""
    if isinstance(value, dict):
        return any(value.values())
    words = {normalize_key(word) for word in words_of(value)}
    return not words <= _NO


def _read_flags(value: object, wishes: Wishes) -> None:
    for flag in words_of(value):
        for key, meant in read_flag(flag, wishes):
            _read_key(key, meant, wishes)


def _spelled_words(value: object) -> Iterable[bytes]:
    return (normalize_key(word) for word in words_of(value))


# --- what nh does ---------------------------------------------------------------------------------


def _read_replace(value: object, wishes: Wishes) -> None:
    for word in _spelled_words(value):
        if word in (b"origin", b"origin-full"):
            wishes.grant("replace_origin")
        if word not in (b"origin", b"session-connection"):
            wishes.ignore(f"replace-{text_of(word[:64])}")


def _read_ice(value: object, wishes: Wishes) -> None:
    for word in _spelled_words(value):
        if word in _ICE:
            wishes.grant("ice", IceHandling(word.decode()))
        elif word == b"force-relay" or word.startswith(b"lite-"):
            wishes.refuse(f"ICE={text_of(word[:64])}", "nh has no ICE agent")
        elif word != b"trickle":
            wishes.ignore(f"ICE={text_of(word[:64])}")


def _read_mux(value: object, wishes: Wishes) -> None:
    for word in _spelled_words(value):
        if word in (b"offer", b"require", b"demux", b"accept", b"reject"):
            wishes.grant(f"mux_{word.decode()}")
            if word == b"require":
                wishes.grant("mux_offer")
        else:
            wishes.ignore(f"rtcp-mux-{text_of(word[:64])}")


def _read_direction(value: object, wishes: Wishes) -> None:
    names = tuple(_short(word, "direction", wishes) for word in words_of(value))
    if len(names) > 2:
        wishes.ignore("direction beyond the second")
    wishes.grant("direction", names[:2])


def _read_from_interface(value: object, wishes: Wishes) -> None:
    _, *rest = wishes.options.get("direction", ()) or ("",)
    wishes.grant("direction", (_short(value, "from-interface", wishes), *rest))


def _read_to_interface(value: object, wishes: Wishes) -> None:
    first, *_ = wishes.options.get("direction", ()) or ("",)
    wishes.grant("direction", (first, _short(value, "to-interface", wishes)))


def _read_family(value: object, wishes: Wishes) -> None:
    family = {b"ip4": 4, b"ipv4": 4, b"ip6": 6, b"ipv6": 6}.get(normalize_key((words_of(value) or (b"",))[0]))
    if family is None:
        wishes.complain("Invalid value for 'address family': is neither IP4 nor IP6")
    wishes.grant("family", family)


def _read_media_address(value: object, wishes: Wishes) -> None:
    address = text_of(value)
    if not is_address(address):
        wishes.complain("Invalid value for 'media address': is no IP address")
    wishes.grant("media_address", address)


def _read_received_from(value: object, wishes: Wishes) -> None:
    # [family, address], or the address alone
    words = words_of(value)
    address = text_of(words[-1]) if words else ""
    if is_address(address):
        wishes.grant("received_from", address)
    else:
        wishes.ignore("received-from")


def _read_tos(value: object, wishes: Wishes) -> None:
    try:
        tos = integer_of(value, b"TOS")
    except MalformedRequest as exc:
        wishes.complain(str(exc))
        return
    if 0 <= tos <= _MAX_TOS:
        wishes.grant("dscp", tos >> 2)


def _read_label(value: object, wishes: Wishes) -> None:
    wishes.grant("label", _short(value, "label", wishes))


def _read_transport(value: object, wishes: Wishes) -> None:
    wishes.grant(
        "transport_protocol", _short(value, "transport protocol", wishes).upper().replace("ACCEPT", "accept")
    )


def _short(value: object, name: str, wishes: Wishes) -> str:
    text = text_of(value)
    if len(text) > MAX_TEXT_CHARACTERS:
        wishes.complain(f"Invalid value for '{name}': is longer than {MAX_TEXT_CHARACTERS} characters")
    return text


def _read_learning(value: object, wishes: Wishes) -> None:
    for word in _spelled_words(value):
        if word == b"off":
            wishes.grant("asymmetric")
        elif word != b"heuristic":
            wishes.ignore(f"endpoint-learning={text_of(word[:64])}")


def _read_all(value: object, wishes: Wishes) -> None:
    if b"all" in _spelled_words(value):
        wishes.switches.add("all")


def _read_supports(value: object, wishes: Wishes) -> None:
    if b"load-limit" in _spelled_words(value):
        wishes.switches.add("load limit")


# --- what nh does a part of, or leaves out --------------------------------------------------------


def _read_t38(value: object, wishes: Wishes) -> None:
    for word in _spelled_words(value):
        if word in (b"decode", b"force"):
            wishes.refuse(f"T.38={text_of(word)}", "nh does not convert T.38, it hands it through")


def _read_osrtp(value: object, wishes: Wishes) -> None:
    for word in _spelled_words(value):
        if word.startswith(b"offer"):
            wishes.refuse(f"OSRTP={text_of(word[:64])}", "nh hands SRTP through as it is")
        else:
            wishes.ignore(f"OSRTP={text_of(word[:64])}")


def _read_bundle(value: object, wishes: Wishes) -> None:
    for word in _spelled_words(value):
        if word != b"accept":
            wishes.refuse(f"bundle={text_of(word[:64])}", "nh does not change what is bundled")


def _ignoring(name: str) -> Reader:
    def read(value: object, wishes: Wishes) -> None:
        for word in words_of(value):
            wishes.ignore(f"{name}={text_of(word[:64])}")

    return read


def _refusing(words: frozenset[bytes], name: str, why: str) -> Reader:
    def read(value: object, wishes: Wishes) -> None:
        if words & set(_spelled_words(value)):
            wishes.refuse(name, why)

    return read


_READERS: Final[Mapping[bytes, Reader]] = {
    b"flags": _read_flags,
    b"replace": _read_replace,
    b"ice": _read_ice,
    b"rtcp-mux": _read_mux,
    b"direction": _read_direction,
    b"from-interface": _read_from_interface,
    b"to-interface": _read_to_interface,
    b"address-family": _read_family,
    b"media-address": _read_media_address,
    b"received-from": _read_received_from,
    b"tos": _read_tos,
    b"label": _read_label,
    b"from-label": _read_label,
    b"set-label": _read_label,
    b"transport-protocol": _read_transport,
    b"endpoint-learning": _read_learning,
    b"supports": _read_supports,
    b"all": _read_all,
    b"t.38": _read_t38,
    b"t38": _read_t38,
    b"osrtp": _read_osrtp,
    b"bundle": _read_bundle,
    b"sdes": _ignoring("SDES"),
    b"dtls": _ignoring("DTLS"),
    b"dtls-reverse": _ignoring("DTLS-reverse"),
    b"dtls-fingerprint": _ignoring("DTLS-fingerprint"),
    b"record-call": _refusing(_YES, "record-call", "nh records nothing"),
    b"generate-rtcp": _refusing(_YES, "generate-RTCP", "nh relays RTCP, and sends none of its own"),
    b"drop-traffic": _refusing(frozenset({b"start"}), "drop-traffic", "use the command block media"),
}
