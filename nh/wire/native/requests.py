"""The requests of the native protocol: one struct for each name of a command.

msgspec checks shapes and types and rejects unknown fields, nh.wire.fields checks ranges. nh.wire.native.codec
has the envelope and the replies.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from nh.calls.media import Media, Side
from nh.calls.rtp.payload_types import MAX_FORMATS
from nh.commands import (
    MAX_DRAIN_S,
    MAX_LIST,
    Activate,
    CallOrder,
    Close,
    CloseCall,
    Command,
    Demote,
    Drain,
    GetStats,
    ListCalls,
    ListEnded,
    Ping,
    Promote,
    Reload,
    SetLog,
    ShowCall,
    ShowEnded,
    TransactionKey,
    Undrain,
    Upgrade,
)
from nh.errors import MalformedRequest
from nh.logs.settings import LogLevel
from nh.wire.fields import (
    make_allocate,
    make_call_id,
    make_endpoint,
    make_format,
    make_id,
    make_key,
    make_list,
    make_medium,
    make_network,
    make_order,
    make_param,
)
from nh.wire.native.values import Identifier, read_identifier

ClientId = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, msgspec.Meta(max_length=256)]
)
"""The id that a client gives its request."""


class NativeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="command"):
    """Any request."""

    id: ClientId

    def to_command(self) -> Command:
        """Make the command. Raises MalformedRequest for values out of range."""
        raise NotImplementedError


class _KeyedRequest(NativeRequest, kw_only=True):
    call_id: Identifier
    cseq: int
    id_from: Identifier
    id_to: Identifier = ""
    uri_from: Identifier = ""
    uri_to: Identifier = ""


class _Endpoint(msgspec.Struct, forbid_unknown_fields=True):
    address: str
    port: int


class _Format(msgspec.Struct, forbid_unknown_fields=True):
    payload_type: int
    encoding: str
    clock_hz: int


class _Medium(msgspec.Struct, forbid_unknown_fields=True):
    address: str
    port: int
    range: int | None = None
    proto: str = ""
    kind: str = ""
    rtcp: _Endpoint | None = None
    formats: Annotated[list[_Format], msgspec.Meta(max_length=MAX_FORMATS)] = []

    def to_media(self, where: str) -> Media:
        """Make the medium. Raises MalformedRequest for values out of range."""
        media = make_medium(
            address=self.address,
            port=self.port,
            range_=self.range,
            proto=self.proto,
            kind=self.kind,
            where=where,
        )
        if self.formats:
            formats = tuple(
                make_format(
                    payload_type=each.payload_type,
                    encoding=each.encoding,
                    clock_hz=each.clock_hz,
                    where=f"{where}.formats[{index}]",
                )
                for index, each in enumerate(self.formats)
            )
            media = msgspec.structs.replace(media, formats=formats)
        if self.rtcp is None:
            return media
        rtcp = make_endpoint(address=self.rtcp.address, port=self.rtcp.port, where=f"{where}.rtcp")
        return msgspec.structs.replace(media, rtcp=rtcp)


MEDIUM_FIELDS: Final = _Medium.__struct_fields__
"""The fields of a medium in a request; Media has more, for protocols that carry SDP."""


class _Allocate(_KeyedRequest, kw_only=True, tag="allocate"):
    side: str
    address: str
    media: list[_Medium]

    def to_command(self) -> Command:
        if self.side not in ("from", "to"):
            raise MalformedRequest(f'side: {self.side[:16]!r} is neither "from" nor "to"')
        media = [medium.to_media(f"media[{index}]") for index, medium in enumerate(self.media)]
        side = Side[self.side.upper()]
        return make_allocate(key=_key(self), side=side, address=self.address, media=media)


class _Activate(_KeyedRequest, kw_only=True, tag="activate"):
    param: dict[str, str] = {}

    def to_command(self) -> Command:
        return Activate(_key(self), make_param(self.param))


class _Close(NativeRequest, kw_only=True, tag="close"):
    call_id: Identifier
    cseq: int | None = None
    id_from: Identifier | None = None
    id_to: Identifier | None = None
    uri_from: Identifier = ""
    uri_to: Identifier = ""

    def to_command(self) -> Command:
        if self.id_from is None and self.id_to is None and self.cseq is None:
            return CloseCall(make_call_id(read_identifier(self.call_id, where="call_id")))
        if self.id_from is None or self.id_to is None:
            raise MalformedRequest("close: takes id_from and id_to together, or call_id alone for the call")
        return Close(_key(self))


def _key(request: _KeyedRequest | _Close) -> TransactionKey:
    ids = {
        name: read_identifier(getattr(request, name), where=name)
        for name in ("call_id", "id_from", "id_to", "uri_from", "uri_to")
    }
    return make_key(cseq=request.cseq, **ids)


class _List(NativeRequest, kw_only=True, tag="list"):
    contains: Identifier = ""
    after: Identifier = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIST)] = 100
    one_way: bool = False
    silent: bool = False
    address: str = ""
    sort: str = CallOrder.CALL_ID

    def to_command(self) -> Command:
        contains = make_id(read_identifier(self.contains, where="contains"), where="contains")
        after = make_id(read_identifier(self.after, where="after"), where="after")
        address = make_network(self.address, where="address")
        order = make_order(self.sort, where="sort")
        return make_list(ListCalls(contains, after, self.limit, self.one_way, self.silent, address, order))


class _Show(NativeRequest, kw_only=True, tag="show"):
    call_id: Identifier

    def to_command(self) -> Command:
        return ShowCall(make_call_id(read_identifier(self.call_id, where="call_id")))


class _ListEnded(NativeRequest, kw_only=True, tag="list_ended"):
    contains: Identifier = ""
    before: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIST)] = 100

    def to_command(self) -> Command:
        contains = make_id(read_identifier(self.contains, where="contains"), where="contains")
        return ListEnded(contains, self.before, self.limit)


class _ShowEnded(NativeRequest, kw_only=True, tag="show_ended"):
    call_id: Identifier

    def to_command(self) -> Command:
        return ShowEnded(make_call_id(read_identifier(self.call_id, where="call_id")))


class _Stats(NativeRequest, tag="stats"):
    def to_command(self) -> Command:
        return GetStats()


class _Drain(NativeRequest, kw_only=True, tag="drain"):
    limit_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_DRAIN_S)] | None = None

    def to_command(self) -> Command:
        return Drain(self.limit_s)


class _Undrain(NativeRequest, tag="undrain"):
    def to_command(self) -> Command:
        return Undrain()


class _Reload(NativeRequest, tag="reload"):
    def to_command(self) -> Command:
        return Reload()


class _Log(NativeRequest, kw_only=True, tag="log"):
    level: str | None = None
    area: Annotated[str, msgspec.Meta(max_length=64)] = ""

    def to_command(self) -> Command:
        if self.level is not None and self.level not in tuple(LogLevel):
            raise MalformedRequest(f"level: {self.level[:64]!r} is not one of {', '.join(LogLevel)}")
        return SetLog(None if self.level is None else LogLevel(self.level), self.area)


class _Upgrade(NativeRequest, kw_only=True, tag="upgrade"):
    shards: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None

    def to_command(self) -> Command:
        return Upgrade(self.shards)


class _Promote(NativeRequest, kw_only=True, tag="promote"):
    group: Annotated[str, msgspec.Meta(max_length=64)] = ""
    force: bool = False

    def to_command(self) -> Command:
        return Promote(self.group, self.force)


class _Demote(NativeRequest, kw_only=True, tag="demote"):
    to: Annotated[str, msgspec.Meta(max_length=1024)] = ""

    def to_command(self) -> Command:
        return Demote(self.to)


class _Ping(NativeRequest, tag="ping"):
    def to_command(self) -> Command:
        return Ping()


DECODERS: Final[Mapping[str, msgspec.json.Decoder[NativeRequest]]] = {
    "allocate": msgspec.json.Decoder(_Allocate),
    "activate": msgspec.json.Decoder(_Activate),
    "close": msgspec.json.Decoder(_Close),
    "list": msgspec.json.Decoder(_List),
    "show": msgspec.json.Decoder(_Show),
    "list_ended": msgspec.json.Decoder(_ListEnded),
    "show_ended": msgspec.json.Decoder(_ShowEnded),
    "stats": msgspec.json.Decoder(_Stats),
    "drain": msgspec.json.Decoder(_Drain),
    "undrain": msgspec.json.Decoder(_Undrain),
    "reload": msgspec.json.Decoder(_Reload),
    "log": msgspec.json.Decoder(_Log),
    "upgrade": msgspec.json.Decoder(_Upgrade),
    "promote": msgspec.json.Decoder(_Promote),
    "demote": msgspec.json.Decoder(_Demote),
    "ping": msgspec.json.Decoder(_Ping),
}
"""The decoder of each command's request, by name."""
