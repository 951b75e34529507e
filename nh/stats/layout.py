"""The statistics: dataclasses whose fields have kind, unit and meaning.

The attribute, its position in shared memory, its name in JSON and its help text come from one line here.
This module knows nothing of shared memory, of processes and of how values are shown.
"""

import dataclasses
import enum
from typing import Final

from nh.stats.fields import Record, Total, counter, drop, gauge, table, text
from nh.stats.histograms import Histogram, histogram, histogram_table

MAX_GROUPS: Final = 64
"""Most groups of calls that a standby follows."""

MAX_SHARDS: Final = 256
"""Most shards of a segment."""

UNSAVED_BYTES: Final = 240
"""Most bytes of the text that names calls which could not be saved."""

_MILLISECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_LOSS: Final = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_MOS: Final = (1.5, 2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.4)


# eq, repr and match_args of so many fields would cost each start of a process 15 ms
@dataclasses.dataclass(slots=True, eq=False, repr=False, match_args=False)
class ShardStats:
    """Statistics that a shard writes and publishes at least twice a second."""

    packets_in: int = counter("packets received on media sockets, including dropped ones", "packets")
    bytes_in: int = counter("payload bytes of packets_in", "bytes")
    packets_out: int = counter("packets sent to the other end", "packets")
    bytes_out: int = counter("payload bytes of packets_out", "bytes")

    kernel_packets: int = counter(
        "packets relayed in the kernel; included in packets_in and packets_out", "packets"
    )
    kernel_bytes: int = counter("payload bytes of kernel_packets", "bytes")
    kernel_table_full: int = counter(
        "directions relayed in user space because the kernel's flow table was full", "directions"
    )
    kernel_refused: int = counter(
        "system calls for flows that the kernel refused; nh tries them again", "system calls"
    )

    drop_source_mismatch: int = drop("mismatch", "the source policy rejects the source")
    drop_no_target: int = drop("no target", "the other end does not receive, or its address is unknown yet")
    drop_send_failed: int = drop("send failed", "the kernel refused to send")
    drop_no_session: int = drop("no session", "the socket has no active session")
    drop_looped: int = drop("looped", "passed through ports of this relay too often (a loop)")
    drop_overflow: int = drop("overflow", "the receive buffer of the socket was full")
    drop_dtmf_blocked: int = drop("DTMF blocked", "a DTMF event of an end whose DTMF is blocked")
    drop_srtp_authentication: int = drop("SRTP authentication", "not protected with the key of its end")
    drop_srtp_replay: int = drop("SRTP replay", "SRTP that has been received before, or is too late")
    drop_srtp_no_key: int = drop("SRTP no key", "SRTP whose key is not known")
    drop_srtp_exhausted: int = drop(
        "SRTP beyond its key", "SRTP whose key has protected as much as it may already"
    )
    drop_srtp_unsent_no_key: int = drop(
        "SRTP no key yet", "the SRTP key of the other end is not agreed on yet"
    )
    drop_srtp_unsent_index_used: int = drop(
        "SRTP index used", "the SRTP key of the other end has protected a packet with its index already"
    )
    drop_srtp_unsent_exhausted: int = drop(
        "SRTP key used up", "the SRTP key of the other end has protected as much as it may"
    )
    drop_srtp_unsent_not_media: int = drop(
        "SRTP not media", "it is neither RTP nor RTCP, and the other end has SRTP"
    )
    drop_protocol_overflow: int = drop(
        "protocol overflow",
        "it is of ICE or DTLS, and too many such packets wait at its socket, or it is too long to wait",
    )
    drop_no_medium: int = drop("no medium", "it came over a bundle and is of none of its media")

    ice_checks: int = counter("checks of ICE that were answered", "checks")
    ice_not_stun: int = counter("packets to ICE that are no STUN, or damaged", "packets")
    ice_incomplete: int = counter("checks of ICE without user name or integrity", "checks")
    ice_wrong_ufrag: int = counter("checks of ICE with a user name of no SDP", "checks")
    ice_wrong_password: int = counter("checks of ICE with a wrong password", "checks")
    ice_unknown_attribute: int = counter("checks of ICE that need an extension", "checks")
    ice_role_conflict: int = counter("checks of ICE of ends that believe to be controlled", "checks")
    dtls_ok: int = counter("handshakes of DTLS that agreed on keys", "handshakes")
    dtls_fingerprint: int = counter(
        "handshakes of DTLS with another certificate than the SDP's", "handshakes"
    )
    dtls_profile: int = counter("handshakes of DTLS without a common protection profile", "handshakes")
    dtls_alert: int = counter("handshakes of DTLS that the end ended with an alert", "handshakes")
    dtls_failed: int = counter("handshakes of DTLS that failed otherwise", "handshakes")
    dtls_timeout: int = counter("handshakes of DTLS that the end did not finish in 30 s", "handshakes")
    dtls_busy: int = counter("handshakes of DTLS that were put off: too many ran", "handshakes")

    allocate_ok: int = counter("allocate commands carried out")
    allocate_refused: int = counter("allocate commands refused by a rule or a limit")
    allocate_failed: int = counter("allocate commands that failed by an error of nh or of the system")
    activate_ok: int = counter("activate commands carried out")
    activate_refused: int = counter("activate commands refused by a rule or a limit")
    activate_failed: int = counter("activate commands that failed by an error of nh or of the system")
    close_ok: int = counter("close commands carried out, including those for a whole call")
    close_refused: int = counter("close commands refused by a rule")
    close_failed: int = counter("close commands that failed by an error of nh or of the system")
    list_ok: int = counter("list commands carried out")
    list_refused: int = counter("list commands refused by a rule")
    list_failed: int = counter("list commands that failed by an error of nh or of the system")
    show_ok: int = counter("show commands carried out")
    show_refused: int = counter("show commands refused by a rule")
    show_failed: int = counter("show commands that failed by an error of nh or of the system")
    offer_ok: int = counter("offer commands of ng carried out")
    offer_refused: int = counter("offer commands of ng refused by a rule or a limit")
    offer_failed: int = counter("offer commands of ng that failed by an error of nh or of the system")
    answer_ok: int = counter("answer commands of ng carried out")
    answer_refused: int = counter("answer commands of ng refused by a rule or a limit")
    answer_failed: int = counter("answer commands of ng that failed by an error of nh or of the system")
    delete_ok: int = counter("delete commands of ng carried out")
    delete_refused: int = counter("delete commands of ng refused by a rule or a limit")
    delete_failed: int = counter("delete commands of ng that failed by an error of nh or of the system")
    query_ok: int = counter("query commands of ng carried out")
    query_refused: int = counter("query commands of ng refused by a rule or a limit")
    query_failed: int = counter("query commands of ng that failed by an error of nh or of the system")
    block_ok: int = counter("block and unblock commands of ng carried out")
    block_refused: int = counter("block and unblock commands of ng refused by a rule or a limit")
    block_failed: int = counter(
        "block and unblock commands of ng that failed by an error of nh or of the system"
    )

    refused_max_calls: int = counter("new calls refused because max_calls was reached", "calls")
    refused_max_sockets: int = counter("requests refused because of max_sockets", "requests")
    refused_max_cpu: int = counter("new calls refused because max_cpu was reached", "calls")
    refused_max_bandwidth: int = counter("new calls refused because max_bandwidth was reached", "calls")
    refused_ports: int = counter("requests refused because no media ports were free", "requests")
    refused_descriptors: int = counter(
        "requests refused because no descriptors or memory for sockets were left", "requests"
    )
    refused_draining: int = counter("new calls refused during a drain, or while the store was away", "calls")

    expired_silent: int = counter("sessions ended because no packet arrived for silent_s", "sessions")
    expired_hold: int = counter("sessions on hold ended because no packet arrived for hold_s", "sessions")
    expired_unused: int = counter("socket groups closed that never had a session", "groups")
    expired_replaced: int = counter("sessions ended because newer ones replaced them", "sessions")
    sessions_started: int = counter("sessions activated", "sessions")
    sessions_ended: int = counter("sessions ended, for any reason", "sessions")
    media_multicast: int = counter(
        "media announced at a multicast or broadcast address, where nh sends nothing", "media"
    )
    legs_not_held: int = counter(
        "legs for which the memory of counters that outlives the shard had no place", "legs"
    )
    cpu_s: float = counter("CPU time of all processes of the shard so far", "s")

    loop_late_s: Histogram = histogram(
        "s", "delay of the event loop, measured four times a second", *_MILLISECONDS
    )
    stream_loss: Histogram = histogram(
        "ratio", "lost packets by packets sent of RTP streams that ended", *_LOSS
    )
    stream_jitter_s: Histogram = histogram("s", "jitter of RTP streams that ended", *_MILLISECONDS)
    stream_mos: Histogram = histogram("mos", "estimated MOS of audio streams that ended", *_MOS)

    calls: int = gauge("calls known", "calls")
    sessions: int = gauge("sessions active", "sessions")
    sockets: int = gauge("media sockets open", "sockets")
    kernel_flows: int = gauge("directions relayed inside the kernel", "directions")
    ports_free: int = gauge("media ports free", "ports")
    ports_total: int = gauge("media ports in the shard's slice", "ports")
    byte_rate: int = gauge("payload bytes received in the last second", "bytes/s")
    cpu_percent: int = gauge("busy time of the shard's CPU in the last second", "percent", Total.MAX)
    load_percent: int = gauge(
        "use of the closest of max_calls, max_sockets, max_cpu, max_bandwidth; of the CPU without these",
        "percent",
        Total.MAX,
    )
    at_limit: int = gauge("1 while one of the limits below refuses new calls, otherwise 0", "shards")
    at_max_calls: int = gauge("1 while max_calls is reached, otherwise 0", "shards")
    at_max_sockets: int = gauge(
        "1 while max_sockets is reached, and 10 s after it has refused a request, otherwise 0", "shards"
    )
    at_max_cpu: int = gauge("1 while max_cpu is reached, otherwise 0", "shards")
    at_max_bandwidth: int = gauge("1 while max_bandwidth is reached, otherwise 0", "shards")
    at_ports: int = gauge("1 while calls are refused for want of media ports, otherwise 0", "shards")
    at_descriptors: int = gauge(
        "1 while calls are refused for want of descriptors or memory for sockets, otherwise 0", "shards"
    )
    loop_lag_s: float = gauge("longest delay of the event loop since the last publication", "s", Total.MAX)
    memory_bytes: int = gauge("resident memory", "bytes")
    heartbeat: float = gauge("monotonic clock at the last publication", "s", Total.MIN)
    started: float = gauge("wall clock at the start of the process", "s", Total.MIN)
    pid: int = gauge("process id", "id", Total.NONE)
    cpu: int = gauge("CPU that the shard is pinned to; -1: none", "id", Total.NONE, zero=-1)


