"""The end of a call: which deletes end what, and when. nh and rtpengine."""

import pytest

from tests.ng.client import NOT_FOUND, NgClient, reason
from tests.ng.ng_call import AUDIO, NgCall
from tests.ng.relays import NgRelay, call_ids, wait_until_gone
from tests.sip.message import new_token


def test_a_delete_without_delay_ends_the_call(relay: NgRelay, answered: NgCall) -> None:
    assert answered.call_id in call_ids(relay)
    answered.delete(from_tag=answered.from_tag)
    assert answered.call_id not in call_ids(relay)


@pytest.mark.parametrize("who", ["from_tag", "to_tag"])
def test_either_end_may_end_the_call(relay: NgRelay, answered: NgCall, who: str) -> None:
    answered.delete(from_tag=getattr(answered, who))
    assert answered.call_id not in call_ids(relay)


def test_a_delete_without_tags_ends_the_call(relay: NgRelay, answered: NgCall) -> None:
    answered.delete()
    assert answered.call_id not in call_ids(relay)


def test_a_delete_with_both_tags_ends_the_call(relay: NgRelay, answered: NgCall) -> None:
    answered.delete(from_tag=answered.from_tag, to_tag=answered.to_tag, flags=["to-tag"])
    assert answered.call_id not in call_ids(relay)


@pytest.mark.parametrize("flags", [["to-tag"], []], ids=["flag", "tag alone"])
def test_a_delete_with_both_tags_leaves_other_answerers(client: NgClient, flags: list[str]) -> None:
    """Kamailio sends no flag for what its script calls `to-tag`, but the tag for it alone."""
    call = NgCall(client)
    call.offer(AUDIO)
    call.answer(AUDIO)
    other = new_token()
    call.answer(AUDIO, to_tag=other)
    call.delete(from_tag=call.from_tag, to_tag=call.to_tag, flags=flags)
    assert other in call.query()["tags"]
    assert call.delete(from_tag=call.from_tag, to_tag="stranger", flags=flags)["warning"] == NOT_FOUND
    assert call.is_known()
    call.delete()
    assert not call.is_known()


def test_a_delete_of_a_tag_that_is_not_there_ends_nothing(answered: NgCall) -> None:
    assert answered.delete(from_tag="stranger")["warning"] == NOT_FOUND
    assert answered.is_known()
    answered.delete()


def test_a_delete_leaves_the_call_for_a_while_if_nothing_is_said(client: NgClient, answered: NgCall) -> None:
    """Thirty seconds: another branch may still answer."""
    client.get("delete", call_id=answered.call_id, from_tag=answered.from_tag)
    assert answered.is_known()
    answered.delete()


def test_a_delete_with_a_delay_ends_the_call_later(relay: NgRelay, answered: NgCall) -> None:
    answered.delete(delete_delay=1)
    assert answered.is_known()
    wait_until_gone(relay, answered.call_id)


def test_an_offer_cancels_a_delayed_delete(relay: NgRelay, client: NgClient, answered: NgCall) -> None:
    answered.delete(delete_delay=1)
    answered.reoffer(AUDIO)
    other = NgCall(client)
    other.offer(AUDIO)
    other.delete(delete_delay=2)
    wait_until_gone(relay, other.call_id)
    assert answered.is_known()
    answered.delete()


def test_a_delete_of_nothing_is_no_error(client: NgClient) -> None:
    reply = client.request("delete", call_id=new_token(), from_tag="f")
    assert reply == {"result": "ok", "warning": NOT_FOUND}


def test_a_delete_of_nothing_is_an_error_if_asked(client: NgClient) -> None:
    reply = client.request("delete", call_id=new_token(), from_tag="f", flags=["fatal"])
    assert reason(reply) == NOT_FOUND


def test_a_delete_twice_finds_nothing(answered: NgCall) -> None:
    answered.delete()
    assert answered.delete()["warning"] == NOT_FOUND
