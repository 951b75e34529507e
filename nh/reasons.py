"""Why something failed, in nh's words: what the errors of the system and of msgspec say, for people.

An operator gets `Address already in use`, not `[Errno 98]`, and `limit: is above 1000`, not
`Expected int <= 1000 - at $.limit`.
"""

import errno
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from nh.printable import show_text

SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Errors of the system that say nothing of what was asked for: this process, or the host, has no room."""

START_SHORTAGES: Final = SHORTAGES | {errno.EAGAIN}
"""Those of a start: EAGAIN is also the error where no process or thread can be started."""

_SHOWN: Final = 64

_TYPES: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "a boolean",
    "array": "a list",
    "object": "an object",
}

_FAULTS: Final = (
    # (what msgspec says, what nh says); the field's name is `field`, else where msgspec says that it is
    (r"Object missing required field `(?P<field>.*)`", "is missing"),
    (r"Object contains unknown field `(?P<field>.*)`", "is unknown"),
    (r"Expected `[^`]*` >= (?P<limit>\S+)", "is below {limit}"),
    (r"Expected `[^`]*` <= (?P<limit>\S+)", "is above {limit}"),
    (r"Expected `str` of length <= (?P<limit>\d+)", "is longer than {limit} characters"),
    (r"Expected `[^`]*` of length <= (?P<limit>\d+)", "has more than {limit} entries"),
    (r"Expected `(?P<wanted>[^`]*)`, got `(?P<found>[^`]*)`", "is {found}, not {wanted}"),
    (r"(?:Number|Integer value) out of range", "is out of range"),
    (r"(?P<own>it sent \w+)", "{own}"),
    (r"Invalid (?:enum )?value .*", "has a value that is unknown"),
    (r"Input data was truncated", "ends too early"),
    (r".*trailing characters \(byte (?P<limit>\d+)\)", "goes on behind its end, at byte {limit}"),
    (r".*\(byte (?P<limit>\d+)\)", "byte {limit} cannot be read"),
)
_RULES: Final = tuple((re.compile(rule, re.DOTALL), text) for rule, text in _FAULTS)
_PLACE: Final = re.compile(r"(?P<what>.*) - at `(?:key in )?\$(?P<path>[^`]*)`", re.DOTALL)


def reason(error: BaseException) -> str:
    """Why it failed, without the number and the file name that the system's errors begin and end with."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, msgspec.MsgspecError | UnicodeError | RecursionError):
        return decode_fault(error, "")
    return str(error) or type(error).__name__


def shortage(error: OSError) -> str:
    """Why a process, a socket or a descriptor was refused, and which limit to raise, where it is a limit."""
    remedies = {
        errno.EMFILE: "raise the limit on descriptors (ulimit -Hn, LimitNOFILE= of the service)",
        errno.ENFILE: "raise the limit on descriptors of the host (fs.file-max)",
        errno.EAGAIN: "raise the limit on processes (ulimit -u, TasksMax= of the service)",
    }
    remedy = remedies.get(error.errno or 0)
    return f"{reason(error)}; {remedy}" if remedy else reason(error)


def decode_fault(error: Exception, whole: str) -> str:
    """What is wrong with data, and where: `FIELD: what`.

    Args:
        error: of a decoder of msgspec, or an error of Unicode or recursion that it lets pass.
        whole: what the data are, for a fault that is in no field; "": the message does not say.
    """
    where, fault = _fault(error)
    where = show_text(where[-_SHOWN:]) or whole
    return f"{where}: {fault}" if where else fault


def _fault(error: Exception) -> tuple[str, str]:
    """The path of the field, "" if the fault is in none, and the fault."""
    if isinstance(error, RecursionError):
        return "", "is nested too deep"
    if isinstance(error, UnicodeError):
        return "", "has text that is not UTF-8"
    placed = _PLACE.fullmatch(str(error))
    said, path = (placed["what"], placed["path"]) if placed else (str(error), "")
    for rule, text in _RULES:
        if found := rule.fullmatch(said):
            parts = found.groupdict()
            types = {name: _type_words(parts[name]) for name in ("wanted", "found") if name in parts}
            where = f"{path}.{parts.get('field') or ''}".strip(".").replace("[...]", "")
            return where, text.format_map(parts | types)
    return "", "cannot be read"


def _type_words(types: str) -> str:
    return " or ".join(_TYPES.get(each, each) for each in types.split(" | "))
