"""nh.calls.rare: attributes that take no room in objects that never set them."""

from typing import Any

from nh.calls.rare import Rare


class Thing:
    """An object with two rare attributes."""

    __slots__ = ("rare",)

    count = Rare(0)
    name = Rare[str | None](None)

    def __init__(self) -> None:
        self.rare: dict[str, Any] | None = None


def test_an_attribute_has_its_default_until_it_is_set() -> None:
    thing, other = Thing(), Thing()
    thing.count += 2
    thing.name = "it"
    assert (thing.count, thing.name) == (2, "it")
    assert (other.count, other.name) == (0, None)


def test_an_object_with_defaults_alone_has_no_dictionary() -> None:
    thing = Thing()
    thing.count, thing.name = 0, None
    assert thing.rare is None
    thing.count, thing.name = 3, "it"
    thing.count = 0
    assert (thing.count, thing.name) == (0, "it")
    thing.name = None
    assert thing.rare is None
