"""The error numbers of rtpproxy's protocol, and which of them a failure of nh's gets.

SIP proxies choose another relay by some numbers, so these are an interface: docs/reference/rtpproxy.md lists
them.
"""

import enum
from collections.abc import Mapping
from typing import Final

from nh.commands import Command, Update
from nh.errors import MalformedRequest
from nh.results import Failure


class Error(enum.IntEnum):
    """Errors, by the numbers of rtpproxy's rtpp_command_ecodes.h."""

    UNKNOWN_COMMAND = 0
    ARGUMENTS = 1
    MODIFIERS = 2
    SUBCOMMAND = 3
    SYNTAX = 5
    TRY_ANOTHER = 7
    DELETE_MODIFIER = 8
    STATISTICS_MODIFIER = 9
    NOTIFY_TAG = 10
    BRIDGE = 11
    PTIME = 13
    CODECS = 14
    LOCAL_ADDRESS = 15
    REMOTE_ADDRESS = 16
    INFO_MODIFIER = 18
    QUERY_MODIFIER = 19
    STATISTICS_TOO_LONG = 25
    QUERY_TOO_LONG = 26
    UNKNOWN_MODIFIER = 35
    NO_INTERFACE = 36
    ADDRESS = 37
    NO_SESSION = 50
    PLAY = 60
    QUERY = 62
    COPY = 65
    STATISTICS = 68
    NO_PORT = 71
    INTERNAL = 72
    OVERLOAD = 98
    DRAINING = 99


class RequestError(MalformedRequest):
    """A request that is refused before it is executed.

    Args:
        number: the error in the reply.
        message: for log lines.
    """

    def __init__(self, number: Error, message: str) -> None:
        super().__init__(message)
        self.number = number


_NUMBERS: Final[Mapping[str, Error]] = {
    "not_found": Error.NO_SESSION,
    "unsupported": Error.NO_INTERFACE,
    "no_ports": Error.NO_PORT,
    "bad_address": Error.NO_PORT,
    "limit": Error.NO_PORT,
    "draining": Error.DRAINING,
    "unavailable": Error.OVERLOAD,
    "timeout": Error.OVERLOAD,
}

_ELSEWHERE: Final = frozenset({"no_ports", "bad_address", "limit", "draining", "unavailable", "timeout"})
"""Codes with which another relay may have room."""


def number_of(failure: Failure, command: Command) -> Error:
    """The error for a failed command.

    OpenSIPS tries its next relay for 7 to 10, and for no other number. It reads them in the reply to U only:
    in the reply to L they end its process.
    """
    if isinstance(command, Update) and failure.code in _ELSEWHERE:
        return Error.TRY_ANOTHER
    return _NUMBERS.get(failure.code, Error.INTERNAL)
