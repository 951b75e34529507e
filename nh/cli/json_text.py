"""What commands print for scripts with --json."""

import msgspec

from nh.calls.media import Side
from nh.printable import show_id


def json_text(value: object) -> bytes:
    """`value` as one line of JSON for scripts, with the fields of the native protocol.

    Identifiers have the form that the command line takes.
    """
    return msgspec.json.encode(_plain(value))


def _plain(value: object) -> object:
    match value:
        case bytes():
            return show_id(value)
        case Side():
            return value.name.lower()
        case msgspec.Struct():
            names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
            return {name: _plain(getattr(value, field)) for field, name in names}
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return value
