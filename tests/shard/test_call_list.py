"""nh.shard.views.call_list: which calls a list has, in which order, and that it is made in steps."""

import gc
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from nh.calls.media import Endpoint, Media, Side
from nh.calls.media_state import SILENT_S, MediaState
from nh.calls.settings import RelayConfig
from nh.commands import MAX_LIST, Allocate, CallOrder, ListCalls, TransactionKey
from nh.ipc.channel import MAX_MESSAGE_BYTES
from nh.ipc.link_codec import encode
from nh.ipc.link_messages import Executed
from nh.loop import SelectorLoop
from nh.results import CallList, EndSummary, Failure
from nh.shard.relay import Relay
from nh.shard.views import call_list
from nh.shard.views.call_list import CallLister, list_in_steps, summarise_call
from nh.shard.views.id_index import KEEP_S, IdIndex
from nh.supervisor.dispatch import merge_pages
from tests.calls.fakes import ALICE_AUDIO, BOB_AUDIO, HELD_AUDIO, Proxy, make_proxy, receive
from tests.calls.ng_proxy import A_AUDIO, A_VIDEO, B_AUDIO, B_VIDEO, B, NgProxy, make_ng_proxy
from tests.calls.rtp import Sender
from tests.shard.conftest import MakePeer
from tests.shard.testbed import PACKET, V4, RelayTestbed
from tests.supervisor.manual_loop import ManualLoop
from tools.harness.waiting import turn_until

LONG_END = EndSummary("[" + "f" * 45 + "]:65535", "x" * 64, 2**62, 0.123456, 4.45, 123456789.123)


@pytest.fixture
def relay(ports: range) -> Iterator[Relay]:
    relay = Relay(RelayConfig(ports=(ports[0], ports[-1]), shard=3, shards=4))
    yield relay
    relay.close()


@pytest.fixture
def ng() -> NgProxy:
    return make_ng_proxy()


@pytest.fixture
def proxy() -> Proxy:
    """A proxy with a relay for fifty calls."""
    return make_proxy(ports=(20_000, 20_199))


def add_calls(relay: Relay, *call_ids: bytes) -> None:
    for call_id in call_ids:
        relay.execute(Allocate(TransactionKey(call_id, 1, b"alice"), Side.FROM, V4, ()))


def page(relay: Relay, *, contains: bytes = b"", after: bytes = b"", limit: int = 100) -> CallList:
    result = relay.execute(ListCalls(contains, after, limit))
    assert isinstance(result, CallList)
    return result


def all_pages(relay: Relay, limit: int, contains: bytes = b"") -> list[list[bytes]]:
    pages, after = [], b""
    while True:
        found = page(relay, contains=contains, after=after, limit=limit)
        pages.append([call.call_id for call in found.calls])
        after = found.next
        if not after:
            return pages


def test_calls_are_listed_in_the_order_of_their_ids(relay: Relay) -> None:
    add_calls(relay, b"c", b"a", b"\xff", b"b\0", b"b")
    assert all_pages(relay, 100) == [[b"a", b"b", b"b\0", b"c", b"\xff"]]


def test_no_calls_are_an_empty_list(relay: Relay) -> None:
    assert page(relay) == CallList(())


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
def test_every_call_is_on_one_page(relay: Relay, limit: int) -> None:
    ids = [b"%d" % number for number in range(6)]
    add_calls(relay, *ids)
    pages = all_pages(relay, limit)
    assert [call_id for found in pages for call_id in found] == ids
    assert all(0 < len(found) <= limit for found in pages)


def test_only_what_contains_the_text_is_listed(relay: Relay) -> None:
    add_calls(relay, b"one@a", b"two@b", b"three@a")
    assert all_pages(relay, 1, b"@a") == [[b"one@a"], [b"three@a"]]
    assert all_pages(relay, 10, b"@c") == [[]]


def test_pages_go_on_where_they_were_although_calls_end(relay: Relay) -> None:
    add_calls(relay, b"a", b"b", b"c")
    first = page(relay, limit=2)
    relay.close_call(b"b")
    assert [call.call_id for call in page(relay, after=first.next).calls] == [b"c"]


