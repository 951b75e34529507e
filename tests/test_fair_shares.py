"""nh.fair_shares: who gives way where all places are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.fair_shares import LOCAL, FairShares, client_at


def test_the_client_with_most_places_gives_way() -> None:
    shares = FairShares(["a", "a", "b"])
    assert shares.heaviest() == {"a"}
    shares.take("b")
    assert shares.heaviest() == {"a", "b"}
    shares.give_back("a")
    assert shares.heaviest() == {"b"}
    assert [shares.number_of(client) for client in "abc"] == [1, 2, 0]


def test_a_client_on_a_unix_socket_gives_way_last() -> None:
    shares = FairShares([LOCAL] * 5)
    assert shares.heaviest() == {LOCAL}, "there is no other"
    shares.take("a")
    assert shares.heaviest() == {"a"}
    shares.give_back(LOCAL)
    shares.give_back("a")
    assert shares.heaviest() == {LOCAL}


@given(st.lists(st.sampled_from("abcdefgh"), max_size=200), st.integers(1, 40))
def test_where_places_are_taken_in_any_order_each_client_gets_what_it_wants_up_to_an_equal_share(
    wanted: list[str], places: int
) -> None:
    taken: list[str] = []
    for client in wanted:
        if len(taken) < places:
            taken.append(client)
            continue
        heaviest = FairShares([*taken, client]).heaviest()
        if client not in heaviest:
            del taken[next(index for index, each in enumerate(taken) if each in heaviest)]
            taken.append(client)
    shares_of = {client: (wanted.count(client), taken.count(client)) for client in set(wanted)}
    most = max((has for _, has in shares_of.values()), default=0)
    assert all(has == wants or has >= most - 1 for wants, has in shares_of.values())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:0:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_one_host_is_one_client(one: str, other: str, same: bool) -> None:
    assert (client_at(one) == client_at(other)) == same
