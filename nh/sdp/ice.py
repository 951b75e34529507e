"""ICE in a forwarded SDP (RFC 8839): whose candidates and credentials it has.

Where ICE passes through, nh changes candidates and no credentials: a check authenticates its sender by the
peers' user fragments and passwords, and covers no address outside the packet (RFC 8445 7.2.2).
"""

import enum
from collections.abc import Iterable, Iterator, Sequence

from nh.ice.candidates import MAX_LOCAL_PREFERENCE, RELAY_PREFERENCE, foundation, priority
from nh.ice.credentials import IceCredentials
from nh.ip_address import canonical_address, is_address
from nh.sdp.description import Medium
from nh.sdp.lines import Edits
from nh.sdp.section import Section, drop_attributes

_CANDIDATES = ("candidate", "remote-candidates")
_ICE = (
    *_CANDIDATES,
    "end-of-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "ice-mismatch",
    "ice-pacing",
)


CandidatePlace = tuple[str, tuple[int, ...]]
"""An address of the relay, and the port of each component there."""


class IceAction(enum.Enum):
    """What to do with ICE attributes (RFC 8839), in all planned media and in the session section.

    KEEP: leave them.
    REMOVE: remove all of them.
    REPLACE: replace the peer's candidates by the relay's, under the peer's credentials.
    ADD: add the relay's candidates to the peer's, with the lowest priority. If the peers find a path around
        the relay, it sees no packets of such media, and the call goes on.
    RELAY: the same with candidates of type relay (RFC 8445 5.1.1.2), and without those of the peer's relays.
        Such media keep their m= and c= lines, unless they name a relay of the peer (see staying_media).
    OWN: remove all of them; media whose plan has credentials get these, and the relay's candidates.

    All but KEEP remove a=remote-candidates, which has addresses that the receiver does not know.
    """

    KEEP = "keep"
    REMOVE = "remove"
    REPLACE = "replace"
    ADD = "add"
    RELAY = "relay"
    OWN = "own"


def rewrite_session_ice(edits: Edits, session: Section, action: IceAction, *, lite: bool) -> None:
    """Rewrite the ICE attributes of a session section.

    Args:
        edits: of the SDP.
        session: the section.
        action: see IceAction.
        lite: say that the relay is a lite agent (RFC 8839 5.3).
    """
    if action in (IceAction.REMOVE, IceAction.OWN):
        drop_attributes(edits, session, _ICE)
    elif action is IceAction.REPLACE:
        drop_attributes(edits, session, _CANDIDATES)
    if lite:
        edits.insert_after(session.last, b"a=ice-lite")


def staying_media(relayed: Sequence[Medium], bundles: Iterable[Sequence[str]]) -> dict[int, Medium]:
    """The media, by number, that stay where they are, with the relay as a candidate (IceAction.RELAY).

    So do those of a bundle at the port of such a tagged medium, whose ICE is theirs (RFC 9143 7.1.3).

    Args:
        relayed: the media that the relay has ports for.
        bundles: see SessionDescription.
    """
    staying = {each.number: each for each in relayed if each.ice and not _defaults_to_relay(each)}
    by_mid = {medium.mid: medium for medium in relayed}
    for mids in bundles:
        members = [by_mid[mid] for mid in mids if mid in by_mid]
        if members and members[0].number in staying:
            staying |= {each.number: each for each in members if each.port == members[0].port}
    return staying


def _defaults_to_relay(medium: Medium) -> bool:
    """Whether m= and c= name a relay of the peer, as RFC 8839 4.2.1.2 recommends.

    Without that candidate these lines must not name it: an end whose peer has no candidate for them takes no
    part in ICE (RFC 8839 4.2.5).
    """
    return any(
        fields[1] == b"1" and _address_of(fields) == (medium.connection, medium.port)
        for _, fields in _relays_of(medium)
    )


