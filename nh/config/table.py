"""The table of all settings: name, default and meaning of each, and the words that some of them take.

It is flat, with one name everywhere: `latch_window_s` in the file, NH_LATCH_WINDOW_S in the environment,
--latch-window-s on the command line. Units are in the names. nh.config.settings checks the values.
docs/reference/configuration.md is the reference for people; a test holds the two together.
"""

import enum

from nh.calls.settings import RelaySettings
from nh.fastpath.attach import AttachMode
from nh.logs.settings import LogFormat, LogLevel

NO_STATE = "off"
"""Value of `state` with which calls are not stored; --no-state on the command line."""


class KernelMode(enum.StrEnum):
    """Whether media are relayed inside the kernel.

    AUTO: where the host can; else the log says once why it cannot.
    ON: if the host cannot, nh does not start.
    OFF: never.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class StateAway(enum.StrEnum):
    """What becomes of new calls while the server of the store is away; those that there are go on.

    TAKE: nh takes them, and stores them later. It also starts without the server.
    REFUSE: nh refuses them, and does not start.
    END: nh refuses them, and ends when it has not reached the server for the time of the lease: another relay
        may have the calls then, and would not have the new ones. It does not start.
    """

    TAKE = "take"
    REFUSE = "refuse"
    END = "end"


class XmlrpcFormat(enum.StrEnum):
    """What the XML-RPC about a timed-out call looks like: rtpengine's xmlrpc-format 0, 1 and 2."""

    SEMS = "sems"
    CALLID = "callid"
    KAMAILIO = "kamailio"


ANY_CLIENT = "%%"
"""In `timeout_xmlrpc`: the address that the client named, as in rtpengine's b2b-url."""

LOOPBACK = "127.0.0.1"
"""In its place if the client named none."""


class SettingsTable(RelaySettings, frozen=True, kw_only=True):
    """All settings of `nh run`; the other commands read those that lead to a running nh.

    Attributes:
        shards: number of shard processes, 1 to 256; 0: one for each usable CPU.
        rpc: addresses of the RPC sockets; empty: nh.sock in the runtime directory.
        rpc_mode: permissions of Unix RPC sockets, octal digits.
        rpc_group: group of Unix RPC sockets, a name or number; "": that of nh's user.
        rpc_public: allow RPC, ng and rtpproxy too, on addresses that are not loopback.
        ng: HOST:PORT, where rtpengine's ng protocol is served over UDP and TCP; empty: nowhere.
        ng_unsupported: what becomes of a request of ng that asks for what nh does not do: `refuse`, `warn`
            (that is left out), FEATURE=refuse or FEATURE=warn, separated by commas (nh.commands.Feature).
        http: HOST:PORT, where metrics, the API and the page are served; empty: nowhere.
        http_public: allow HTTP on addresses that are not loopback.
        http_ng: serve ng over HTTP and WebSocket, too, at the addresses of `http`.
        http_token_file: file of the token with which the API changes calls; "": it is read-only.
        http_private: reading metrics and the API needs the token, too.
        rtpproxy: addresses where rtpproxy's protocol is served: a path, or HOST:PORT for UDP and TCP; empty:
            nowhere.
        timeout_url: URLs to which nh POSTs JSON when the media of a call have timed out.
        timeout_xmlrpc: URL for XML-RPC of the same, with %% for the client's xmlrpc-callback; "": none.
        timeout_xmlrpc_format: see XmlrpcFormat.
        timeout_socket: `unix:PATH` or `tcp:HOST:PORT`, notify sockets that rtpproxy's clients may name.
        timeout_address: IP addresses that a client may name besides loopback.
        records: where records of calls go: a file's path, unix:PATH, syslog or journal.
        hep: HOST:PORT, udp:HOST:PORT or tcp:HOST:PORT of a Homer that gets them in HEP; "": none.
        hep_id: the number of this agent there, 0 to 4,294,967,295; rtpengine has 2001.
        hep_key_file: file of the key with which nh shows Homer who it is; "": none.
        history: how many records of calls are kept in memory, 0 to 100,000.
        interface: NAME/IP[!ADVERTISED][@MIN-MAX], addresses for the media of ng and rtpproxy calls.
        address: IP[!ADVERTISED], the same for a relay with one address only; "" for none.
        ports: the media ports, MIN-MAX, both included.
        share_ports: whether another relay that says the same may have some of the same ports.
        kernel: see KernelMode.
        kernel_interface: names of the interfaces that carry media; empty: all that have an address.
        kernel_attach: see AttachMode.
        kernel_flows: most directions in the kernel at once, 0 to 4,194,304; 0: one for each media port.
        prefork: how many loaded processes wait to take the place of a shard that dies, 0 or 1.
        hang_s: the supervisor kills a shard whose heartbeat stands still so long, 1 to 60, unless it waits
            for a CPU; 0: never.
        runtime_dir: where the lock, the default RPC socket and the name of the statistics live.
        state: directory or URL (sqlite://DIRECTORY, valkey://HOST) of the store, "" for the default, "off"
            for none.
        state_key_file: file of the key with which stored calls are encrypted; "": they are not.
        state_away: see StateAway.
        standby: follow the calls that `state` names until no other relay has them, then take them over.
        standby_for: follow the calls of these relays, by the prefixes of their stores, and take over those of
            the first one that ends; empty: as `standby` says.
        on_promote: program with arguments, run without a shell when a standby serves the calls; "": none.
        on_demote: the same when a relay that can be a standby has lost or given its calls.
        command_timeout_s: how long a shard may take for one command.
        idle_client_s: life of an RPC connection on which nothing happens.
        max_clients: most connections of a protocol at once; an idle one of the address with most makes room.
        log_level: how much nh logs on standard error.
        log_areas: AREA=LEVEL, levels of areas that differ from log_level; see nh.logs.settings.AREAS.
        log_format: see nh.logs.settings.LogFormat.
    """

    shards: int = 0
    rpc: tuple[str, ...] = ()
    rpc_mode: str = "0600"
    rpc_group: str = ""
    rpc_public: bool = False
    ng: tuple[str, ...] = ()
    ng_unsupported: str = "refuse"
    http: tuple[str, ...] = ()
    http_public: bool = False
    http_ng: bool = False
    http_token_file: str = ""
    http_private: bool = False
    rtpproxy: tuple[str, ...] = ()
    timeout_url: tuple[str, ...] = ()
    timeout_xmlrpc: str = ""
    timeout_xmlrpc_format: XmlrpcFormat = XmlrpcFormat.SEMS
    timeout_socket: tuple[str, ...] = ()
    timeout_address: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    hep: str = ""
    hep_id: int = 2001
    hep_key_file: str = ""
    history: int = 1000
    interface: tuple[str, ...] = ()
    address: str = ""
    ports: str = "10000-29999"
    share_ports: bool = False
    kernel: KernelMode = KernelMode.AUTO
    kernel_interface: tuple[str, ...] = ()
    kernel_attach: AttachMode = AttachMode.AUTO
    kernel_flows: int = 0
    prefork: int = 1
    hang_s: float = 3.0
    runtime_dir: str = ""
    state: str = ""
    state_key_file: str = ""
    state_away: StateAway = StateAway.TAKE
    standby: bool = False
    standby_for: tuple[str, ...] = ()
    on_promote: str = ""
    on_demote: str = ""
    command_timeout_s: float = 2.0
    idle_client_s: float = 300.0
    max_clients: int = 4096
    log_level: LogLevel = LogLevel.INFO
    log_areas: tuple[str, ...] = ()
    log_format: LogFormat = LogFormat.TEXT
