"""Replies by cookie, so that a request that is sent again is not executed again.

A client that repeats a request while the first is under way gets the same reply as the first. What is said of
cookies here is true of any key that makes out a request. Knows no sockets and no protocol; times are passed
in.
"""

import math
from collections import deque
from collections.abc import Hashable
from typing import Final

from nh.rpc.events import Send
from nh.rpc.packed_replies import MAX_BYTES, MIN_BYTES, TOGETHER, PackedReplies

KEEP_S: Final = 60.0
"""Seconds that a reply is kept: clients give up after 5 s, and try a failed relay again after 60 s."""

MAX_REPLIES: Final = 65_536
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""Most replies kept, and most bytes in them, packed or not, and their cookies; the oldest go first."""

MAX_PENDING: Final = 16_384
"""Most requests under way."""

MAX_WAITING: Final = 32
"""Most senders that wait for one reply."""


class ReplyCache:
    """The replies of the last KEEP_S seconds, and the senders that wait for replies to come.

    Replies are packed TOGETHER, except for short and long ones: most are never asked for.

    Args:
        keep_s, max_replies, max_bytes: see KEEP_S, MAX_REPLIES, MAX_REPLY_BYTES.

    Attributes:
        dropped: replies so far that were forgotten before their time, for want of room.
    """

    def __init__(
        self, *, keep_s: float = KEEP_S, max_replies: int = MAX_REPLIES, max_bytes: int = MAX_REPLY_BYTES
    ) -> None:
        self.dropped = 0
        self._keep_s = keep_s
        self._max_replies = max_replies
        self._max_bytes = max_bytes
        self._kept: dict[bytes, bytes | PackedReplies] = {}
        self._to_pack: list[bytes] = []  # cookies of the latest
        # beside `_kept`: the first key of a dictionary whose first ones go is ever further away; two, because
        # pairs would be as many objects more
        self._ends: deque[int] = deque()
        self._cookies: deque[bytes] = deque()
        self._kept_bytes = 0
        self._pending: dict[bytes, dict[Hashable, Send]] = {}

    @property
    def full(self) -> bool:
        """Whether no further request may be begun."""
        return len(self._pending) >= MAX_PENDING

    def find(self, cookie: bytes, now: float) -> bytes | None:
        """The kept reply to an earlier request with this cookie; None if there is none."""
        if self._ends and self._ends[0] <= now:
            self._forget(now)
        kept = self._kept.get(cookie)
        return kept.unpack(cookie) if isinstance(kept, PackedReplies) else kept

    def is_pending(self, cookie: bytes) -> bool:
        """Whether a request with this cookie is under way."""
        return cookie in self._pending

    def begin(self, cookie: bytes, sender: Hashable, send: Send) -> None:
        """Note a request that is under way; finish() follows. Its cookie is not pending yet."""
        self._pending[cookie] = {sender: send}

    def wait(self, cookie: bytes, sender: Hashable, send: Send) -> bool:
        """Add a sender to those that wait for the reply to a pending request; each gets it once.

        Returns:
            False if too many senders wait already.
        """
        senders = self._pending[cookie]
        if sender not in senders and len(senders) >= MAX_WAITING:
            return False
        senders[sender] = send
        return True

    def finish(self, cookie: bytes, reply: bytes, now: float) -> tuple[Send, ...]:
        """Keep the reply to a pending request; returns the `send` of every sender that waits for it."""
        senders = self._pending.pop(cookie)
        self._kept[cookie] = reply
        size = len(reply)
        end = math.ceil(now + self._keep_s)  # in whole seconds, so that many have the same object
        ends = self._ends
        ends.append(ends[-1] if ends and ends[-1] == end else end)
        self._cookies.append(cookie)
        self._kept_bytes += len(cookie) + size
        if self._overfull:
            self._forget(now)
        if MIN_BYTES <= size <= MAX_BYTES:
            self._to_pack.append(cookie)
            if len(self._to_pack) == TOGETHER:
                self._pack()
        return tuple(senders.values())

    def _pack(self) -> None:
        kept = self._kept
        replies = {cookie: reply for cookie in self._to_pack if type(reply := kept.get(cookie)) is bytes}
        self._to_pack = []
        if replies:
            packed = PackedReplies(replies)
            kept |= dict.fromkeys(replies, packed)
            self._kept_bytes += sum(packed.share - len(reply) for reply in replies.values())

    @property
    def _overfull(self) -> bool:
        return len(self._kept) > self._max_replies or self._kept_bytes > self._max_bytes

    def _forget(self, now: float) -> None:
        kept, ends = self._kept, self._ends
        while ends and (ends[0] <= now or self._overfull):
            self.dropped += ends.popleft() > now
            cookie = self._cookies.popleft()
            self._kept_bytes -= len(cookie) + _size_of(kept.pop(cookie))


def _size_of(kept: bytes | PackedReplies) -> int:
    return kept.share if isinstance(kept, PackedReplies) else len(kept)