def rewrite_medium_ice(
    edits: Edits,
    medium: Medium,
    action: IceAction,
    places: list[CandidatePlace],
    *,
    credentials: IceCredentials | None,
    options: tuple[str, ...] = (),
) -> None:
    """Rewrite the ICE attributes of a medium.

    Args:
        edits: of the SDP.
        medium: the medium.
        action: see IceAction.
        places: of the relay, the default first; none if the medium is rejected. Further ones are candidates
            of its own ICE alone.
        credentials: the relay's.
        options: what a=ice-options is to say of the relay: `trickle` (RFC 8838), `ice2` (RFC 8445 10).
    """
    if action is IceAction.OWN:
        drop_attributes(edits, medium, _ICE)
        if credentials is not None and places:
            for line in _lines_of(credentials, places, options):
                edits.insert_after(medium.last, line)
    elif action is IceAction.REMOVE:
        drop_attributes(edits, medium, _ICE)
    elif action is not IceAction.KEEP:
        drop_attributes(edits, medium, _CANDIDATES if action is IceAction.REPLACE else ("remote-candidates",))
        if action is IceAction.RELAY:
            _drop_relays(edits, medium)
        if medium.ice:
            _write_candidates(edits, medium, action, places)


def _lines_of(
    credentials: IceCredentials, places: list[CandidatePlace], options: tuple[str, ...]
) -> list[bytes]:
    lines = [f"a=ice-ufrag:{credentials.ufrag}".encode(), f"a=ice-pwd:{credentials.password}".encode()]
    if options:
        lines.append(f"a=ice-options:{' '.join(options)}".encode())
    for number, (address, ports) in enumerate(places):
        preference = MAX_LOCAL_PREFERENCE - number
        lines += [
            _make_candidate(address, port, component, priority(component, preference))
            for component, port in enumerate(ports, 1)
        ]
    if "trickle" in options:
        lines.append(b"a=end-of-candidates")  # RFC 8840 4.2: no more will come
    return lines


def _write_candidates(edits: Edits, medium: Medium, action: IceAction, places: list[CandidatePlace]) -> None:
    candidates = [
        _make_passing(action, address, port, component)
        for address, ports in places[:1]
        for component, port in enumerate(ports, 1)
    ]
    offered = {edits.text(index) for index, _ in medium.attributes.get("candidate", ())}
    after = _last_candidate(medium)
    for candidate in candidates:
        if action is not IceAction.ADD or candidate not in offered:
            edits.insert_after(after, candidate)


def _last_candidate(medium: Medium) -> int:
    """Index of the last line of the peer's candidates, else of its credentials, else of the medium."""
    for names in (("candidate",), ("ice-ufrag", "ice-pwd")):
        indexes = [index for name in names for index, _ in medium.attributes.get(name, ())]
        if indexes:
            return max(indexes)
    return medium.last


def _make_passing(action: IceAction, address: str, port: int, component: int) -> bytes:
    """A candidate of the relay under a peer's credentials."""
    if action is IceAction.RELAY:
        rank = priority(component, type_preference=RELAY_PREFERENCE)
        text = _make_candidate(address, port, component, rank, kind="relay")
        return b"%b raddr %b rport %d" % (text, address.encode(), port)
    rank = 256 - component if action is IceAction.ADD else priority(component)
    return _make_candidate(address, port, component, rank)


def _make_candidate(address: str, port: int, component: int, rank: int, *, kind: str = "host") -> bytes:
    return f"a=candidate:{foundation(address)} {component} UDP {rank} {address} {port} typ {kind}".encode()


def _drop_relays(edits: Edits, medium: Medium) -> None:
    """Remove the candidates of the peer's own relays."""
    for index, _ in _relays_of(medium):
        edits.drop(index)


def _relays_of(medium: Medium) -> Iterator[tuple[int, list[bytes]]]:
    """The candidates of the peer's own relays: their lines and fields."""
    for index, value in medium.attributes.get("candidate", ()):
        fields = value.split()
        if fields[6:8] == [b"typ", b"relay"]:
            yield index, fields


def _address_of(fields: list[bytes]) -> tuple[str, int]:
    """The address and port of a candidate; port -1 if it has none."""
    address = fields[4].decode("ascii", "backslashreplace")
    if is_address(address):
        address = canonical_address(address, where="a=candidate")
    return address, int(fields[5]) if fields[5].isdigit() and len(fields[5]) <= 5 else -1
