"""The link between the supervisor and a shard: typed messages in msgpack, one to a SOCK_SEQPACKET record.

A process that has imported everything sends Waiting, and forks for each Fork. To make it a shard, the
supervisor sends Configure, and the shard answers Configured. Then the supervisor sends what there is to
restore (TakeSockets, TakeFlows, RestoreCall) and Restore; the shard restores it and answers Restored. At
Serve it serves calls and sends Ready. From then on Execute and Executed carry the same `id`; any number may
be in flight, answered in any order. The results of commands that a shard has executed in a row are one
record, an array.

The shard backs up what must outlive it (nh.ipc.backup_messages): what a command changes, with its Executed;
all else, in messages of their own, several in one record if they come at the same time. So a supervisor that
reads in order has a backup of all that was answered.

Both ends run the same version of nh, unless nh was upgraded on the disk and a shard was started since: so a
new field has a default, and a field keeps its meaning. nh.ipc.link_codec makes records of messages.
"""

from typing import Final

import msgspec

from nh.calls.call_event import NO_CLIENT, Client
from nh.calls.media import Endpoint
from nh.calls.settings import RelayConfig, RelaySettings
from nh.calls.snapshots.version import VERSION
from nh.commands import RelayCommand
from nh.ipc.backup_messages import BackupMessage
from nh.ipc.report_messages import MediaTimedOut, RtcpSeen
from nh.logs.settings import LogSettings
from nh.results import RelayResult

MAX_UNSAVED: Final = 20
"""Most call-ids in AllSaved."""


class KernelMaps(msgspec.Struct, frozen=True):
    """A shard's share of the path in the kernel; the descriptors are inherited.

    Args:
        flows_fd, counters_fd: the maps of nh.fastpath.
        first_index, indexes: the range of the counters map that belongs to the shard.
        identity: differs between maps that cannot be exchanged: by layout, program, size, number of shards.
        format: of the maps (nh.fastpath.layout); "": that of the shard.
    """

    flows_fd: int
    counters_fd: int
    first_index: int
    indexes: int
    identity: str = ""
    format: str = ""


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Fork; the attached descriptor is the link of the new process. Answer: Forked."""


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """The settings of a shard, the first message to it. Answer: Configured.

    Args:
        relay: settings, ports and interfaces of the shard's relay.
        kernel: its share of the path in the kernel; None: all is relayed in user space.
        kernel_off: why there is none, for people; "" if there is one.
        successor: whether there was a shard of this number before it in this run: what that one had in the
            kernel is then taken over, not cleared.
        stats_segment: name of the shared memory in which block `shard` is its own to write.
        stats_fd: its descriptor; -1: the shard opens its name.
        counters_fd: descriptor of the counter file (nh.ipc.counter_file), of which share `shard` is its own;
            -1: there is none.
        log: what to log, and how.
        records: whether the supervisor wants the records of calls.
        rtcp: whether it wants the RTCP that passes.
        handover_path: where the shard listens for the next supervisor, a path that does not exist yet; "":
            the shard ends with its supervisor.
        deadline_path: file with the deadline at which the shard must have ended, because another relay may
            have its calls then (nh.ipc.shared_deadline); "": no other relay can get them.
        snapshots: the version of the snapshots that the shard may have to restore.
        together: whether the supervisor takes several Executed in one record.
        changes_together: whether it takes several BackupMessages in one record, too.
    """

    relay: RelayConfig
    stats_segment: str
    stats_fd: int = -1
    counters_fd: int = -1
    log: LogSettings = LogSettings()
    kernel: KernelMaps | None = None
    kernel_off: str = ""
    successor: bool = False
    handover_path: str = ""
    records: bool = False
    rtcp: bool = False
    deadline_path: str = ""
    snapshots: int = VERSION
    together: bool = False
    changes_together: bool = False


class TakeSockets(msgspec.Struct, frozen=True, tag="take_sockets"):
    """Media sockets to restore, one descriptor each in this order; the last ones may be missing."""

    endpoints: tuple[Endpoint, ...]


class TakeFlows(msgspec.Struct, frozen=True, tag="take_flows"):
    """The attached descriptors are the maps of the run before: its flows go on in those of the shard."""


class RestoreCall(msgspec.Struct, frozen=True, tag="restore_call"):
    """A call to restore, or a part of its snapshot.

    Args:
        call_id: the call.
        snapshot: its latest snapshot, or the next PART_BYTES of it.
        last: False: the next message continues the snapshot.
        of_this_run: whether a process of this run took it, so that the memory of counters has what packets
            changed since.
    """

    call_id: bytes
    snapshot: bytes
    last: bool = True
    of_this_run: bool = False


class Restore(msgspec.Struct, frozen=True, tag="restore"):
    """Restore the sockets and calls that came. Answer: Restored.

    Args:
        report_each: send Restoring before each call.
        counters: added to the counters in the shard's statistics, by name.
        shared_ports: whether a process of an earlier run may still have the ports of calls: it stands by.
    """

    report_each: bool = False
    counters: dict[str, int | float] = {}
    shared_ports: bool = False


class Serve(msgspec.Struct, frozen=True, tag="serve"):
    """No other process has these calls any more: serve them and new ones. Answer: Ready."""


class HoldLinks(msgspec.Struct, frozen=True, tag="hold_links"):
    """Hold these BPF links, so that the program stays attached if the supervisor dies.

    The attached descriptors are all links; those of the message before are to be closed.
    """


class Execute(msgspec.Struct, frozen=True, tag="execute"):
    """Execute a command. Answer: Executed with the same id.

    Args:
        client: who sent it, for the timeline of the call.
    """

    id: int
    command: RelayCommand
    client: Client = NO_CLIENT


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    """End: close every call, publish the last counters, exit with status 0.

    Args:
        calls_stay: whether the calls are in a store, from which the next start of nh restores them. If not,
            they end now, and get records.
    """

    calls_stay: bool = False


class RefuseNewCalls(msgspec.Struct, frozen=True, tag="refuse_new_calls"):
    """Drain: refuse new call-ids. Answer, after the last call: NoCallsLeft with the same round."""

    round: int


class TakeNewCalls(msgspec.Struct, frozen=True, tag="take_new_calls"):
    """Take new call-ids again."""


class Reconfigure(msgspec.Struct, frozen=True, tag="reconfigure"):
    """Settings have changed: use these from now on.

    Args:
        relay: how calls are relayed; limits are this shard's share.
        log: what to log, and how.
    """

    relay: RelaySettings
    log: LogSettings


class Recorded(msgspec.Struct, frozen=True, tag="recorded"):
    """The supervisor has all records up to this number."""

    number: int


class SaveAll(msgspec.Struct, frozen=True, tag="save_all"):
    """Save every call as it is. Answer: AllSaved, behind the last of them."""


class Detach(msgspec.Struct, frozen=True, tag="detach"):
    """The supervisor hands over: the link is about to end, and the next supervisor is about to connect."""


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """The process has imported everything, and waits for Fork or Configure."""


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """The answer to Fork.

    Args:
        pid: of the new process; 0: the system refused the fork.
    """

    pid: int


class Configured(msgspec.Struct, frozen=True, tag="configured"):
    """The shard has its settings, and can restore calls."""


class Restoring(msgspec.Struct, frozen=True, tag="restoring"):
    """The shard begins to restore a call; if it dies now, it dies of this call.

    Args:
        call: its index among the calls that came, from 0; their number: all are restored.
    """

    call: int


class Restored(msgspec.Struct, frozen=True, tag="restored"):
    """The shard has restored what it can, and relays nothing yet.

    Args:
        restored: how many calls.
        failed: how many calls could not be restored.
    """

    restored: int = 0
    failed: int = 0


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The shard serves calls.

    Args:
        pid: of its process.
        version: of its nh.
    """

    pid: int
    version: str


