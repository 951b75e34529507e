"""Rare attributes: what nearly all objects of a class leave as it is.

A slot takes eight bytes of each object, and a relay has thousands of legs and sockets. What only few of them
ever set is in a dictionary, which only those few have. To read one takes some ten times as long as a slot, so
no fast reader of packets needs a rare attribute.
"""

from typing import Any, Final, Generic, Protocol, Self, TypeVar, overload

T = TypeVar("T")


class HasRare(Protocol):
    """An object with rare attributes; its class has a slot `rare`, and begins with None there."""

    rare: dict[str, Any] | None


class Rare(Generic[T]):
    """A rare attribute, as a member of the class.

    Args:
        default: what it is until it is set: an immutable value.
    """

    __slots__ = ("_default", "_name")

    def __init__(self, default: T) -> None:
        self._default: Final = default
        self._name = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, of: None, _owner: type) -> Self: ...
    @overload
    def __get__(self, of: HasRare, _owner: type) -> T: ...
    def __get__(self, of: HasRare | None, _owner: type) -> Self | T:
        if of is None:
            return self
        rare = of.rare
        if rare is None:
            return self._default
        value: T = rare.get(self._name, self._default)
        return value

    def __set__(self, of: HasRare, value: T) -> None:
        rare = of.rare
        if value != self._default:
            if rare is None:
                rare = of.rare = {}
            rare[self._name] = value
        elif rare is not None:
            rare.pop(self._name, None)
            if not rare:
                of.rare = None