class ShardState(enum.IntEnum):
    """The state of a shard, as the supervisor sees it. One that only another version of nh knows: not up."""

    STARTING = 0
    UP = 1
    DOWN = 2

    @classmethod
    def _missing_(cls, _value: object) -> "ShardState":
        return cls.STARTING


@dataclasses.dataclass  # no slots, because ShardReading inherits this and ShardStats
class ShardStatus:
    """Statistics that the supervisor writes about one shard; `state` is a ShardState."""

    restarts: int = counter("restarts of the shard", "restarts")
    hangs: int = counter("kills of the shard because it hung", "hangs")
    calls_restored: int = counter("calls restored after a restart of the shard", "calls")
    calls_lost: int = counter("calls that could not be restored after a restart of the shard", "calls")
    sockets_not_held: int = counter(
        "media sockets that the supervisor could not hold for lack of descriptors", "sockets"
    )
    command_s: Histogram = histogram(
        "s", "time from a command to the shard's answer, as the supervisor sees it", *_MILLISECONDS, 0.5, 2.0
    )
    calls_saved: int = gauge("calls whose latest snapshot the supervisor has", "calls")
    sockets_held: int = gauge("media sockets that the supervisor holds, too", "sockets")
    state: int = gauge("0 starting, 1 up, 2 down", "state", Total.NONE)


