"""A DTLS association: all handshakes with one end, and what has come of them (RFC 5763, RFC 6347).

An end may send from several addresses, and strangers may send, too. Behind ICE a source is validated before,
and all that is validated is one end. Without ICE each source has a handshake of its own: it begins with a
cookie, and the sender that has the certificate of the SDP is the end. Where nh begins, the end answers from
where nh sends. Nothing that a stranger sends ends a handshake of the end, or what was agreed with it.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

from nh.dtls.attempts import AMPLIFICATION, Attempt, Attempts, Budget
from nh.dtls.fingerprints import Fingerprint
from nh.dtls.handshake import Handshake
from nh.dtls.identity import Identity
from nh.dtls.problem import Problem
from nh.dtls.profiles import AgreedKeys
from nh.dtls.records import ContentType, DtlsRecord, split

MAX_ATTEMPTS: Final = 10
"""How often nh begins a handshake as the client."""

CLIENT_BYTES: Final = 4096
"""What nh sends as the client beyond AMPLIFICATION: its first flight is an answer to nothing, a forged cookie
has it sent anew, and timers repeat flights of 1 KiB."""

_IN_CLEAR: Final = (ContentType.HANDSHAKE, ContentType.CHANGE_CIPHER_SPEC)
"""The records in clear that a handshake takes: it would fail for any other one, and an alert may be a
stranger's."""

BUSY_S: Final = 1.0
"""How long nh waits before it tries to begin again, while the process has too many handshakes."""

_RANDOM: Final = slice(14, 46)
"""Where the random of a ClientHello is in the payload of its first fragment (RFC 6347 4.2.2)."""


class OutgoingDatagram(NamedTuple):
    """A datagram to send.

    Attributes:
        payload: the datagram.
        source: the source that it goes to; None: to where the media of the end go.
    """

    payload: bytes
    source: Hashable | None


