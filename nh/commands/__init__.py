"""The commands that proxies and operators send: one vocabulary for wires, supervisor and shards.

Codecs turn bytes into these structs and back; the internal link carries the structs as they are (tagged
msgspec). nh.results has what comes back, nh.command_table what is known of each command: its result, its name
on each wire, its counters, its route. Identifiers are bytes: SIP allows bytes in them that are not text, and
Net::SIP puts NUL bytes into them.
"""

from nh.commands.base import MAX_ID_BYTES, BaseCommand, ResultT_co
from nh.commands.ng import MAX_FORWARDED_BYTES, Answer, BlockMedia, Delete, NgCommand, Offer, Query
from nh.commands.offer_options import (
    DEFAULT_BUNDLE,
    DEFAULT_DTLS,
    DEFAULT_SDES,
    EVERY_CODEC,
    BundleOptions,
    CodecChoice,
    DtlsOptions,
    EndpointLearning,
    Feature,
    IceHandling,
    OfferOptions,
    SdesOptions,
)
from nh.commands.operation import (
    MAX_DRAIN_S,
    MAX_LIST,
    CallOrder,
    Demote,
    Drain,
    Extension,
    GetStats,
    ListCalls,
    ListEnded,
    Ping,
    Promote,
    Reload,
    SetLog,
    ShowCall,
    ShowEnded,
    Undrain,
    Upgrade,
)
from nh.commands.sdp_text import PLAIN_TEXT, AttributeEdit, RtcpAttribute, SdpText
from nh.commands.sessions import (
    DeleteAll,
    DeleteSessions,
    Lookup,
    QuerySession,
    SessionCommand,
    SessionOptions,
    Update,
)
from nh.commands.transactions import MAX_CSEQ, Activate, Allocate, Close, CloseCall, TransactionKey

CallCommand = Allocate | Activate | Close | CloseCall | ShowCall | NgCommand | SessionCommand
"""The commands about one call; all have a `call_id`."""


RelayCommand = CallCommand | ListCalls | DeleteAll
"""The commands that a shard executes."""


Command = (
    RelayCommand
    | ListEnded
    | ShowEnded
    | GetStats
    | Drain
    | Undrain
    | Reload
    | SetLog
    | Upgrade
    | Promote
    | Demote
    | Ping
    | Extension
)
"""All commands."""


__all__ = [
    "DEFAULT_BUNDLE",
    "DEFAULT_DTLS",
    "DEFAULT_SDES",
    "EVERY_CODEC",
    "MAX_CSEQ",
    "MAX_DRAIN_S",
    "MAX_FORWARDED_BYTES",
    "MAX_ID_BYTES",
    "MAX_LIST",
    "PLAIN_TEXT",
    "Activate",
    "Allocate",
    "Answer",
    "AttributeEdit",
    "BaseCommand",
    "BlockMedia",
    "BundleOptions",
    "CallCommand",
    "CallOrder",
    "Close",
    "CloseCall",
    "CodecChoice",
    "Command",
    "Delete",
    "DeleteAll",
    "DeleteSessions",
    "Demote",
    "Drain",
    "DtlsOptions",
    "EndpointLearning",
    "Extension",
    "Feature",
    "GetStats",
    "IceHandling",
    "ListCalls",
    "ListEnded",
    "Lookup",
    "NgCommand",
    "Offer",
    "OfferOptions",
    "Ping",
    "Promote",
    "Query",
    "QuerySession",
    "RelayCommand",
    "Reload",
    "ResultT_co",
    "RtcpAttribute",
    "SdesOptions",
    "SdpText",
    "SessionCommand",
    "SessionOptions",
    "SetLog",
    "ShowCall",
    "ShowEnded",
    "TransactionKey",
    "Undrain",
    "Update",
    "Upgrade",
]
