"""What a check has found."""

import enum
from collections.abc import Iterator

import msgspec


class Status(enum.StrEnum):
    """OK; WARNING: nh works, but calls may suffer; FAILURE: nh cannot start, or cannot relay."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


class Finding(msgspec.Struct, frozen=True):
    """One result of a check.

    Attributes:
        check: the name of the check.
        status: see Status.
        found: what is so, one line.
        meaning: what that does to calls; "" if all is well.
        remedy: what to do, with the command if there is one; "" if all is well.
    """

    check: str
    status: Status
    found: str
    meaning: str = ""
    remedy: str = ""


Findings = Iterator[Finding]
"""What a check finds; the doctor adds its name."""


def fault_and_remedy(message: str, otherwise: str = "") -> tuple[str, str]:
    """What an error message of nh says is wrong, and, behind its first semicolon, what to do.

    Args:
        message: of the error.
        otherwise: what to do if it does not say.
    """
    fault, _, remedy = message.partition("; ")
    return fault, remedy or otherwise


def ok(found: str) -> Finding:
    """A finding without a fault."""
    return Finding("", Status.OK, found)


def warning(found: str, meaning: str, remedy: str) -> Finding:
    """A finding with which nh works, but calls may suffer."""
    return Finding("", Status.WARNING, found, meaning, remedy)


def failure(found: str, meaning: str, remedy: str) -> Finding:
    """A finding with which nh cannot start or cannot relay."""
    return Finding("", Status.FAILURE, found, meaning, remedy)