@dataclasses.dataclass(slots=True, eq=False, repr=False, match_args=False)
class StandbyGroup:
    """What a standby tells of the calls of one relay, which it follows."""

    group: str = text("the prefix under which they are stored", 64)
    holder: str = text("the relay that has them: HOST:RUNTIME_DIR", 160)
    fault: str = text("why this relay could not take them over now; empty: it could", 240)
    ready: int = gauge("1 if this relay could take them over now, otherwise 0", "state", Total.NONE)
    calls: int = gauge("calls that it has warm", "calls")
    lag_s: float = gauge("time since it had all of them", "s", Total.NONE)


def _room_for_groups() -> list[StandbyGroup]:
    return [StandbyGroup() for _ in range(MAX_GROUPS)]


def _room_for_all() -> list[ShardStatus]:
    return [ShardStatus() for _ in range(MAX_SHARDS)]


@dataclasses.dataclass(slots=True, eq=False, repr=False, match_args=False)
class SupervisorStats:
    """Statistics that the supervisor writes.

    Attributes:
        shards: the status of each shard by number. It has MAX_SHARDS entries; those of shards that do not
            exist are not published.
        groups: of a standby: whose calls it follows. It has MAX_GROUPS entries; as `shards`.
    """

    rpc_accepted: int = counter("RPC connections accepted", "connections")
    rpc_evicted: int = counter(
        "RPC connections closed because they were idle, or to make room", "connections"
    )
    rpc_stalled: int = counter(
        "RPC connections closed because the client stopped within a request, or left replies unread",
        "connections",
    )
    rpc_paused: int = counter(
        "pauses in reading an RPC connection, because too many requests waited, or replies were unread",
        "pauses",
    )
    rpc_malformed: int = counter("malformed RPC frames and requests", "requests")
    rpc_unknown_commands: int = counter("requests for a command that does not exist", "requests")
    rpc_requests_netsip: int = counter("requests in Net::SIP's protocol", "requests")
    rpc_requests_native: int = counter("requests in the native protocol", "requests")
    rpc_requests_ng: int = counter("requests in the ng protocol, without retransmissions", "requests")
    rpc_requests_rtpproxy: int = counter(
        "requests in rtpproxy's protocol, without retransmissions", "requests"
    )
    rpc_retransmissions: int = counter(
        "retransmitted requests of ng and rtpproxy, answered without another execution", "requests"
    )
    rpc_replies_dropped: int = counter(
        "replies forgotten before their time for want of room: a retransmission is executed again", "replies"
    )
    rpc_overloaded: int = counter(
        "requests of ng and rtpproxy refused, or dropped over UDP, because too many were under way",
        "requests",
    )
    rpc_send_failed: int = counter("replies over UDP that the kernel refused to send", "replies")
    timeouts_reported: int = counter("messages that told others of timed-out calls", "messages")
    timeouts_failed: int = counter("such messages that their receivers did not take", "messages")
    timeouts_lost: int = counter("such messages that were dropped, because too many waited", "messages")
    timeouts_refused: int = counter(
        "such messages that the settings do not allow, to where a client wanted them", "messages"
    )
    records_written: int = counter("records of calls written to a file or a socket", "records")
    records_lost: int = counter("records of calls that were not written: disk full, reader gone", "records")
    http_restarts: int = counter("starts of the HTTP process after a death of another", "restarts")
    http_hangs: int = counter("kills of the HTTP process because it hung", "hangs")
    hep_rtcp_sent: int = counter("packets of RTCP that were sent to Homer", "packets")
    hep_rtcp_lost: int = counter("packets of RTCP for Homer that were lost", "packets")
    rpc_timeouts: int = counter("commands that a shard did not answer in time", "commands")
    rpc_unroutable: int = counter("commands whose shard was not up", "commands")

    store_written: int = counter("changes of calls written to the store", "calls")
    store_errors: int = counter("failed writes of the store", "errors")
    hooks_failed: int = counter("runs of on_promote that failed, or took too long", "runs")

    rpc_clients: int = gauge("RPC connections open", "connections")
    store_up: int = gauge("1 if the store took the last write, otherwise 0", "state", Total.NONE)
    store_fault: str = text("why the store did not take the last write; empty: it did, or there is none", 240)
    store_refuses: int = gauge(
        "1 while new calls are refused because the store is away, otherwise 0", "state", Total.NONE
    )
    store_lag_s: float = gauge("age of the oldest change that is not in the store yet", "s", Total.NONE)
    store_pending: int = gauge("calls whose last change is not in the store yet", "calls")
    group: str = text("the prefix under which nh has its calls on a server; empty: on none", 64)
    handing_over: int = gauge(
        "1 while nh hands its calls over to a standby that does not have them yet, otherwise 0",
        "state",
        Total.NONE,
    )
    handover_fault: str = text("why the last handover left the calls here; empty: none did", 240)
    handover_unsaved: str = text(
        "calls that the last handover gave away as they were saved before", UNSAVED_BYTES
    )
    standby: int = gauge("1 while nh follows the calls of other relays, otherwise 0", "state", Total.NONE)
    standby_calls: int = gauge("calls of other relays that a standby has warm", "calls")
    standby_lag_s: float = gauge("time since a standby had all calls of these relays", "s", Total.NONE)
    standby_since: float = gauge("wall clock since which nh is a standby; 0: it is none", "s", Total.NONE)
    kernel_interfaces: int = gauge("network interfaces on which the kernel relays", "interfaces")
    serving: int = gauge(
        "1 while commands are executed: since every shard was up, until nh ends", "state", Total.NONE
    )
    draining: int = gauge(
        "1 while new calls are refused and nh ends after its last call, otherwise 0", "state", Total.NONE
    )
    drain_deadline: float = gauge(
        "monotonic clock at which a drain ends even with calls left; 0: no limit", "s", Total.NONE
    )
    pid: int = gauge("process id", "id", Total.NONE)
    started: float = gauge(
        "wall clock at the start of the process, or of its code after an upgrade", "s", Total.NONE
    )
    running_since: float = gauge(
        "wall clock at the start of nh; an upgrade or takeover keeps it", "s", Total.NONE
    )
    taken_over: int = gauge(
        "how nh got its calls: 0 by a start, 1 by an upgrade, 2 by a takeover", "state", Total.NONE
    )
    heartbeat: float = gauge("monotonic clock at the last publication", "s", Total.NONE)
    memory_bytes: int = gauge("resident memory", "bytes")

    shards: list[ShardStatus] = dataclasses.field(default_factory=_room_for_all)
    groups: list[StandbyGroup] = dataclasses.field(default_factory=_room_for_groups)

    @property
    def followed(self) -> list[StandbyGroup]:
        """The groups of calls that a standby follows; none: it is no standby."""
        return [each for each in self.groups if each.group] if self.standby else []


SHARD_TABLE: Final = table(ShardStats)
STATUS_TABLE: Final = table(ShardStatus)
GROUP_TABLE: Final = table(StandbyGroup)
SUPERVISOR_TABLE: Final = table(SupervisorStats)
SHARD_HISTOGRAMS: Final = histogram_table(ShardStats)
STATUS_HISTOGRAMS: Final = histogram_table(ShardStatus)

DROPS: Final = tuple(field for field in SHARD_TABLE if field.label)
"""The counters of dropped packets, by reason."""


LIMITS: Final = tuple(
    field.name.removeprefix("at_")
    for field in SHARD_TABLE
    if field.name.startswith("at_") and field.name != "at_limit"
)
"""What refuses new calls of a shard: each has a gauge `at_…` and a counter `refused_…`."""


SHARD_RECORD: Final = Record(SHARD_TABLE, SHARD_HISTOGRAMS)
STATUS_RECORD: Final = Record(STATUS_TABLE, STATUS_HISTOGRAMS)
GROUP_RECORD: Final = Record(GROUP_TABLE)
SUPERVISOR_RECORD: Final = Record(SUPERVISOR_TABLE)
