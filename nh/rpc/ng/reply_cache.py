"""ng's replies by cookie, so that a request that comes again is not executed again.

Whoever repeats a request while the first is under way gets the same reply as the first. The key is the
cookie alone, as in rtpengine: clients see to it that theirs are not those of others. The module knows nothing
of sockets and of what is in a reply; times are handed in.
"""

from collections.abc import Callable, Hashable
from typing import Final

KEEP_S: Final = 60.0
"""How long a reply is kept: clients give up after five seconds, and come back to a relay after sixty."""

MAX_REPLIES: Final = 65_536
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""Most replies kept, and most bytes in them and their cookies; the oldest go first."""

MAX_PENDING: Final = 16_384
"""Most requests under way."""

MAX_WAITING: Final = 32
"""Most senders that wait for one reply."""

Send = Callable[[bytes], None]
"""Sends a reply, cookie and all, to one of those who asked."""


class ReplyCache:
    """The replies of the last while, and who waits for those that are to come.

    Arguments:
        keep_s, max_replies, max_bytes: see KEEP_S, MAX_REPLIES, MAX_REPLY_BYTES.
    """

    def __init__(
        self, *, keep_s: float = KEEP_S, max_replies: int = MAX_REPLIES, max_bytes: int = MAX_REPLY_BYTES
    ) -> None:
        self._keep_s = keep_s
        self._max_replies = max_replies
        self._max_bytes = max_bytes
        self._kept: dict[bytes, tuple[float, bytes]] = {}  # until when; in the order of their times
        self._kept_bytes = 0
        self._pending: dict[bytes, dict[Hashable, Send]] = {}

    @property
    def full(self) -> bool:
        """Whether no further request may be begun."""
        return len(self._pending) >= MAX_PENDING

    def find(self, cookie: bytes, now: float) -> bytes | None:
        """The reply to an earlier request with this cookie, None if there is none (any more)."""
        self._forget(now)
        kept = self._kept.get(cookie)
        return None if kept is None else kept[1]

    def is_pending(self, cookie: bytes) -> bool:
        """Whether a request with this cookie is under way."""
        return cookie in self._pending

    def begin(self, cookie: bytes, sender: Hashable, send: Send) -> None:
        """A request is under way; finish() follows. The cookie is not pending yet."""
        self._pending[cookie] = {sender: send}

    def wait(self, cookie: bytes, sender: Hashable, send: Send) -> bool:
        """One more asks for the reply to a pending request.

        Returns False if there are too many of them; one sender counts, and is answered, once.
        """
        senders = self._pending[cookie]
        if sender not in senders and len(senders) >= MAX_WAITING:
            return False
        senders[sender] = send
        return True

    def finish(self, cookie: bytes, reply: bytes, now: float) -> tuple[Send, ...]:
        """The reply to a pending request; returns how to send it to everybody who waits."""
        senders = self._pending.pop(cookie)
        self._kept[cookie] = (now + self._keep_s, reply)
        self._kept_bytes += len(cookie) + len(reply)
        self._forget(now)
        return tuple(senders.values())

    def _forget(self, now: float) -> None:
        while self._kept:
            cookie, (until, reply) = next(iter(self._kept.items()))
            full = len(self._kept) > self._max_replies or self._kept_bytes > self._max_bytes
            if until > now and not full:
                return
            del self._kept[cookie]
            self._kept_bytes -= len(cookie) + len(reply)
