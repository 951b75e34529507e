"""Origins: the o= and s= that an end was sent last (RFC 8866 5.2), where a client wants them to stay.

The o= line names a session and numbers its versions. An end may take a change of anything but the number for
another session, so a client can have the relay keep the rest, and count.
"""

from typing import Final, NamedTuple

MAX_ORIGIN_BYTES: Final = 1024
"""Longest string of an origin that the relay keeps; longer ones pass on as they are."""


class Origin(NamedTuple):
    """User name, session id and version of an o= line, and the text of the s= line."""

    username: bytes
    session_id: bytes
    version: bytes
    session_name: bytes

    @property
    def is_keepable(self) -> bool:
        """Whether all strings are short enough to be kept."""
        return max(map(len, self)) <= MAX_ORIGIN_BYTES


class SentOrigin(NamedTuple):
    """The origin that an end was sent last.

    Attributes:
        origin: what its SDP had.
        digest: of that SDP without the version; it tells whether the next SDP says anything else.
    """

    origin: Origin
    digest: bytes


def next_version(version: bytes) -> bytes:
    """The version plus one; it may have any number of digits, and what is no number counts as 0."""
    if not version.isdigit():
        return b"1"
    head = version.rstrip(b"9")
    zeros = b"0" * (len(version) - len(head))
    return (head[:-1] + b"%d" % (int(head[-1:]) + 1) if head else b"1") + zeros
