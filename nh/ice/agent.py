"""The lite agent: it answers connectivity checks, and follows the pair that the peer nominates (RFC 8445).

An IceAgent belongs to one end and one medium, and has the credentials. An IceComponent belongs to one socket
of that medium, and has the sources that passed a check.
"""

import enum
from typing import Final, NamedTuple

from nh.ice.credentials import MAX_CHARACTERS, IceCredentials
from nh.ice.stun import (
    BINDING,
    NotStun,
    StunAttribute,
    StunClass,
    StunMessage,
    decode,
    encode,
    error_code,
    unknown_attributes,
    xor_mapped_address,
)

Address = tuple[str, int]
"""An IP address, with its zone if it is link-local, and a port."""

MAX_SOURCES: Final = 16
"""Most sources that have passed a check at one component; a further one replaces the oldest."""

MAX_REFUSALS: Final = 20
"""Most error responses in one second and component: senders without a key are sent no more."""

ICE_OPTIONS: Final = ("trickle", "ice2")
"""The options of ICE that the relay supports: Trickle ICE (RFC 8840) and RFC 8445 itself (its section 10)."""

_MAX_UNKNOWN: Final = 8


class CheckResult(enum.Enum):
    """What became of one packet of STUN.

    ANSWERED: a check that passed.
    NOT_STUN: it is no message, is damaged, or has no FINGERPRINT.
    IGNORED: it asks for nothing: an indication, a response, another method.
    INCOMPLETE: it has no user name or no integrity (400).
    WRONG_UFRAG: its user name is not that of the SDPs (401).
    WRONG_PASSWORD: its integrity does not fit its user name (401).
    UNKNOWN_ATTRIBUTE: it needs an extension (420).
    ROLE_CONFLICT: the peer believes to be controlled, as a lite agent always is (487).
    """

    ANSWERED = "answered"
    NOT_STUN = "not_stun"
    IGNORED = "ignored"
    INCOMPLETE = "incomplete"
    WRONG_UFRAG = "wrong_ufrag"
    WRONG_PASSWORD = "wrong_password"
    UNKNOWN_ATTRIBUTE = "unknown_attribute"
    ROLE_CONFLICT = "role_conflict"


REFUSED: Final = (
    CheckResult.NOT_STUN,
    CheckResult.INCOMPLETE,
    CheckResult.WRONG_UFRAG,
    CheckResult.WRONG_PASSWORD,
    CheckResult.UNKNOWN_ATTRIBUTE,
    CheckResult.ROLE_CONFLICT,
)
"""The results of packets that were no check as it should be."""

_RESPONSES: Final = {
    CheckResult.INCOMPLETE: (400, "Bad Request"),
    CheckResult.WRONG_UFRAG: (401, "Unauthenticated"),
    CheckResult.WRONG_PASSWORD: (401, "Unauthenticated"),
    CheckResult.UNKNOWN_ATTRIBUTE: (420, "Unknown Attribute"),
    CheckResult.ROLE_CONFLICT: (487, "Role Conflict"),
}


class Check(NamedTuple):
    """The decision about one packet.

    Attributes:
        result: see CheckResult.
        response: what to send back to where it came from; b"": nothing.
        validated: its source had not passed a check before.
        selected: its source is the selected one from now on, and was not before.
    """

    result: CheckResult
    response: bytes = b""
    validated: bool = False
    selected: bool = False


class IceAgent:
    """The relay's agent towards one end, for one medium.

    Args:
        credentials: those that the relay announced to the end, the newest first. Around a restart there are
            two: the end checks with the old ones until it has the relay's new SDP.
        remote_ufrag: the end's own user fragment; "": the end has not announced it yet, and any is taken.
        earlier_ufrag: the end's user fragment before its last restart, "" before the first one.
        remote_lite: the end is lite, too, and sends no checks.
        options: those of ICE_OPTIONS that the end supports, too.
    """

    __slots__ = ("credentials", "earlier_ufrag", "options", "remote_lite", "remote_ufrag")

    def __init__(
        self,
        credentials: tuple[IceCredentials, ...],
        remote_ufrag: str = "",
        earlier_ufrag: str = "",
        *,
        remote_lite: bool = False,
        options: tuple[str, ...] = (),
    ) -> None:
        self.credentials = credentials
        self.remote_ufrag = remote_ufrag
        self.earlier_ufrag = earlier_ufrag
        self.remote_lite = remote_lite
        self.options = options

    def knows(self, packet: bytes) -> bool:
        """Whether a packet is a message of STUN whose user name is for this agent."""
        try:
            username = decode(packet).attributes.get(StunAttribute.USERNAME, b"")
        except NotStun:
            return False
        return self.find(username) is not None

    def find(self, username: bytes) -> IceCredentials | None:
        """The credentials that a user name of a check is for (RFC 8445 7.2.2); None: it is for none."""
        local, colon, remote = username.partition(b":")
        if not colon or not self.is_remote(remote):
            return None
        return next((each for each in self.credentials if each.ufrag_bytes == local), None)

    def is_remote(self, ufrag: bytes) -> bool:
        """Whether a user fragment may be the end's."""
        if not self.remote_ufrag:
            return len(ufrag) <= MAX_CHARACTERS
        return any(each and ufrag == each.encode() for each in (self.remote_ufrag, self.earlier_ufrag))


