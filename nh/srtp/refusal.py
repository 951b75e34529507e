"""Refusals: why SRTP lets a packet not pass."""

import enum


class Refusal(enum.StrEnum):
    """Why a packet does not pass."""

    MALFORMED = "malformed"
    NO_KEY = "no key"
    AUTHENTICATION = "authentication"
    REPLAY = "replay"
    EXHAUSTED = "exhausted"
    """The key has protected as many packets or streams as it may."""


class SrtpRefused(Exception):
    """A packet does not pass.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason
