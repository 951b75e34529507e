"""One call in full, as `nh calls CALL-ID` shows it: sessions, both directions of each pair, ports. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rich.text import Text

from nh.address import TcpAddress
from nh.calls.call_event import CallEvent
from nh.cli.stats.quantities import byte_size, count, duration, packets
from nh.ip_address import host_port
from nh.printable import counted, show_id, show_text
from nh.results import CallDetail, GroupDetail, IceDetail, LegDetail, PairDetail, SessionDetail, StreamDetail
from nh.verdict import State, judge_call

_STATES: Final = {State.OK: "green", State.WAITING: "yellow", State.PROBLEM: "red"}


def call_lines(call: CallDetail) -> Iterator[Text]:
    """The call, line by line."""
    yield Text("call ", style="bold").append(show_id(call.call_id))
    yield Text(f"  shard {call.shard} · age {duration(call.age_s)} · idle {duration(call.idle_s)}")
    for verdict in judge_call(call).verdicts:
        way = "from → to" if verdict.sender == "from" else "to → from"
        line = Text(f"  {show_text(verdict.kind) or 'medium'} {verdict.medium}, {way}: ")
        yield line.append(f"{verdict.state}: {show_text(verdict.found)}", style=_STATES[verdict.state])
    for session in call.sessions:
        yield Text()
        yield from _session(session)
    if call.groups:
        yield Text()
        yield Text("ports announced in place of", style="bold")
        for group in call.groups:
            yield _group(group)
    if call.events:
        yield Text()
        yield Text("events", style="bold")
        for event in call.events:
            yield _event(event)
    if call.events_left_out:
        yield Text(f"  {call.events_left_out} between the first and the latest are not shown", style="dim")


def _event(event: CallEvent) -> Text:
    at = datetime.fromtimestamp(event.at).strftime("%H:%M:%S.%f")[:-3]
    port = f" port {event.port}" if event.port else ""
    tag = f" {show_id(event.tag)}" if event.tag else ""
    detail = f": {show_text(event.detail)}" if event.detail else ""
    return Text(f"  {at} {show_text(event.event).replace('_', ' ')}{port}{tag}{detail}")


def _session(session: SessionDetail) -> Iterator[Text]:
    created = datetime.fromtimestamp(session.created).strftime("%Y-%m-%d %H:%M:%S")
    title = Text(f"session {session.sessionid}", style="bold")
    # 0: agreed by ng's offer and answer, which have no CSeq
    cseq = f" · cseq {session.cseq}" if session.cseq else ""
    yield title.append(f"{cseq} · {session.state} · created {created}", style="not bold")
    for side, uri, identifier in (
        ("from", session.from_, session.id_from),
        ("to", session.to, session.id_to),
    ):
        media = show_text(_bracketed(uri)) or ("not answered yet" if session.state == "offered" else "-")
        line = Text(f"  {side:<5}{media}")
        yield line.append(f"  id {show_id(identifier)}", style="dim") if identifier else line
    yield Text(f"  received {byte_size(session.bytes_from)} from, {byte_size(session.bytes_to)} to")
    if param := ", ".join(f"{key}={value}" for key, value in session.param.items() if value):
        yield Text("  param " + show_text(param))
    ago = "ago" if session.age_s is not None else "before the end"
    for pair in session.pairs:
        yield _pair_title(pair)
        yield from _leg("from", pair.from_, ago)
        yield from _leg("to", pair.to, ago)


def _bracketed(media: str) -> str:
    """Media of Net::SIP (ADDRESS:PORT/RANGE, between commas) with IPv6 addresses in brackets."""
    parts = (medium.rpartition(":") for medium in media.split(","))
    return ", ".join(host_port(host, port) if colon else port for host, colon, port in parts)


def _pair_title(pair: PairDetail) -> Text:
    component = {0: "RTP", 1: "RTCP"}.get(pair.component, f"port +{pair.component}")
    return Text(f"  {show_text(pair.kind) or 'medium'} {pair.medium} {component}", style="cyan")


def _leg(side: str, leg: LegDetail, ago: str) -> Iterator[Text]:
    if leg.muxed:
        yield Text(f"    {side:<5}sends RTCP to the port of RTP (rtcp-mux)", style="dim")
        if leg.packets:
            yield Text(f"         {packets(leg.packets)}, {byte_size(leg.bytes)}")
        return
    state = "latched" if leg.latched else "latching"
    source = f"{leg.source} ({state})" if leg.source is not None else "nothing yet"
    yield Text(f"    {side:<5}sends to {leg.sdp_endpoint}, announced {leg.announced or '-'}, source {source}")
    idle = f", idle {duration(leg.idle_s)}" if leg.idle_s is not None else ""
    counters = Text(f"         {packets(leg.packets)}, {byte_size(leg.bytes)}{idle}")
    dropped = ", ".join(f"{count(number)} {reason}" for reason, number in leg.dropped.items() if number)
    if dropped:
        counters.append(f", dropped {dropped}".replace("_", " "), style="yellow")
    if leg.refused_from is not None:
        counters.append(f", latest mismatch from {leg.refused_from}", style="yellow")
    yield counters
    yield Text(f"         {_path(leg)}", style="green" if leg.kernel else "dim")
    if leg.ice is not None:
        yield _ice(leg.ice, ago)
    for stream in leg.streams:
        yield _stream(stream)


def _path(leg: LegDetail) -> str:
    """Which way its packets go, and why if that is not the short one."""
    if leg.dtls:
        return f"in user space, no keys of SRTP with this end yet: DTLS: {show_text(leg.dtls)}"
    if leg.srtp:
        return f"in user space, SRTP with this end: {show_text(leg.srtp)}"
    if leg.kernel:
        return f"in the kernel: {count(leg.kernel_packets)} of its packets"
    text = "in user space"
    if leg.user_space_because:
        text += f": {show_text(leg.user_space_because)}"
    return f"{text}; {count(leg.kernel_packets)} in the kernel before" if leg.kernel_packets else text


def _ice(ice: IceDetail, ago: str) -> Text:
    """What the checks of an end have come to; `ago`: from when on times count back."""
    if not ice.expected:
        return Text("         ICE: a lite end, which sends no checks", style="dim")
    text = Text("         ICE: ", style="dim")
    if ice.checks:
        where = f"nominated {ice.selected}" if ice.selected else "nothing nominated yet"
        text.append(f"{count(ice.checks)} checks, the last {duration(ice.checked_s or 0.0)} {ago}, {where}")
    else:
        text.append("no check has passed", style="yellow")
    if refused := ", ".join(f"{count(number)} {reason}" for reason, number in ice.refused.items()):
        text.append(f"; refused {refused}".replace("_", " "), style="yellow")
    return text


def _stream(stream: StreamDetail) -> Text:
    name = show_text(stream.encoding) or f"payload type {stream.payload_type}"
    text = Text(f"         SSRC {stream.ssrc:08x} {name}: {packets(stream.packets)}")
    if stream.lost:
        text.append(f", {count(stream.lost)} lost ({stream.loss_ratio:.2%})", style="yellow")
    else:
        text.append(", none lost")
    for number, what in ((stream.reordered, "reordered"), (stream.duplicates, "duplicated")):
        if number:
            text.append(f", {count(number)} {what}")
    if stream.jitter_ms is not None:
        text.append(f", jitter {stream.jitter_ms:.1f} ms")
    if stream.mos is not None:
        text.append(f", MOS {stream.mos:.1f}")
    return text


def _group(group: GroupDetail) -> Text:
    side = group.side.name.lower()
    used = "in a session" if group.used else "unused"
    cseq = f"cseq {group.cseq} · " if group.cseq else ""
    text = Text(f"  {side:<5}{cseq}{used} · age {duration(group.age_s)}")
    if group.id:
        text.append(f"  id {show_id(group.id)}", style="dim")
    media = ", ".join(
        f"{TcpAddress(medium.address, medium.port)} ({counted(medium.range, 'port')})"
        if medium.port
        else "port 0 for an inactive medium"
        for medium in group.media
    )
    if not any(medium.port for medium in group.media):
        ports = " ".join(map(str, group.local_ports))
        return text.append(f"\n       not announced to the other end: {ports}", style="dim")
    text.append(f"\n       announced to the other end, in {side}'s place: {media}", style="dim")
    if group.further:
        text.append(f"\n       and by ICE at {', '.join(group.further)}", style="dim")
    return text