class Executed(msgspec.Struct, frozen=True, tag="executed"):
    """The result of Execute `id`.

    Args:
        id: of the command.
        result: what becomes of it.
        backup: what it changed, in order; to be carried out before the client gets the result. One record, so
            that the supervisor wakes up once for a command. The descriptors are those of all StoreSockets. Of
            several results in one record, the first has what all commands changed.
    """

    id: int
    result: RelayResult
    backup: tuple[BackupMessage, ...] = ()


class AllSaved(msgspec.Struct, frozen=True, tag="all_saved"):
    """The answer to SaveAll.

    Attributes:
        unsaved: the call-ids of calls that a bug kept from it, MAX_UNSAVED at most.
    """

    unsaved: tuple[bytes, ...] = ()


class NoCallsLeft(msgspec.Struct, frozen=True, tag="no_calls_left"):
    """The shard has no calls, and gets none while the round of RefuseNewCalls lasts."""

    round: int


ToShard = (
    Fork
    | Configure
    | TakeSockets
    | TakeFlows
    | RestoreCall
    | Restore
    | Serve
    | HoldLinks
    | SaveAll
    | Execute
    | Shutdown
    | RefuseNewCalls
    | TakeNewCalls
    | Reconfigure
    | Recorded
    | Detach
)
FromShard = (
    Waiting
    | Forked
    | Configured
    | Restoring
    | Restored
    | Ready
    | Executed
    | NoCallsLeft
    | AllSaved
    | RtcpSeen
    | MediaTimedOut
    | BackupMessage
)
