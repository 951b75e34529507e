"""The table of all calls of one relay: the door to the domain.

Every rule that a protocol needs is behind these methods, written once. The table reads no clock and
opens no socket: `now` comes in with every call, sockets through Resources.
"""

from collections.abc import Iterator, Sequence

from nh.calls.call import Call
from nh.calls.media import Media, RelayMedia, Side
from nh.calls.offer_answer.party import MediumRequest
from nh.calls.resources import Resources
from nh.calls.session import Session, SessionInfo
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.errors import Draining, LimitReached, Refused, UnknownCall


class CallTable:
    """Calls by call-id.

    Arguments:
        resources: sockets, limits, plane.
        wall_offset_s: what to add to monotonic seconds to get wall-clock seconds.

    While `draining` is True, new call-ids are refused; those that are known go on as ever.
    """

    def __init__(self, resources: Resources, *, wall_offset_s: float = 0.0) -> None:
        self.resources = resources
        self.draining = False
        self._wall_offset_s = wall_offset_s
        self._calls: dict[bytes, Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    @property
    def running(self) -> Iterator[Session]:
        """All sessions that relay."""
        for call in self._calls.values():
            yield from call.running

    def find_call(self, call_id: bytes) -> Call | None:
        """The call, None if it is not known."""
        return self._calls.get(call_id)

    def get_call(self, call_id: bytes) -> Call:
        """The call. Raises UnknownCall."""
        call = self._calls.get(call_id)
        if call is None:
            raise UnknownCall("no call is known under this call-id")
        return call

    def make_call(self, call_id: bytes, *, created: float) -> Call:
        """A call that is to be restored, not in the table yet; no limit applies, it was admitted once.

        Raises Refused if a call of this call-id is there.
        """
        if call_id in self._calls:
            raise Refused("a call is known under this call-id already")
        return Call(call_id, self.resources, wall_offset_s=self._wall_offset_s, now=created)

    def keep(self, call: Call) -> None:
        """Take in what make_call returned."""
        self._calls[call.call_id] = call

    def allocate(
        self,
        *,
        call_id: bytes,
        id_from: bytes,
        id_to: bytes,
        cseq: int,
        side: Side,
        address: str,
        media: tuple[Media, ...],
        now: float,
    ) -> tuple[RelayMedia, ...]:
        """The relay's ports for the media of one SDP, one entry a medium; see Call.allocate.

        Raises LimitReached for a new call beyond max_calls, Draining for one while the table drains, and
        what Call.allocate raises.
        """
        call = self._calls.get(call_id) or self._new_call(call_id, now=now)
        relay_media = call.allocate(
            id_from=id_from, id_to=id_to, cseq=cseq, side=side, address=address, media=media, now=now
        )
        self._begin(call)
        return relay_media

    def activate(
        self,
        *,
        call_id: bytes,
        id_from: bytes,
        id_to: bytes,
        cseq: int,
        param: dict[str, str],
        now: float,
    ) -> bool:
        """Relay between two ends; returns False if that was so already. See Call.activate."""
        return self.get_call(call_id).activate(id_from=id_from, id_to=id_to, cseq=cseq, param=param, now=now)

    def offer(
        self,
        *,
        call_id: bytes,
        from_tag: bytes,
        to_tag: bytes,
        branch: bytes,
        requests: list[MediumRequest],
        expected: Sequence[MediumRequest] = (),
        policy: SourcePolicy | None,
        now: float,
    ) -> list[SocketGroup | None]:
        """The groups for the media of an offer; see Offers.offer.

        Raises LimitReached for a new call beyond max_calls, Draining for one while the table drains, and
        what Offers.offer raises.
        """
        call = self._calls.get(call_id) or self._new_call(call_id, now=now)
        groups = call.get_offers(now=now).offer(
            from_tag=from_tag,
            to_tag=to_tag,
            branch=branch,
            requests=requests,
            expected=expected,
            policy=policy,
            now=now,
        )
        self._begin(call)
        return groups

    def delete(
        self, *, call_id: bytes, from_tag: bytes, to_tag: bytes, branch: bytes, delay_s: float, now: float
    ) -> None:
        """ng's delete: dialogs or the whole call, now or after a while; see Offers.delete.

        Raises UnknownCall.
        """
        call = self.get_call(call_id)
        call.get_offers(now=now).delete(
            from_tag=from_tag, to_tag=to_tag, branch=branch, at=now + delay_s, now=now
        )
        self._forget_if_empty(call)

    def close(
        self, *, call_id: bytes, id_from: bytes, id_to: bytes, cseq: int | None, now: float
    ) -> list[SessionInfo]:
        """End the session of transaction `cseq`, or every session between the ends if cseq is None or 0.

        Returns what ended: nothing where no session was active, though sockets may have been freed.
        Raises UnknownCall.
        """
        call = self.get_call(call_id)
        if cseq:
            closed = call.close_session(id_from=id_from, id_to=id_to, cseq=cseq, now=now)
        else:
            closed = call.close_between(id_from=id_from, id_to=id_to, now=now)
        self._forget_if_empty(call)
        return closed

    def close_call(self, call_id: bytes, *, now: float) -> list[SessionInfo]:
        """End everything under a call-id. Raises UnknownCall."""
        call = self.get_call(call_id)
        closed = call.close(now=now)
        self._forget_if_empty(call)
        return closed

    def expire(self, *, now: float) -> None:
        """End what fell silent and close what nothing needs, in all calls."""
        for call in [call for call in self._calls.values() if call.next_expiry <= now]:
            call.note(now=now)
            call.expire(now=now)
            self._forget_if_empty(call)

    def _new_call(self, call_id: bytes, *, now: float) -> Call:
        """A call that is not in the table yet: only what succeeds is kept."""
        if self.draining:
            raise Draining("nh drains: it takes no new calls, and ends with those that it has")
        limit = self.resources.settings.max_calls
        if limit and len(self._calls) >= limit:
            raise LimitReached(f"one more call exceeds max_calls = {limit}")
        return Call(call_id, self.resources, wall_offset_s=self._wall_offset_s, now=now)

    def _begin(self, call: Call) -> None:
        if call.call_id not in self._calls:
            self._calls[call.call_id] = call
            self.resources.events.call_begun(call.call_id)

    def _forget_if_empty(self, call: Call) -> None:
        if call.is_empty:
            del self._calls[call.call_id]
            self.resources.events.call_ended(call.call_id)
