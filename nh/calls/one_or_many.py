"""Tuples of which nearly all have one member.

A tuple takes 48 bytes around its member, and a relay has several for each call. An object has the member
itself in its slot, if it is the only one, and the tuple is made when it is asked for. That takes some 100 ns,
so no fast reader of packets asks.
"""

from operator import attrgetter
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class OneOrMany(Generic[T]):
    """A tuple as an attribute, in a slot of the same object.

    Its members are no tuples. Set it before it is asked for.

    Args:
        slot: the name of the slot; "": that of the attribute with an underscore before it. Code that knows
            that there is one member may read it there.
    """

    __slots__ = ("_held", "slot")

    def __init__(self, slot: str = "") -> None:
        self.slot = slot

    def __set_name__(self, _owner: type, name: str) -> None:
        self.slot = self.slot or f"_{name}"
        self._held = attrgetter(self.slot)

    @overload
    def __get__(self, of: None, _owner: type) -> Self: ...
    @overload
    def __get__(self, of: object, _owner: type) -> tuple[T, ...]: ...
    def __get__(self, of: object | None, _owner: type) -> Self | tuple[T, ...]:
        if of is None:
            return self
        held: Any = self._held(of)
        return held if type(held) is tuple else (held,)

    def __set__(self, of: object, members: tuple[T, ...]) -> None:
        setattr(of, self.slot, members[0] if len(members) == 1 else members)
