"""Results of commands as JSON for scripts: ids in the form in which the command line takes them."""

import msgspec

from nh.cli.calls.callid import show_id


def json_text(value: object) -> bytes:
    """`value` (structs, dicts, lists, numbers, text, bytes as ids) as one line of JSON."""
    return msgspec.json.encode(_plain(msgspec.to_builtins(value, builtin_types=(bytes,))))


def _plain(value: object) -> object:
    match value:
        case bytes():
            return show_id(value)
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return value
