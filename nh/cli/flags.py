"""What the help says of each setting: one line for each field of nh.config.Settings.

nh.config.settings checks the values; the bounds here are what the help says, and tests hold the two together.
"""

from typing import Final, NamedTuple

from nh.commands import Feature
from nh.logs.settings import AREAS


class Flag(NamedTuple):
    """The help of a setting.

    Args:
        panel: its group of flags in the help.
        help: what it does, without a full stop.
        low, high: its range, both included; None if it is no number.
        unit: of the value, "" for plain numbers and text.
        metavar: what the value is called; "" if its unit or range says enough.
        default: words for the default where the bare value says nothing.
    """

    panel: str
    help: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    metavar: str = ""
    default: str = ""


PROCESS: Final = "Processes"
_RPC: Final = "RPC (what SIP proxies connect to)"
_HTTP: Final = "HTTP (what operators and their tools connect to)"
_RECORDS: Final = "Records of calls that have ended"
_MEDIA: Final = "Media"
_KERNEL: Final = "Media inside the kernel"
_LIFE: Final = "How long things live"
_LIMITS: Final = "Limits"
_LOG: Final = "The log"
_WEEK_S: Final = 7 * 86_400

FLAGS: Final[dict[str, Flag]] = {
    "shards": Flag(PROCESS, "Number of shard processes; 0: one for each usable CPU", 0, 256),
    "prefork": Flag(PROCESS, "Loaded processes that wait to replace a shard that dies", 0, 1),
    "hang_s": Flag(
        PROCESS, "Kill and replace a shard whose heartbeat stands still so long; 0: never", 0, 60, "s"
    ),
    "runtime_dir": Flag(
        PROCESS,
        "Directory for the lock and the RPC socket; the other commands find nh by it",
        metavar="DIR",
        default="/run/nh for root, else nh in $XDG_RUNTIME_DIR, else /tmp/nh-UID",
    ),
    "state": Flag(
        PROCESS,
        "Where calls are stored, so that they survive a restart of the host: a directory, or "
        "valkey://HOST/0?prefix=NAME for a server of Valkey or Redis (needs the extra valkey); off: none",
        metavar="DIR|URL",
        default="/var/lib/nh for root, else nh in $XDG_STATE_HOME or ~/.local/state",
    ),
    "state_key_file": Flag(
        PROCESS,
        "File of the key with which stored calls are encrypted; only its owner may read it (needs the extra "
        "srtp)",
        metavar="FILE",
        default="none: they are not",
    ),
    "state_away": Flag(
        PROCESS,
        "While the server of --state is away. take: take new calls, store them later; refuse: refuse them; "
        "end: end when the lease runs out, because another relay may have the calls",
        metavar="WORD",
    ),
    "standby": Flag(
        PROCESS, "Follow the calls of --state until no other relay has them; then take them over"
    ),
    "standby_for": Flag(
        PROCESS,
        "The same for the calls of several relays, by the prefixes of their stores: take over those of the "
        "first relay that ends; separated by commas, or given several times",
        metavar="NAME",
        default="none",
    ),
    "on_promote": Flag(
        PROCESS,
        "Program with arguments, run without a shell when a standby serves the calls that it took over",
        metavar="COMMAND",
        default="none",
    ),
    "on_demote": Flag(
        PROCESS,
        "The same when a relay with --standby or --standby-for has lost or given away its calls",
        metavar="COMMAND",
        default="none",
    ),
    "log_level": Flag(
        _LOG, "How much to log on standard error: debug, info, warning or error", metavar="LEVEL"
    ),
    "log_areas": Flag(
        _LOG,
        f"Level of one area: {', '.join(AREAS)}; may be given several times",
        metavar="AREA=LEVEL",
        default="that of --log-level",
    ),
    "log_format": Flag(_LOG, "How lines look: text or json", metavar="FORMAT"),
    "rpc": Flag(
        _RPC,
        "Address to serve: a path if it has a / (a directory, or a / at its end, means the file `socket` in "
        "it), else HOST:PORT; may be given several times",
        metavar="ADDRESS",
        default="nh.sock in the runtime directory",
    ),
    "rpc_mode": Flag(_RPC, "Permissions of Unix RPC sockets, 0 to 0777", metavar="OCTAL"),
    "rpc_group": Flag(
        _RPC, "Group of Unix RPC sockets, a name or number", metavar="GROUP", default="that of nh's user"
    ),
    "rpc_public": Flag(
        _RPC,
        "Allow TCP and UDP addresses that are not loopback: every host that reaches them controls the relay",
    ),
    "ng": Flag(
        _RPC,
        "HOST:PORT where Kamailio and OpenSIPS are served as by rtpengine (ng over UDP and TCP); may be "
        "given several times",
        metavar="ADDRESS",
        default="none",
    ),
    "ng_unsupported": Flag(
        _RPC,
        "What becomes of an ng request that asks for what nh does not do. refuse: it fails; warn: nh leaves "
        "that out and says so in the reply; FEATURE=warn or FEATURE=refuse, separated by commas, for one of "
        + ", ".join(Feature),
        metavar="WORDS",
    ),
    "http": Flag(
        _HTTP,
        "HOST:PORT of metrics for Prometheus, health checks, the JSON API and the live page; needs the "
        "extra http; may be given several times",
        metavar="ADDRESS",
        default="none",
    ),
    "http_public": Flag(_HTTP, "Allow --http on addresses that are not loopback: its clients see every call"),
    "http_ng": Flag(_HTTP, "Serve ng there too: POST /ng, and WebSocket with subprotocol ng.rtpengine.com"),
    "http_token_file": Flag(
        _HTTP,
        "File of the token with which clients of HTTP may end calls and drain; only its owner may read it",
        metavar="FILE",
        default="none: HTTP is read-only",
    ),
    "http_private": Flag(_HTTP, "Reading metrics and the API needs the token, too"),
    "rtpproxy": Flag(
        _RPC,
        "Address where Kamailio and OpenSIPS are served as by rtpproxy: HOST:PORT (UDP and TCP), or a path "
        "(Unix); may be given several times",
        metavar="ADDRESS",
        default="none",
    ),
    "timeout_url": Flag(
        _RPC,
        "URL to which nh POSTs JSON when the media of a call have timed out; may be given several times",
        metavar="URL",
        default="none",
    ),
    "timeout_xmlrpc": Flag(
        _RPC,
        "URL for XML-RPC about the same, as rtpengine's b2b-url; %% is the client's xmlrpc-callback",
        metavar="URL",
        default="none",
    ),
    "timeout_xmlrpc_format": Flag(_RPC, "What that looks like: sems, callid or kamailio", metavar="FORMAT"),
    "timeout_socket": Flag(
        _RPC,
        "Notify socket that rtpproxy's clients may name for the same, unix:PATH or tcp:HOST:PORT; may be "
        "given several times",
        metavar="SOCKET",
        default="none",
    ),
    "timeout_address": Flag(
        _RPC,
        "Address that an xmlrpc-callback may name besides loopback; may be given several times",
        metavar="IP",
        default="none",
    ),
    "dtmf_log_dest": Flag(
        _RPC,
        "Where the DTMF events of all calls of ng go, in JSON over UDP; their media stay in user space",
        metavar="IP:PORT",
        default="nowhere",
    ),
    "dtmf_address": Flag(
        _RPC,
        "Address that a dtmf-log-dest may name besides loopback; may be given several times",
        metavar="IP",
        default="none",
    ),
    "records": Flag(
        _RECORDS,
        "Where a record of each call goes when it ends, in JSON: a file (opened anew on SIGHUP), unix:PATH "
        "(datagrams), syslog or journal; may be given several times",
        metavar="TARGET",
        default="none",
    ),
    "hep": Flag(
        _RECORDS,
        "Homer, or another server of HEP 3, that gets a record of each call and the RTCP that passes: "
        "HOST:PORT or udp:HOST:PORT, or tcp:HOST:PORT",
        metavar="ADDRESS",
        default="none",
    ),
    "hep_id": Flag(_RECORDS, "Number of this agent at Homer", 0, 2**32 - 1),
    "hep_key_file": Flag(
        _RECORDS,
        "File of the key with which nh shows Homer who it is; only its owner may read it",
        metavar="FILE",
        default="none",
    ),
    "history": Flag(
        _RECORDS, "Records of the latest calls that are kept for `nh calls --ended`; 0: none", 0, 100_000
    ),
    "command_timeout_s": Flag(_RPC, "How long a shard may take for one command", 0.05, 60, "s"),
    "idle_client_s": Flag(_RPC, "Close connections that are idle for so long", 1, 86_400, "s"),
    "max_clients": Flag(
        _RPC, "Most connections at once, of each protocol; one more closes the longest idle one", 1, 1_000_000
    ),
    "ports": Flag(
        _MEDIA, "Media ports, both included, 1024 to 65535; each shard gets a slice", metavar="MIN-MAX"
    ),
    "share_ports": Flag(
        _MEDIA,
        "Start even if another relay on this host, started with this flag too, has some of the same ports",
    ),
    "address": Flag(
        _MEDIA,
        "Address for the media of ng's and rtpproxy's calls, and the one to announce where a NAT is before "
        "this host",
        metavar="IP[!ADVERTISED]",
        default="none",
    ),
    "interface": Flag(
        _MEDIA,
        "The same for one of several addresses, with the name that ng's `direction` uses and, if given, "
        "ports of its own; may be given several times, the first is the default",
        metavar="NAME/IP[!ADVERTISED][@MIN-MAX]",
        default="none",
    ),
    "policy": Flag(
        _MEDIA,
        "Sender that a leg latches to. heuristic: the first, but a better one may take over for a while; "
        "learned: the same, and the sender never moves; first: the first; delayed: the first after that "
        "while; announced: the first at the announced address; strict: the announced address and port; "
        "handover: the latest; asymmetric: every sender, and media go to the announced address",
        metavar="POLICY",
    ),
    "latch_window_s": Flag(
        _MEDIA,
        "heuristic: how long a better sender takes over, counted from activation; delayed: how long nh takes "
        "every source",
        0,
        60,
        "s",
    ),
    "relatch_s": Flag(
        _MEDIA,
        "Silence after which the leg latches to another port of the same address; 0: never",
        0,
        86_400,
        "s",
    ),
    "coalesce_s": Flag(
        _MEDIA, "Longest wait for more packets of a batch, at high rates; 0: never wait", 0, 0.02, "s"
    ),
    "dscp": Flag(_MEDIA, "DiffServ code point of relayed packets (46: expedited forwarding)", 0, 63),
    "kernel": Flag(
        _KERNEL,
        "Relay inside the kernel. auto: where the host can; on: required, else nh does not start; off: never",
        metavar="MODE",
    ),
    "kernel_interface": Flag(
        _KERNEL,
        "Name of an interface that carries media; may be given several times",
        metavar="NAME",
        default="all that have an address, as they come and go",
    ),
    "kernel_attach": Flag(
        _KERNEL,
        "How to attach the program: tcx (a link; Linux 6.6 and newer), clsact (a filter), or auto",
        metavar="MODE",
    ),
    "kernel_flows": Flag(
        _KERNEL, "Most directions in the kernel at once; 0: one for each media port", 0, 2**22
    ),
    "unused_s": Flag(_LIFE, "Life of sockets that no session ever used", 1, _WEEK_S, "s"),
    "silent_s": Flag(_LIFE, "Life of a session in which nothing arrives", 1, _WEEK_S, "s"),
    "hold_s": Flag(_LIFE, "Life of a session on hold in which nothing arrives", 1, _WEEK_S, "s"),
    "replaced_s": Flag(_LIFE, "Life of the ports of a replaced session", 0, 60, "s"),
    "max_calls": Flag(_LIMITS, "Most calls at once; 0: no limit", 0, 2**31),
    "max_sockets": Flag(_LIMITS, "Most media sockets at once; 0: no limit", 0, 2**31),
    "max_sockets_in_group": Flag(_LIMITS, "Most sockets for the media of one SDP; 0: no limit", 0, 2**31),
    "max_cpu": Flag(
        _LIMITS, "Refuse new calls while the shard's CPU is busier; 0: no limit", 0, 100, "percent"
    ),
    "max_bandwidth": Flag(
        _LIMITS, "Refuse new calls while more media arrive; 0: no limit", 0, 2**40, "bytes/s"
    ),
}