@pytest.mark.parametrize("id_bytes", [10, 40, 100, 1000, 16_384])
def test_a_page_of_any_calls_fits_into_one_message(relay: Relay, id_bytes: int) -> None:
    count = min(MAX_LIST, 2_000_000 // id_bytes)
    add_calls(relay, *(b"%0*d" % (id_bytes, number) for number in range(count)))
    listed, after = 0, b""
    while True:
        found = page(relay, after=after, limit=MAX_LIST)
        assert len(encode(Executed(2**63, _grown(found)))) <= MAX_MESSAGE_BYTES
        listed += len(found.calls)
        after = found.next
        if not after:
            break
    assert listed == count


def _grown(found: CallList) -> CallList:
    """The page as it would be with counters as high as they may get."""
    return CallList(
        tuple(
            msgspec.structs.replace(
                line,
                shard=255,
                sessions=2**16,
                sockets=2**16,
                packets=2**62,
                bytes=2**62,
                from_=LONG_END,
                to=LONG_END,
            )
            for line in found.calls
        ),
        found.next,
    )


def test_a_line_of_the_list_says_what_the_call_amounts_to(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    (line,) = page(testbed.relay).calls
    assert line.call_id == call.key.call_id
    assert (line.shard, line.sessions, line.sockets) == (0, 1, 4)
    assert (line.packets, line.bytes) == (4, 4 * len(PACKET))
    assert 0 <= line.idle_s <= line.age_s < 60


# --- conditions and orders --------------------------------------------------------------------------


def listed(proxy: Proxy, **fields: Any) -> list[str]:
    """The call-ids of a list."""
    return [call.call_id.decode() for call in made(proxy, **fields).calls]


def made(proxy: Proxy, **fields: Any) -> CallList:
    return finished(proxy, IdIndex(proxy.table), ListCalls(**fields))[0]


def finished(proxy: Proxy, ids: IdIndex, command: ListCalls) -> tuple[CallList, int]:
    """A page, and the number of steps that it took."""
    steps = list_in_steps(proxy.table, ids, command, shard=0, clock=lambda: proxy.now)
    taken = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert isinstance(end.value, CallList)
            return end.value, taken
        taken += 1


def test_a_list_has_the_calls_in_the_states_that_are_asked_for(proxy: Proxy) -> None:
    sessions = {name: proxy.connect(call_id=name.encode()) for name in ("both", "from", "to", "none")}
    proxy.connect(call_id=b"hold", offered=(HELD_AUDIO,), answered=(HELD_AUDIO,))
    proxy.offer(ALICE_AUDIO, call_id=b"ringing")
    proxy.now += SILENT_S
    for name, leg in (("both", 0), ("both", 1), ("from", 0), ("to", 1)):
        receive(sessions[name].legs[leg], 172, at=proxy.now)
    assert listed(proxy, one_way=True) == ["from", "to"]
    assert listed(proxy, silent=True) == ["none"]
    assert listed(proxy, one_way=True, silent=True) == ["from", "none", "to"]
    assert {call.call_id: call.state for call in made(proxy).calls} == {
        b"both": MediaState.FLOWING,
        b"from": MediaState.ONE_WAY,
        b"hold": MediaState.HOLD,
        b"none": MediaState.SILENT,
        b"ringing": MediaState.WAITING,
        b"to": MediaState.ONE_WAY,
    }


def test_a_list_has_the_calls_with_an_end_in_a_network(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO, call_id=b"offered")
    session = proxy.connect(call_id=b"latched")
    session.legs[1].source = Endpoint("192.0.2.77", 9)
    session.legs[0].source = Endpoint("2001:db8::7", 9)
    signalled = Media("phone.example", 4000, 2, "RTP/AVP", "audio", signalled_from="100.64.0.1")
    proxy.offer(signalled, call_id=b"signalled")
    assert listed(proxy, address="198.51.100.1") == ["latched", "offered"]
    assert listed(proxy, address="192.0.2.0/24") == ["latched"]
    assert listed(proxy, address="2001:db8::/32") == ["latched"]
    assert listed(proxy, address="100.64.0.0/10") == ["signalled"]
    assert listed(proxy, address="203.0.113.9", contains=b"off") == []
    assert listed(proxy, address="0.0.0.0/0") == ["latched", "offered", "signalled"]


def test_a_list_begins_with_what_an_operator_looks_for(proxy: Proxy) -> None:
    for number, name in enumerate(("a", "b", "c")):
        session = proxy.connect(call_id=name.encode())
        meter = session.legs[0].find_meter()
        assert meter is not None
        kept = [each for each in range(100) if each % 10 >= (2, 0, 1)[number]]
        Sender(meter, now=proxy.now).send(*kept)
        receive(session.legs[0], *([172] * (10, 5, 20)[number]), at=proxy.now)
        session.note(now=proxy.now)
        proxy.now += 10
    assert listed(proxy, sort=CallOrder.CALL_ID) == ["a", "b", "c"]
    assert listed(proxy, sort=CallOrder.AGE) == ["a", "b", "c"]
    assert listed(proxy, sort=CallOrder.LOSS) == ["a", "c", "b"]
    assert listed(proxy, sort=CallOrder.MOS) == ["a", "c", "b"]
    assert listed(proxy, sort=CallOrder.PACKETS) == ["c", "a", "b"]
    receive(proxy.plane.running[0].legs[0], 172, at=proxy.now)
    assert listed(proxy, sort=CallOrder.IDLE) == ["b", "c", "a"]


@pytest.mark.parametrize("sort", CallOrder)
def test_a_call_of_one_end_has_its_place_in_each_order(proxy: Proxy, sort: CallOrder) -> None:
    proxy.offer(ALICE_AUDIO, call_id=b"of one end")
    proxy.connect(call_id=b"of two ends")
    assert sorted(listed(proxy, sort=sort)) == ["of one end", "of two ends"]


def test_a_sorted_list_is_its_first_calls_and_says_that_more_follow(proxy: Proxy) -> None:
    for name in (b"e", b"d", b"c", b"b", b"a"):
        proxy.offer(ALICE_AUDIO, call_id=name)
        proxy.now += 1
    page = made(proxy, sort=CallOrder.AGE, limit=2)
    assert ([call.call_id for call in page.calls], page.next, page.more) == ([b"e", b"d"], b"", True)
    page = made(proxy, sort=CallOrder.AGE, limit=5)
    assert (len(page.calls), page.next, page.more) == (5, b"", False)
    page = made(proxy, limit=2)
    assert ([call.call_id for call in page.calls], page.next, page.more) == ([b"a", b"b"], b"b", True)


def test_a_line_has_both_ends_with_codec_loss_and_mos(proxy: Proxy) -> None:
    session = proxy.connect()
    meter = session.legs[0].find_meter()
    assert meter is not None
    Sender(meter, now=proxy.now).send(*range(50), *range(51, 101))
    session.legs[0].source = Endpoint("192.0.2.77", 9)
    proxy.now += 1
    receive(session.legs[0], *([172] * 100), at=proxy.now)
    (line,) = made(proxy).calls
    assert line.from_ is not None
    assert line.from_.mos is not None
    assert line.from_ == EndSummary("192.0.2.77:9", "PCMU", 100, 0.009901, line.from_.mos, 0.0)
    assert line.to == EndSummary(f"{BOB_AUDIO.address}:{BOB_AUDIO.port}", "", 0, None, None, None)
    assert 4 < line.from_.mos < 4.4


def test_the_ends_are_those_of_the_latest_session(proxy: Proxy) -> None:
    proxy.connect()
    proxy.now += 1
    proxy.connect(cseq=2, offered=(Media("198.51.100.9", 4000, 2, "RTP/AVP", "audio"),))
    (line,) = made(proxy).calls
    assert line.from_ is not None
    assert line.from_.address == "198.51.100.9:4000"


def test_the_ends_are_those_of_the_audio_where_a_later_session_has_video(ng: NgProxy) -> None:
    ng.offer(A_AUDIO)
    ng.answer(B_AUDIO)
    ng.now += 1
    ng.offer(A_AUDIO, A_VIDEO, to=B)
    ng.answer(B_AUDIO, B_VIDEO)
    (call,) = ng.table
    line = summarise_call(call, shard=0, now=ng.now)
    assert line.from_ is not None
    assert line.to is not None
    assert line.from_.address == f"{A_AUDIO.address}:{A_AUDIO.port}"
    assert line.to.address == f"{B_AUDIO.address}:{B_AUDIO.port}"


def test_an_offer_has_the_end_that_made_it(ng: NgProxy) -> None:
    ng.offer(A_AUDIO, expecting=True)
    (call,) = ng.table
    line = summarise_call(call, shard=0, now=ng.now)
    assert line.state is MediaState.WAITING
    assert line.from_ is not None
    assert line.to is not None
    assert (line.from_.address, line.to.address) == (f"{A_AUDIO.address}:{A_AUDIO.port}", None)


def test_a_call_without_a_session_has_no_ends(proxy: Proxy) -> None:
    proxy.offer(ALICE_AUDIO)
    (line,) = made(proxy).calls
    assert (line.from_, line.to) == (None, None)


# --- steps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", CallOrder)
def test_calls_that_end_or_begin_while_a_list_is_made_do_no_harm(proxy: Proxy, sort: CallOrder) -> None:
    for number in range(20):
        proxy.connect(call_id=b"%02d" % number)
    ids, command = IdIndex(proxy.table), ListCalls(sort=sort)
    steps = list_in_steps(proxy.table, ids, command, shard=0, clock=lambda: proxy.now)
    page = None
    for step in range(60):
        try:
            next(steps)
        except StopIteration as end:
            page = end.value
            break
        if step < 20 and step % 2:
            proxy.table.close_call(b"%02d" % step, now=proxy.now)
            proxy.connect(call_id=b"new%02d" % step)
    assert page is not None
    assert [call.call_id for call in page.calls] == [b"%02d" % number for number in range(0, 20, 2)]
    assert (page.next, page.more) == (b"", False)


def test_what_ends_while_a_page_is_made_does_not_end_the_list(proxy: Proxy) -> None:
    for name in (b"a", b"b", b"c"):
        proxy.offer(ALICE_AUDIO, call_id=name)
    steps = list_in_steps(
        proxy.table, IdIndex(proxy.table), ListCalls(limit=1), shard=0, clock=lambda: proxy.now
    )
    next(steps)
    proxy.table.close_call(b"a", now=proxy.now)
    with pytest.raises(StopIteration) as end:
        while True:
            next(steps)
    page = end.value.value
    assert ([call.call_id for call in page.calls], page.next, page.more) == ([b"b"], b"b", True)


@pytest.mark.parametrize("fields", [{}, {"silent": True}, {"contains": b"no such call"}])
def test_a_list_looks_at_each_call_once_however_many_pages_it_has(fields: dict[str, Any]) -> None:
    proxy = make_proxy(ports=(20_000, 21_999))
    for number in range(400):
        proxy.offer(ALICE_AUDIO, call_id=b"%03d" % (number * 7 % 400))
    ids, after, steps = IdIndex(proxy.table, lambda: proxy.now), b"", 0
    listed: list[bytes] = []
    while True:
        page, taken = finished(proxy, ids, ListCalls(after=after, limit=10, **fields))
        steps += taken
        listed += [call.call_id for call in page.calls]
        after = page.next
        if not after:
            break
    assert listed == ([] if fields else [b"%03d" % number for number in range(400)])
    assert steps < 1.2 * 400


def test_a_client_that_pauses_within_a_list_gets_calls_that_began_meanwhile(proxy: Proxy) -> None:
    ids = IdIndex(proxy.table, lambda: proxy.now)
    for name in (b"a", b"c"):
        proxy.offer(ALICE_AUDIO, call_id=name)
    first, _ = finished(proxy, ids, ListCalls(limit=1))
    proxy.offer(ALICE_AUDIO, call_id=b"b")
    proxy.now += KEEP_S + 1
    second, _ = finished(proxy, ids, ListCalls(after=first.next))
    assert [call.call_id for call in second.calls] == [b"b", b"c"]


def test_a_new_list_has_the_calls_that_began_since_the_list_before(proxy: Proxy) -> None:
    ids = IdIndex(proxy.table, lambda: proxy.now)
    proxy.offer(ALICE_AUDIO, call_id=b"a")
    finished(proxy, ids, ListCalls())
    proxy.offer(ALICE_AUDIO, call_id=b"b")
    again, _ = finished(proxy, ids, ListCalls())
    assert [call.call_id for call in again.calls] == [b"a", b"b"]


class Reader:
    """A client that reads the list of all calls of some shards, page by page.

    Attributes:
        found: the call-ids of its pages.
        throughout: those of the calls that have lived since it began.
        done: whether it has the last page.
    """

    def __init__(
        self, loop: ManualLoop, listers: Sequence[CallLister], alive: set[bytes], limit: int
    ) -> None:
        self.found: list[bytes] = []
        self.throughout = set(alive)
        self.done = False
        self._loop = loop
        self._listers = listers
        self._ask(ListCalls(limit=limit))

    def _ask(self, command: ListCalls) -> None:
        pages: list[CallList] = []

        def on_page(page: CallList | Failure) -> None:
            assert isinstance(page, CallList)
            pages.append(page)
            if len(pages) < len(self._listers):
                return
            merged = merge_pages(pages, command)
            self.found += [call.call_id for call in merged.calls]
            self.done = not merged.next
            if not self.done:
                following = msgspec.structs.replace(command, after=merged.next)
                self._loop.call_later(0.0, lambda: self._ask(following))

        for lister in self._listers:
            lister.begin(self._loop, command, on_page)


@pytest.mark.parametrize("seed", range(10))
def test_a_call_that_lives_throughout_a_list_is_in_it_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls come and go between the steps of three clients, which share the orders of two shards."""
    monkeypatch.setattr(call_list, "SLICE_S", 0.0)
    monkeypatch.setattr(call_list, "MAX_PAGE_BYTES", 5 * call_list.LINE_BYTES)  # some pages are shorter
    chance, loop = random.Random(seed), ManualLoop()
    shards = [make_proxy(ports=(20_000, 20_999)) for _ in range(2)]
    listers = [CallLister(proxy.table, number) for number, proxy in enumerate(shards)]
    homes = {b"%02d" % number: chance.choice(shards) for number in range(60)}
    alive: set[bytes] = set()
    readers: list[Reader] = []
    lists = 0
    while lists < 30:
        call_id = chance.choice(sorted(homes))
        proxy = homes[call_id]
        if call_id not in alive:
            proxy.offer(ALICE_AUDIO, call_id=call_id)
            alive.add(call_id)
        elif chance.random() < 0.5:
            proxy.table.close_call(call_id, now=proxy.now)
            alive.remove(call_id)
            for reader in readers:
                reader.throughout.discard(call_id)
        if len(readers) < 3 and chance.random() < 0.1:
            readers.append(Reader(loop, listers, alive, limit=chance.randint(1, 9)))
        loop.advance(KEEP_S if chance.random() < 0.01 else call_list.PAUSE_S)
        for reader in [each for each in readers if each.done]:
            readers.remove(reader)
            lists += 1
            assert reader.found == sorted(set(reader.found))
            assert reader.throughout <= set(reader.found)


def test_the_order_of_a_list_is_freed_when_its_time_is_over(proxy: Proxy) -> None:
    def orders() -> int:
        return sum(type(each) is list for each in gc.get_referrers(call.call_id))

    proxy.offer(ALICE_AUDIO)
    (call,) = proxy.table
    loop, lister = ManualLoop(), CallLister(proxy.table, 0)
    replies: list[CallList | Failure] = []
    for number in range(1, 3):
        lister.begin(loop, ListCalls(), replies.append)
        loop.advance(KEEP_S - 1)
        assert (len(replies), orders()) == (number, 1)
        loop.advance(2)
        assert orders() == 0


def test_other_work_comes_between_the_steps_of_lists(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_list, "SLICE_S", 0.0)
    monkeypatch.setattr(call_list, "PAUSE_S", 0.0)
    for number in range(30):
        proxy.offer(ALICE_AUDIO, call_id=b"%02d" % number)
    loop, lister = SelectorLoop(), CallLister(proxy.table, 0)
    replies: list[CallList | Failure] = []
    turns = 0
    for _ in range(3):
        lister.begin(loop, ListCalls(), replies.append)
    assert replies == []

    def all_are_there() -> bool:
        nonlocal turns
        turns += 1
        return len(replies) == 3

    turn_until(loop, all_are_there, "the lists")
    assert turns > 3 * 30
    assert [len(each.calls) for each in replies if isinstance(each, CallList)] == [30, 30, 30]
    loop.close()


def test_a_list_that_is_not_made_at_the_end_gets_no_reply(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_list, "SLICE_S", 0.0)
    proxy.offer(ALICE_AUDIO)
    loop, lister = SelectorLoop(), CallLister(proxy.table, 0)
    replies: list[CallList | Failure] = []
    lister.begin(loop, ListCalls(), replies.append)
    lister.close()
    loop.turn(0.0)
    loop.close()
    assert replies == []


def test_a_reply_that_fails_holds_up_no_other_list(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_reply: CallList | Failure) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(call_list, "SLICE_S", 0.0)
    proxy.offer(ALICE_AUDIO)
    loop, lister = ManualLoop(), CallLister(proxy.table, 0)
    replies: list[CallList | Failure] = []
    lister.begin(loop, ListCalls(), fail)
    lister.begin(loop, ListCalls(), replies.append)
    with pytest.raises(RuntimeError, match="a bug"):  # the loop logs it
        loop.advance(1.0)
    loop.advance(1.0)
    assert len(replies) == 1


def test_a_summary_changes_nothing(proxy: Proxy) -> None:
    proxy.connect()
    (call,) = proxy.table
    assert summarise_call(call, shard=0, now=proxy.now) == summarise_call(call, shard=0, now=proxy.now)
