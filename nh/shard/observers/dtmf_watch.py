"""DtmfWatch: sends telephone events where the client of a call wants them (ng's dtmf-log-dest), as rtpengine.

Where no client says anything, the setting of that name decides for the calls of ng. The watch is a tap on
each leg of such a call with telephone events that it can read, and so keeps the leg in user space. Each event
is one datagram of JSON, sent at once and once: a receiver that is not there costs nothing.
"""

import functools
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from nh.calls.call import Call
from nh.calls.events import CallObserver
from nh.calls.latching.claims import Carried
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.offer_answer.party import Party
from nh.calls.rtp.telephone_events import EventReader, TelephoneEvent
from nh.calls.session import Session
from nh.calls.table import CallTable
from nh.shard.media.sockets.addresses import family_of

DEFAULT_CLOCK_HZ = 8000
"""The clock of events whose payload type no SDP describes."""


class DtmfWatch(CallObserver):
    """Reports telephone events.

    Args:
        table: the calls.
    """

    def __init__(self, table: CallTable) -> None:
        self._table = table
        self._sockets: dict[int, socket.SocketType] = {}
        self._has_tapped = False  # in most shards no leg ever is

    def watch_all(self) -> None:
        """Watch the sessions of all calls: those that are restored were activated in another process."""
        for call in self._table:
            self._watch(call)

    def call_changed(self, call_id: bytes) -> None:
        """See CallObserver."""
        call = self._table.find_call(call_id)
        if call is not None:
            self._watch(call)

    def close(self) -> None:
        """Close its sockets."""
        while self._sockets:
            self._sockets.popitem()[1].close()

    def _watch(self, call: Call) -> None:
        wanted = self._target(call) is not None
        if not wanted and not self._has_tapped:  # nothing to take away
            return
        for session in call.running:
            changed = [
                leg
                for leg in session.legs
                if leg.rtp is None and bool(leg.taps) is not (wanted and _has_events(leg))
            ]
            for leg in changed:
                tap = functools.partial(self._note, call.call_id, session, leg, EventReader())
                leg.taps = () if leg.taps else (tap,)
            if changed:
                self._has_tapped = True
                call.resources.refresh_session(session)

    def _note(
        self, call_id: bytes, session: Session, leg: Leg, reader: EventReader, packet: memoryview
    ) -> None:
        event = reader.read(packet, leg.payload_types)
        if event is None or not _is_readable(leg):
            return
        call = self._table.find_call(call_id)
        target = self._target(call) if call is not None else None
        if call is not None and target is not None:
            self._send(msgspec.json.encode(_report(call, session, leg, event)), target)

    def _target(self, call: Call) -> Endpoint | None:
        """Where the events of a call go, None: nowhere."""
        if call.dtmf_target is not None or call.offers is None:
            return call.dtmf_target
        default = self._table.resources.settings.dtmf_log_dest
        return Endpoint.parse(default) if default else None

    def _send(self, report: bytes, target: Endpoint) -> None:
        family = family_of(target)
        try:
            if family not in self._sockets:
                self._sockets[family] = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._sockets[family].sendto(report, (target.address, target.port))
        except OSError:
            return  # no route, no room in the queue, or ICMP about an earlier one: events are sent once


def _has_events(leg: Leg) -> bool:
    return leg.payload_types is not None and bool(leg.payload_types.events) and _is_readable(leg)


def _is_readable(leg: Leg) -> bool:
    """Whether it is no SRTP that passes through."""
    return leg.security is not None or Carried.PADDED in leg.terms.carried


def _report(call: Call, session: Session, leg: Leg, event: TelephoneEvent) -> dict[str, Any]:
    """What rtpengine sends, with its names."""
    sender = next((party for party, theirs in _ends(call) if theirs is leg), None)
    source = leg.transport.source
    parties = call.offers.parties if call.offers is not None else ()
    return {
        "callid": _text(call.call_id),
        "source_tag": _text(sender.tag) if sender is not None else "",
        "source_label": sender.label if sender is not None else "",
        "tags": list(dict.fromkeys([_text(party.tag) for party in parties])),
        "type": "DTMF",
        "timestamp": int(time.time()),
        "source_ip": source.address if source is not None else "",
        "event": event.code,
        "duration": event.duration * 1000 // _clock_hz(session, event.payload_type),
        "volume": event.volume,
    }


def _ends(call: Call) -> Iterator[tuple[Party, Leg]]:
    """The parties of a call, each with the legs that receive from it."""
    for dialog in call.offers.participants.all_dialogs if call.offers is not None else ():
        for party in (dialog.caller, dialog.callee):
            for session in dialog.all_sessions:
                for leg in session.legs[dialog.side_of(party) :: 2]:
                    yield party, leg


def _clock_hz(session: Session, payload_type: int) -> int:
    formats = (*session.group_from.media[0].formats, *session.group_to.media[0].formats)
    return next((each.clock_hz for each in formats if each.payload_type == payload_type), DEFAULT_CLOCK_HZ)


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
