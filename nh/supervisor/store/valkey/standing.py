"""How a group stands, and what has changed in it: what the reply of the script FOLLOW says."""

from typing import Any, NamedTuple

from nh.errors import StoreUnavailable
from nh.printable import escaped
from nh.supervisor.store.valkey.scripts import FORMAT
from nh.supervisor.store.valkey.warm_copy import Changes, Position


class Standing(NamedTuple):
    """How a group stands, as a standby sees it.

    Attributes:
        holder: the relay that had it last; "": none ever had.
        lease_s: what is left of that relay's lease, seconds; 0: the group is free.
        readable: whether it is in the format of this version.
        opens: whether the key of this relay opens its calls, as far as that is known.
    """

    holder: str
    lease_s: float
    readable: bool
    opens: bool = True


def read_standing(reply: Any, key_check: str, *, opened: bool) -> tuple[Standing, Changes]:
    """Read a reply of FOLLOW.

    Args:
        reply: as the server sent it.
        key_check: of the key that opens the calls here; see nh.supervisor.store.sealed.
        opened: Standing.opens of the reply before: a server that has lost its data knows no key.

    Raises:
        StoreUnavailable: an entry of the stream has no position.
    """
    form, epoch, number, holder, left_ms, count, last, names, records, key = reply
    standing = Standing(
        escaped(holder.decode(errors="backslashreplace")),
        left_ms / 1000,
        form in (b"", FORMAT.encode()),
        opened if key == b"?" else key in (b"", key_check.encode()),
    )
    changes = Changes(
        Position(int(epoch), int(number)),
        int(count),
        [_position(each) for each in last.split()],
        dict(zip(names, records, strict=True)),
    )
    return standing, changes


def _position(text: bytes) -> Position:
    epoch, _, number = text.partition(b"-")
    try:
        return Position(int(epoch), int(number))
    except ValueError as exc:
        raise StoreUnavailable(f"an entry of the stream has the id {text!r}") from exc
