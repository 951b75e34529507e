"""The keys of an ng request that say whom the client wants told of a call, beside its replies."""

from collections.abc import Mapping
from typing import Final

from nh.calls.media import Endpoint
from nh.ip_address import canonical_address, is_address
from nh.wire.ng.dictionary import text_of
from nh.wire.ng.parsed_options import ParsedOptions
from nh.wire.ng.partial_options import Reader


def _read_callback(value: object, parsed: ParsedOptions) -> None:
    address = text_of(value)
    if is_address(address):
        parsed.set("timeout_callback", canonical_address(address, where="xmlrpc-callback"))
    else:
        parsed.ignore("xmlrpc-callback")


def _reader_of_events(key: str) -> Reader:
    def read(value: object, parsed: ParsedOptions) -> None:
        target = Endpoint.parse(text_of(value))
        if target is not None:
            parsed.set("dtmf_target", target)
        else:
            parsed.ignore(key)

    return read


TARGET_READERS: Final[Mapping[bytes, Reader]] = {
    b"xmlrpc-callback": _read_callback,
    **{key.encode(): _reader_of_events(key) for key in ("dtmf-log-dest", "dtmf-log-destination")},
}
"""The reader of each key."""
