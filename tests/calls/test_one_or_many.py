"""nh.calls.one_or_many: tuples that take no room where they have one member."""

import pytest

from nh.calls.one_or_many import OneOrMany


class Thing:
    """An object with such a tuple."""

    __slots__ = ("_names",)

    names = OneOrMany[str]()


class Named:
    """One whose slot has a name of its own."""

    __slots__ = ("name",)

    names = OneOrMany[str]("name")
    name: str


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b"), ("a", "b", "c")])
def test_a_tuple_is_what_it_was_set_to(names: tuple[str, ...]) -> None:
    thing = Thing()
    thing.names = names
    assert thing.names == names
    thing.names += ("z",)
    assert thing.names == (*names, "z")


def test_one_member_has_no_tuple_around_it() -> None:
    thing = Thing()
    thing.names = ("a",)
    assert getattr(thing, OneOrMany.__get__(Thing.names, None, Thing).slot) == "a"


def test_one_member_is_read_in_the_slot_without_a_tuple_around_it() -> None:
    thing = Named()
    thing.names = ("a",)
    assert thing.name == "a"
    thing.names += ("b",)
    assert thing.names == ("a", "b")
