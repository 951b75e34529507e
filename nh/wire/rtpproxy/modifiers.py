"""The modifiers of U and L: letters behind the command's, some with a value. docs/reference/rtpproxy.md."""

import re
from typing import Any, Final

from nh.commands import SessionOptions
from nh.errors import MalformedRequest
from nh.ip_address import canonical_address
from nh.wire.rtpproxy.errors import Error, RequestError

MAX_NAME_CHARACTERS: Final = 64

_CODECS: Final = re.compile(r"[0-9,]+")
_PTIME: Final = re.compile(r"[1-9][0-9]{0,2}(?![0-9])")
_ADDRESS: Final = re.compile(r"\[([0-9a-fA-F:.]+)\]|([0-9.]+)")
_NAME: Final = re.compile(r"\{([^{}]+)\}")


def read_session_options(modifiers: str) -> SessionOptions:
    """What the modifiers of U or L ask for; codecs and repacketisation are checked and left out.

    Raises:
        RequestError: a modifier is unknown, or its value cannot be read.
    """
    options: dict[str, Any] = {}
    bridge: list[int] = []
    rest = modifiers
    while rest:
        letter, rest = rest[0].lower(), rest[1:]
        if letter in _SWITCHES:
            name, value = _SWITCHES[letter]
            options[name] = value
        elif letter in "ie":
            if len(bridge) == 2:
                raise RequestError(Error.BRIDGE, "more than two of I and E")
            bridge.append("ie".index(letter))
        elif letter == "c":
            rest = _skip(_CODECS, rest, Error.CODECS)
        elif letter == "z":
            rest = _skip(_PTIME, rest, Error.PTIME)
        elif letter == "l":
            options["local"], rest = _read_local(rest)
        elif letter == "r":
            options["remote"], rest = _read_address(rest, Error.REMOTE_ADDRESS)
        else:
            raise RequestError(Error.UNKNOWN_MODIFIER, f"unknown modifier {letter!r}")
    return SessionOptions(bridge=tuple(bridge), **options)


_SWITCHES: Final[dict[str, tuple[str, object]]] = {
    "a": ("asymmetric", True),
    "s": ("asymmetric", False),
    "6": ("family", 6),
    "w": ("weak", True),
    "n": ("new_port", True),
}


def _skip(pattern: re.Pattern[str], text: str, error: Error) -> str:
    found = pattern.match(text)
    if found is None:
        raise RequestError(error, f"the value {text[:16]!r} of a modifier cannot be read")
    return text[found.end() :]


def _read_local(text: str) -> tuple[str, str]:
    """The address, or the name in braces, of an interface; and what follows."""
    found = _NAME.match(text)
    if found is None:
        return _read_address(text, Error.LOCAL_ADDRESS)
    if len(found[1]) > MAX_NAME_CHARACTERS:
        raise RequestError(Error.LOCAL_ADDRESS, f"the name has more than {MAX_NAME_CHARACTERS} characters")
    return found[1], text[found.end() :]


def _read_address(text: str, error: Error) -> tuple[str, str]:
    found = _ADDRESS.match(text)
    try:
        if found is not None:
            return canonical_address(found[1] or found[2], where="modifier"), text[found.end() :]
    except MalformedRequest as exc:
        raise RequestError(error, str(exc)) from exc
    raise RequestError(error, f"the value {text[:16]!r} of a modifier is not an address")
