"""How far an agreement on keys is while nothing is wrong with it, as words that people and verdicts read."""

import enum


class HandshakeProgress(enum.StrEnum):
    """How far a handshake of DTLS is that has neither ended nor failed.

    AWAITED: the end is to begin it, and has not yet.
    TO_BEGIN: the relay is to begin it.
    RUNNING: it has begun.
    """

    AWAITED = "waiting for the end to begin"
    TO_BEGIN = "nh is to begin"
    RUNNING = "the handshake goes on"