class Checked(NamedTuple):
    """The last check that passed from one source.

    Attributes:
        remote: the user fragment of the end that it had.
        local: which of the relay's candidates it came to; None if there is only one.
    """

    remote: bytes
    local: Address | None = None


class IceComponent:
    """One component of a medium: the sources that have passed a check.

    Attributes:
        sources: those sources, the one whose last check is the newest at the end.
        selected: the one that the end nominated last; None: none yet.
        selected_local: which of the relay's candidates it nominated with that; None if there is only one.
        checked_at: monotonic seconds of the last check that passed; None: none did.
        results: how often each result was.
    """

    __slots__ = (
        "_refusals",
        "_refused_in",
        "checked_at",
        "results",
        "selected",
        "selected_local",
        "sources",
    )

    def __init__(self) -> None:
        self.sources: dict[Address, Checked] = {}
        self.selected: Address | None = None
        self.selected_local: Address | None = None
        self.checked_at: float | None = None
        self.results: dict[CheckResult, int] = {}
        self._refused_in = 0
        self._refusals = 0

    def count(self, result: CheckResult) -> None:
        """Count one packet."""
        self.results[result] = self.results.get(result, 0) + 1

    def passed(self, source: Address, check: Checked, *, nominated: bool, now: float) -> tuple[bool, bool]:
        """Note a check that passed; returns whether its source is validated, its pair selected, only now."""
        validated = self.sources.pop(source, None) is None
        if validated and len(self.sources) >= MAX_SOURCES:
            del self.sources[next(each for each in self.sources if each != self.selected)]
        self.sources[source] = check
        self.checked_at = now
        selected = nominated and (source, check.local) != (self.selected, self.selected_local)
        if selected:
            self.selected, self.selected_local = source, check.local
        return validated, selected

    def keep_only(self, agent: IceAgent) -> None:
        """Forget the sources that are not of an end: it has answered, and others may have, too."""
        self.sources = {
            source: check for source, check in self.sources.items() if agent.is_remote(check.remote)
        }
        if self.selected not in self.sources:
            self.selected = self.selected_local = None

    def may_refuse(self, *, now: float) -> bool:
        """Whether one more error response may be sent (monotonic seconds)."""
        second = int(now)
        if second != self._refused_in:
            self._refused_in, self._refusals = second, 0
        self._refusals += 1
        return self._refusals <= MAX_REFUSALS


def answer_check(
    agent: IceAgent,
    component: IceComponent,
    packet: memoryview | bytes,
    source: Address,
    *,
    local: Address | None = None,
    now: float,
) -> Check:
    """Decide about one packet of STUN, and answer it.

    No response is longer than three times its request.

    Args:
        agent: of the end.
        component: where it came to; it notes what became of it.
        packet: as it came.
        source: where it came from.
        local: which of the relay's candidates it came to; None if there is only one.
        now: monotonic seconds.
    """
    try:
        message = decode(packet)
    except NotStun:
        component.count(CheckResult.NOT_STUN)
        return Check(CheckResult.NOT_STUN)
    result, credentials, mac = _judge(agent, message)
    component.count(result)
    if result is CheckResult.IGNORED:
        return Check(result)
    if result is not CheckResult.ANSWERED:
        if not component.may_refuse(now=now):
            return Check(result)
        return Check(result, _refuse(message, result, credentials, mac))
    assert credentials is not None
    mapped = xor_mapped_address(*source, message.transaction)
    response = encode(StunClass.SUCCESS, message.transaction, (mapped,), key=credentials.key, mac=mac)
    checked = Checked(message.attributes[StunAttribute.USERNAME].partition(b":")[2], local)
    nominated = StunAttribute.USE_CANDIDATE in message.attributes
    return Check(result, response, *component.passed(source, checked, nominated=nominated, now=now))


def _judge(agent: IceAgent, message: StunMessage) -> tuple[CheckResult, IceCredentials | None, int]:
    """What a message is; whose credentials it has, and by which attribute, as far as it is authentic."""
    if message.kind is not StunClass.REQUEST or message.method != BINDING:
        return CheckResult.IGNORED, None, 0
    username = message.attributes.get(StunAttribute.USERNAME)
    if username is None or not message.macs:
        return CheckResult.INCOMPLETE, None, 0
    credentials = agent.find(username)
    if credentials is None:
        return CheckResult.WRONG_UFRAG, None, 0
    mac = message.authenticated_by(credentials.key)
    if mac is None:
        return CheckResult.WRONG_PASSWORD, None, 0
    return _judge_authentic(message), credentials, mac


def _judge_authentic(message: StunMessage) -> CheckResult:
    if message.unknown:
        return CheckResult.UNKNOWN_ATTRIBUTE
    if StunAttribute.ICE_CONTROLLED in message.attributes:
        return CheckResult.ROLE_CONFLICT
    return CheckResult.ANSWERED


def _refuse(message: StunMessage, result: CheckResult, credentials: IceCredentials | None, mac: int) -> bytes:
    """The error response; it is authentic where the request was."""
    attributes = [error_code(*_RESPONSES[result])]
    if result is CheckResult.UNKNOWN_ATTRIBUTE:
        attributes.append(unknown_attributes(message.unknown[:_MAX_UNKNOWN]))
    key = None if credentials is None else credentials.key
    return encode(StunClass.ERROR, message.transaction, attributes, key=key, mac=mac)
