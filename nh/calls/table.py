"""The table of all calls of one relay: the interface of the domain.

All rules that protocols need are behind these methods. The table reads no clock and opens no socket: `now` is
an argument, and sockets come from SharedResources.
"""

from collections.abc import Iterable, Iterator, Sequence

from nh.calls.call import Call
from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Media, RelayMedia, Side
from nh.calls.offer_answer.offered import MediumRequest
from nh.calls.offer_answer.offers import Offers, Prepare
from nh.calls.offer_answer.party import Party
from nh.calls.session import Session
from nh.calls.session_info import SessionInfo
from nh.calls.settings import RelaySettings
from nh.calls.shared_resources import SharedResources
from nh.errors import Draining, LimitReached, Refused, UnknownCall


class CallTable:
    """Calls by call-id.

    Args:
        resources: sockets, limits and media plane.

    Attributes:
        draining: while it is True, commands for unknown call-ids are refused.
        overload: the load limit that is reached, as its setting and a text: commands for unknown call-ids are
            refused; None: no such limit is reached.
    """

    def __init__(self, resources: SharedResources) -> None:
        self.resources = resources
        self.draining = False
        self.overload: tuple[str, str] | None = None
        self._calls: dict[bytes, Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    @property
    def call_ids(self) -> Iterable[bytes]:
        """The call-ids of all calls, in the order in which they began."""
        return self._calls.keys()

    @property
    def running(self) -> Iterator[Session]:
        """All sessions that relay."""
        for call in self._calls.values():
            yield from call.running

    def find_call(self, call_id: bytes) -> Call | None:
        """The call, None if the call-id is unknown."""
        return self._calls.get(call_id)

    def get_call(self, call_id: bytes) -> Call:
        """The call.

        Raises:
            UnknownCall: the call-id is unknown.
        """
        call = self._calls.get(call_id)
        if call is None:
            raise UnknownCall("the call-id is unknown")
        return call

    def make_call(self, call_id: bytes, *, created: float) -> Call:
        """A new call for restoring, not in the table yet. No limit applies: the call was admitted before.

        Raises:
            Refused: the table has a call of this call-id.
        """
        if call_id in self._calls:
            raise Refused("a call with this call-id exists already")
        return Call(call_id, self.resources, now=created)

    def add(self, call: Call) -> None:
        """Add a call that make_call() returned."""
        self._calls[call.call_id] = call
        self.resources.expiry.add(call.call_id)

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
        """Open the relay's ports for an SDP; see CallTransactions.allocate().

        A retransmission gets the ports of the first time, whatever its media are.

        Raises:
            Draining: the call is new and the table drains.
            LimitReached: the call is new, and there are max_calls others or a load limit is reached.
        """
        call = self._calls.get(call_id) or self._new_call(call_id, now=now)
        transactions = call.transaction_rules
        known = transactions.find(id_from, cseq)
        group = None if known is None else known.find_group(side, id_to)
        if group is not None:
            return group.relay_media
        relay_media = transactions.allocate(
            known,
            id_from=id_from,
            id_to=id_to,
            cseq=cseq,
            side=side,
            address=address,
            media=media,
            now=now,
        )
        call.expect_expiry(now=now)
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
        """Relay between the two ends of a transaction; see CallTransactions.activate().

        Raises:
            UnknownCall: the call-id is unknown, or the call has no transactions.
        """
        call = self.get_call(call_id)
        if not call.transactions:
            raise UnknownCall("the call has no transactions")
        created = call.transaction_rules.activate(
            id_from=id_from, id_to=id_to, cseq=cseq, param=param, now=now
        )
        if created:
            call.expect_expiry(now=now)
        return created

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
        prepare: Prepare | None = None,
        now: float,
    ) -> Party:
        """Apply an offer of ng's; see Offers.offer().

        Raises:
            Draining: the call is new and the table drains.
            LimitReached: the call is new, and there are max_calls others or a load limit is reached.
        """
        call = self._calls.get(call_id) or self._new_call(call_id, now=now)
        call.expect_expiry(now=now)
        offers = call.offers or Offers(call.resources)
        party = offers.offer(
            from_tag=from_tag,
            to_tag=to_tag,
            branch=branch,
            requests=requests,
            expected=expected,
            policy=policy,
            prepare=prepare,
            now=now,
        )
        call.offers = offers  # one that fails makes no call of Net::SIP's one of ng's, too
        self._begin(call)
        return party

    def delete(
        self, *, call_id: bytes, from_tag: bytes, to_tag: bytes, branch: bytes, delay_s: float, now: float
    ) -> None:
        """ng's delete: remove dialogs or the whole call after `delay_s` seconds; see Offers.delete().

        Raises:
            UnknownCall: nothing matches.
        """
        call = self.get_call(call_id)
        call.get_offers(now=now).delete(
            from_tag=from_tag, to_tag=to_tag, branch=branch, at=now + delay_s, now=now
        )
        self._forget_if_empty(call)

    def withdraw(self, *, call_id: bytes, party: Party, now: float) -> None:
        """Remove a party of ng's whose offer found no ports; see Offers.withdraw()."""
        call = self.get_call(call_id)
        call.get_offers(now=now).withdraw(party, now=now)
        self._forget_if_empty(call)

    def delete_offered(self, call: Call, offerers: Sequence[Party], *, now: float) -> None:
        """rtpproxy's delete; see Offers.delete_offered()."""
        call.get_offers(now=now).delete_offered(offerers, now=now)
        self._forget_if_empty(call)

    def close(
        self, *, call_id: bytes, id_from: bytes, id_to: bytes, cseq: int | None, now: float
    ) -> list[SessionInfo]:
        """End the session of transaction `cseq`, or all sessions between the ends if cseq is None or 0.

        Returns:
            The sessions that ended. Sockets without a session may have been closed, too.

        Raises:
            UnknownCall: the call-id is unknown.
        """
        call = self.get_call(call_id)
        if not call.transactions:
            return []
        transactions = call.transaction_rules
        if cseq:
            closed = transactions.close_session(id_from=id_from, id_to=id_to, cseq=cseq, now=now)
        else:
            closed = transactions.close_between(id_from=id_from, id_to=id_to, now=now)
        call.expect_expiry(now=now)
        self._forget_if_empty(call)
        return closed

    def close_call(self, call_id: bytes, *, now: float) -> list[SessionInfo]:
        """End a call; returns its sessions.

        Raises:
            UnknownCall: the call-id is unknown.
        """
        call = self.get_call(call_id)
        closed = call.close(now=now)
        self._forget_if_empty(call)
        return closed

    def change_settings(self, settings: RelaySettings, *, now: float) -> None:
        """Use these limits and rules from now on; legs keep the policy with which they began."""
        self.resources.settings = settings
        for call in self._calls.values():
            call.next_expiry = now
        self.resources.expiry.look_at_all()

    def expire(self, *, now: float) -> None:
        """End silent sessions and close unneeded sockets in all calls."""
        latest = now
        for call in self.resources.expiry.find_due(self._calls, now=now):
            call.note(now=now)
            sockets = self.resources.sockets
            call.expire(now=now)
            if call.next_expiry == latest:
                call.next_expiry = latest  # calls of one look often have the same: they share it
            latest = call.next_expiry
            if not self._forget_if_empty(call) and self.resources.sockets < sockets:
                self.resources.events.sockets_expired(call.call_id)

    def _new_call(self, call_id: bytes, *, now: float) -> Call:
        """A new call, not in the table yet: the command that makes it may still fail."""
        if self.draining:
            raise Draining("nh is draining, or its store is away: it takes no new calls, its calls go on")
        limit = self.resources.settings.max_calls
        if limit and len(self._calls) >= limit:
            raise LimitReached(f"max_calls is reached: this shard has its share of it, {limit}", "max_calls")
        if self.overload is not None:
            setting, text = self.overload
            raise LimitReached(text, setting)
        return Call(call_id, self.resources, now=now)

    def _begin(self, call: Call) -> None:
        if call.call_id not in self._calls:
            self._calls[call.call_id] = call
            self.resources.events.call_begun(call.call_id, call.timeline)

    def _forget_if_empty(self, call: Call) -> bool:
        """Forget a call without sockets; whether it has none."""
        if not call.is_empty:
            return False
        del self._calls[call.call_id]
        call.timeline.created = call.created
        self.resources.events.call_ended(call.call_id, call.timeline)
        return True
