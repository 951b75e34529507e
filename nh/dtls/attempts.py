"""The handshakes of one end that run, and how many there may be: of the end, and of the process."""

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

from nh.dtls.handshake import Handshake

LIFETIME_S: Final = 30.0
"""How long a handshake may take."""

MAX_HANDSHAKES: Final = 4
"""Most handshakes of one end at the same time: another one ends the oldest, those of sources that have shown
nothing first."""

AMPLIFICATION: Final = 3
"""How many times as many bytes as a source has sent may go to it while it is not validated."""

ALONE_S: Final = 2.5
"""How long nh, as the client, hears only the address that it sends to. An end that a NAT moves on the way
back answers the third ClientHello, 3 s after the first."""


class Budget:
    """How many handshakes a process has, and may have.

    Sources that have not shown that they receive what they are sent leave half of it to the others.

    Args:
        most: the limit: each has 90 KiB.

    Attributes:
        most: the limit.
        running: how many there are; its user counts it.
    """

    def __init__(self, most: int = 512) -> None:
        self.most = most
        self.running = 0

    def has_room(self, *, validated: bool) -> bool:
        """Whether one more handshake may begin, with a source that has shown that it receives."""
        return self.running < (self.most if validated else self.most // 2)


class Attempt:
    """A handshake, and what belongs to it.

    Args:
        handshake: see Handshake.
        source: where what it says goes; None: to where the media of the end go.
        validated: the source has shown that it receives what it is sent.
        free: how many bytes may go to it before, beside those of AMPLIFICATION.
        now: monotonic seconds.

    Attributes:
        begun: monotonic seconds at which it began.
        deadline: monotonic seconds at which it is given up.
        timer_at: monotonic seconds at which its timer is due.
        random: of the ClientHello that it answers; b"": none has come.
        alert: whether an alert came that is not encrypted, so that it may be a stranger's.
        received: how many bytes came.
        answered: where nh is the client: whether anything came that answers; see hears().
    """

    __slots__ = (
        "_free",
        "_sent",
        "alert",
        "answered",
        "begun",
        "deadline",
        "handshake",
        "random",
        "received",
        "source",
        "timer_at",
        "validated",
    )

    def __init__(
        self, handshake: Handshake, source: Hashable | None, *, validated: bool, free: int = 0, now: float
    ) -> None:
        self.handshake = handshake
        self.source = source
        self.validated = validated
        self.begun = now
        self.deadline = self.timer_at = now + LIFETIME_S
        self.random = b""
        self.alert = False
        self.received = 0
        self.answered = False
        self._free = free
        self._sent = 0

    def hears(self, *, answers: bool, now: float) -> bool:
        """Whether nh, as the client, takes a datagram: a single one of a stranger could end the handshake.

        Args:
            answers: it comes from where nh sends, or its end is asymmetric.
            now: monotonic seconds.
        """
        self.answered |= answers
        return answers or (not self.answered and now >= self.begun + ALONE_S)

    def admit(self, datagrams: Sequence[bytes]) -> list[bytes]:
        """Of the datagrams that the handshake has to send, those that its source may be sent."""
        admitted: list[bytes] = []
        for each in datagrams:
            if not self.validated and self._sent + len(each) > self._free + AMPLIFICATION * self.received:
                break
            self._sent += len(each)
            admitted.append(each)
        return admitted


class Attempts:
    """The handshakes of one end that run.

    Each has a key, by which what comes finds it: its source, or None where all sources are one end.

    Args:
        budget: of the process.
    """

    __slots__ = ("_budget", "_by_key")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._by_key: dict[Hashable | None, Attempt] = {}

    def __len__(self) -> int:
        """How many run."""
        return len(self._by_key)

    def __iter__(self) -> Iterator[tuple[Hashable | None, Attempt]]:
        """The key of each, and the attempt, as they are now; they may be dropped meanwhile."""
        return iter(list(self._by_key.items()))

    @property
    def timer_at(self) -> float:
        """Monotonic seconds at which the first timer is due; infinite if none runs."""
        return min((each.timer_at for each in self._by_key.values()), default=math.inf)

    def find(self, key: Hashable | None) -> Attempt | None:
        """The one of that key; None: there is none."""
        return self._by_key.get(key)

    def has_room(self, *, validated: bool) -> bool:
        """Whether the process may have one more, see Budget."""
        return self._budget.has_room(validated=validated)

    def begin(
        self,
        key: Hashable | None,
        handshake: Handshake,
        source: Hashable | None,
        *,
        validated: bool = True,
        free: int = 0,
        now: float,
    ) -> Attempt:
        """One more, in the place of the one that has its key; see MAX_HANDSHAKES, and Attempt."""
        self.drop(key)
        while len(self._by_key) >= MAX_HANDSHAKES:
            stranger = next((key for key, each in self._by_key.items() if not each.validated), None)
            self.drop(next(iter(self._by_key)) if stranger is None else stranger)
        attempt = self._by_key[key] = Attempt(handshake, source, validated=validated, free=free, now=now)
        self._budget.running += 1
        return attempt

    def drop(self, key: Hashable | None) -> None:
        """End the one of that key, if there is one."""
        attempt = self._by_key.pop(key, None)
        if attempt is not None:
            attempt.handshake.close()
            self._budget.running -= 1

    def drop_all(self) -> None:
        """End all of them."""
        for key in list(self._by_key):
            self.drop(key)
