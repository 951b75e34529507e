"""What commands print for scripts with --json."""

import msgspec

from nh.printable import show_id
from nh.wire.native.values import to_json


def json_text(value: object) -> bytes:
    """`value` as one line of JSON for scripts, with the fields of the native protocol.

    Identifiers have the form that the command line takes.
    """
    return msgspec.json.encode(to_json(value, show_id))