class Association:
    """DTLS with one end.

    Args:
        identity: the relay's certificate; it is needed once a handshake begins.
        fingerprints: of the end's certificate, those that are usable.
        active: nh begins, as the client.
        budget: of the process.
        established: a handshake was finished before, by the process that this one follows.
        last_flight, agreed_source: of that handshake, see below.

    Attributes:
        problem: why there are no keys yet, None if nothing is wrong.
        failures: handshakes that came to nothing, by Problem; who counts them clears it.
        last_flight: what ended the latest handshake, for an end that has not got it.
        agreed_source: where the end was at that handshake; None: there was none, or nh was the
            client without ICE.
    """

    def __init__(
        self,
        identity: Identity,
        fingerprints: Sequence[Fingerprint],
        *,
        active: bool,
        budget: Budget,
        established: bool = False,
        last_flight: Sequence[bytes] = (),
        agreed_source: Hashable | None = None,
    ) -> None:
        self._identity = identity
        self._fingerprints = tuple(fingerprints)
        self._active = active
        self._attempts = Attempts(budget)
        self._begun = 0
        self._begin_at = 0.0
        self._established = established
        self._agreed: AgreedKeys | None = None
        self._agreed_random = b""
        self._output: list[OutgoingDatagram] = []
        self.problem: Problem | None = None
        self.failures: Counter[Problem] = Counter()
        self.last_flight = list(last_flight)
        self.agreed_source = agreed_source

    @property
    def established(self) -> bool:
        """Whether a handshake has been finished."""
        return self._established

    @property
    def running(self) -> bool:
        """Whether a handshake runs."""
        return len(self._attempts) > 0

    @property
    def timer_at(self) -> float:
        """Monotonic seconds at which on_timer() is due; 0: nh is to begin now."""
        if self._must_begin:
            return self._begin_at
        return self._attempts.timer_at

    @property
    def _must_begin(self) -> bool:
        return self._active and not self._established and not self._attempts and self._begun < MAX_ATTEMPTS

    def receive(
        self, datagram: bytes, source: Hashable, *, validated: bool, answers: bool, now: float
    ) -> bool:
        """Handle a datagram.

        Args:
            datagram: of any bytes.
            source: where it came from; `repr` tells sources apart.
            validated: ICE has shown that the end receives there.
            answers: where nh begins: the end may answer from this source.
            now: monotonic seconds.

        Returns:
            Whether it may be the end's. What is not changes nothing.
        """
        records = list(split(datagram))
        hello = next((each for each in records if each.is_client_hello), None)
        key = None if validated or self._active else source
        attempt = self._attempts.find(key)
        is_checked = validated or not self._active
        if attempt is not None and not is_checked and not attempt.hears(answers=answers, now=now):
            return False
        if hello is not None and (attempt is None or attempt.random not in (b"", _random_of(hello))):
            if not self._active and _random_of(hello) != self._agreed_random:
                self._meet(records, datagram, source, validated=validated, now=now)
            return True
        if attempt is None and not self._active and any(each.is_hello_fragment for each in records):
            self._meet(records, datagram, source, validated=validated, now=now)
            return True
        if attempt is None:
            self._repeat(records, source, validated=validated)
            return True
        self._hand_over(key, attempt, records, source, validated=validated, now=now)
        return True

    def on_timer(self, *, now: float) -> None:
        """Begin, repeat a flight, or give a handshake up, as it is time (monotonic seconds)."""
        if self._must_begin and now >= self._begin_at:
            self._begin(now=now)
        for key, attempt in self._attempts:
            if now >= attempt.deadline:
                self._give_up(key, Problem.ALERT if attempt.alert else Problem.TIMEOUT)
            elif now >= attempt.timer_at:
                attempt.handshake.on_timer()
                self._follow(key, attempt, now=now)

    def take_output(self) -> list[OutgoingDatagram]:
        """What is to be sent now."""
        output, self._output = self._output, []
        return output

    def take_agreed(self) -> AgreedKeys | None:
        """The keys of a handshake that was finished since the last call; None: there is none."""
        agreed, self._agreed = self._agreed, None
        return agreed

    def close(self) -> None:
        """End all handshakes."""
        self._attempts.drop_all()

    # --- handshakes -----------------------------------------------------------------------------------

    def _begin(self, *, now: float) -> None:
        """Begin as the client."""
        if not self._has_room(validated=True):
            self._begin_at = now + BUSY_S
            return
        self._begun += 1
        handshake = Handshake(self._identity, self._fingerprints, server=False)
        attempt = self._attempts.begin(None, handshake, None, validated=False, free=CLIENT_BYTES, now=now)
        handshake.begin()
        self._follow(None, attempt, now=now)

    def _meet(
        self, records: list[DtlsRecord], datagram: bytes, source: Hashable, *, validated: bool, now: float
    ) -> None:
        """Answer a ClientHello of a source with which there is no handshake."""
        # a ClientHello in pieces has no room for a cookie: it gets three times its bytes, no more
        listens = not validated and not any(each.is_hello_fragment for each in records)
        if not self._has_room(validated=validated or listens):
            return
        handshake = Handshake(
            self._identity, self._fingerprints, server=True, source=repr(source).encode(), listens=listens
        )
        if not listens:
            key = None if validated else source
            attempt = self._attempts.begin(key, handshake, source, validated=validated, now=now)
            self._hand_over(key, attempt, records, source, validated=validated, now=now)
            return
        handshake.receive(datagram)
        if handshake.listens or not handshake.running:
            self._output += [OutgoingDatagram(each, source) for each in handshake.take_output()]
            handshake.close()
            return
        attempt = self._attempts.begin(source, handshake, source, validated=True, now=now)
        attempt.random = _random_of(records[0])
        self._follow(source, attempt, now=now)

    def _has_room(self, *, validated: bool) -> bool:
        if self._attempts.has_room(validated=validated):
            return True
        self.problem = Problem.BUSY
        self.failures[Problem.BUSY] += 1
        return False

    def _hand_over(
        self,
        key: Hashable | None,
        attempt: Attempt,
        records: list[DtlsRecord],
        source: Hashable,
        *,
        validated: bool,
        now: float,
    ) -> None:
        """Give a handshake what it may see.

        What nh says as the client goes to where the media of the end go, unless ICE has validated the source.
        """
        seen = [each for each in records if each.epoch or each.content_type in _IN_CLEAR]
        before = attempt.source
        if validated or not self._active:
            attempt.source = source
        attempt.validated = attempt.validated or validated
        said = len(self._output)
        attempt.received += sum(len(each.whole) for each in records)
        for each in seen:
            if each.is_client_hello:
                attempt.random = attempt.random or _random_of(each)
        if any(_is_fatal(each) for each in records):
            attempt.alert, self.problem = True, self.problem if self._established else Problem.ALERT
        if seen:
            attempt.handshake.receive(b"".join(each.whole for each in seen))
            self._follow(key, attempt, now=now)
        if not validated and len(self._output) == said:
            attempt.source = before  # nothing came of it: what is repeated does not follow a stranger

    def _follow(self, key: Hashable | None, attempt: Attempt, *, now: float) -> None:
        """Send what a handshake has to say, and take what it has come to."""
        handshake = attempt.handshake
        datagrams = handshake.take_output()
        attempt.validated = attempt.validated or handshake.keys is not None
        self._output += [OutgoingDatagram(each, attempt.source) for each in attempt.admit(datagrams)]
        if handshake.keys is not None:
            self._established, self.problem = True, None
            self._agreed, self.agreed_source = handshake.keys, attempt.source
            self._agreed_random, self.last_flight = attempt.random, [] if self._active else datagrams
            self.close()
        elif not handshake.running:
            self._give_up(key, handshake.problem or Problem.FAILED)
        else:
            wait_s = handshake.timeout()
            attempt.timer_at = min(attempt.deadline, math.inf if wait_s is None else now + wait_s)

    def _give_up(self, key: Hashable | None, problem: Problem) -> None:
        self.failures[problem] += 1
        if not self._established:
            self.problem = problem
        self._attempts.drop(key)

    def _repeat(self, records: list[DtlsRecord], source: Hashable, *, validated: bool) -> None:
        """The end repeats its last flight: it has not got the answer. A stranger gets none."""
        known = validated or source == self.agreed_source
        received = sum(len(each.whole) for each in records if each.content_type == ContentType.HANDSHAKE)
        if known and AMPLIFICATION * received >= sum(map(len, self.last_flight)):
            self._output += [OutgoingDatagram(each, source) for each in self.last_flight]


def _random_of(hello: DtlsRecord) -> bytes:
    return hello.payload[_RANDOM]


def _is_fatal(record: DtlsRecord) -> bool:
    return record.content_type == ContentType.ALERT and not record.epoch and record.payload[:1] == b"\x02"
