"""`nh calls` and `nh close` against a server with real sockets in this process."""

import functools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from nh.calls.media import Media, Side
from nh.calls.media_state import MediaState
from nh.calls.settings import RelayConfig
from nh.cli.calls import output
from nh.cli.calls.list_view import call_text, layout_for, titles
from nh.cli.main import app
from nh.client import NativeClient
from nh.commands import MAX_LIST, Activate, Allocate, CallOrder, ListCalls, TransactionKey
from nh.errors import ShardUnavailable
from nh.loop import SelectorLoop
from nh.results import CallList, CallSummary, EndSummary
from nh.server import Server
from nh.shard.netsip import Transactions
from nh.shard.relay import Relay
from tools.harness.ports import claim_ports
from tools.harness.waiting import eventually

AUDIO = Media("127.0.0.1", 4000, 2, "RTP/AVP", "audio")
EVIL = b"z\0\x1b[2J\xff\\"
EVIL_SHOWN = r"z\x00\x1b[2J\xff\\"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A runtime directory in which a server listens."""
    loop = SelectorLoop()
    with claim_ports(400) as ports, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "nh.sock"))
        listener.listen()
        listener.setblocking(False)
        server = Server(Relay(RelayConfig(ports=(ports[0], ports[-1]))), [listener], loop=loop)
        ended = threading.Event()

        def turn() -> None:
            while not ended.is_set():
                loop.turn(0.05)

        thread = threading.Thread(target=turn)
        thread.start()
        yield tmp_path
        ended.set()
        thread.join()
        server.close()
        loop.close()


def allocate(directory: Path, *call_ids: bytes, sides: tuple[Side, ...] = (Side.FROM,)) -> None:
    with NativeClient(str(directory / "nh.sock")) as client:
        for call_id in call_ids:
            key = TransactionKey(call_id, 1, b"from", b"to", b"sip:a\x1b@example.org", b"sip:b@example.org")
            for side in sides:
                client.request(Allocate(key, side, "127.0.0.1", (AUDIO,)))
            if len(sides) == 2:
                client.request(Activate(key, {"why": "a test"}))


def nh(directory: Path, *words: str) -> Result:
    command, *rest = words
    return CliRunner().invoke(app, [command, "--runtime-dir", str(directory), *rest])


def listed(result: Result) -> list[str]:
    """The call-ids in a printed list."""
    assert result.exit_code == 0, result.output
    return [line.split()[-1] for line in result.stdout.splitlines()[1:]]


def test_calls_are_listed_with_whole_ids_at_the_end_of_the_line(directory: Path) -> None:
    long = b"y" * 300
    allocate(directory, b"x@host", long, EVIL)
    result = nh(directory, "calls")
    assert result.stdout.splitlines()[0].split()[-1] == "call-id"
    assert listed(result) == ["x@host", "y" * 300, EVIL_SHOWN]
    assert result.stderr == ""


def test_a_list_is_limited_and_says_that_there_is_more(directory: Path) -> None:
    allocate(directory, b"a", b"b", b"c")
    result = nh(directory, "calls", "--limit", "2")
    assert listed(result) == ["a", "b"]
    assert "more than 2 calls; see --limit" in result.stderr
    assert nh(directory, "calls", "--limit", "3").stderr == ""


def test_a_list_is_filtered_by_text_with_the_escapes_of_ids(directory: Path) -> None:
    allocate(directory, b"1@one", b"2@one", b"3@two", EVIL)
    assert listed(nh(directory, "calls", "--contains", "@one")) == ["1@one", "2@one"]
    assert listed(nh(directory, "calls", "--contains", r"\xff\\")) == [EVIL_SHOWN]
    assert listed(nh(directory, "calls", "--contains", "nowhere")) == []


def test_pages_are_fetched_until_the_limit(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nh.cli.calls.output.MAX_LIST", 2)
    ids = [f"{number}" for number in range(7)]
    allocate(directory, *(name.encode() for name in ids))
    assert listed(nh(directory, "calls")) == ids
    assert listed(nh(directory, "calls", "--limit", "5")) == ids[:5]
    assert MAX_LIST > 2


OLDEST = "cdaegbhf"


class FewAPage:
    """A client of an nh with these calls, of which a page has three at most; each page takes a second."""

    def __init__(self, calls: list[CallSummary], clock: list[float]) -> None:
        self._calls = calls
        self._clock = clock

    def request(self, command: ListCalls) -> CallList:
        now, self._clock[0] = self._clock[0], self._clock[0] + 1.0
        aged = [msgspec.structs.replace(call, age_s=call.age_s + now) for call in self._calls]
        rest = sorted(filter(lambda call: call.call_id > command.after, aged), key=command.sort.rank)
        page = tuple(rest[: min(3, command.limit)])
        more = len(page) < len(rest)
        by_id = command.sort is CallOrder.CALL_ID
        return CallList(page, page[-1].call_id if more and by_id else b"", more)


@pytest.mark.parametrize(
    ("order", "sorted_ids"),
    [(CallOrder.LOSS, "fhbgdaec"), (CallOrder.AGE, "cdaegbhf"), (CallOrder.CALL_ID, "abcdefgh")],
)
@pytest.mark.parametrize("limit", [2, 5, 8, 1000])
def test_a_sorted_list_has_all_calls_also_beyond_what_nh_sorts(
    order: CallOrder,
    sorted_ids: str,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = [0.0]
    monkeypatch.setattr("nh.cli.calls.output.time.monotonic", lambda: clock[0])
    calls = [
        CallSummary(
            call_id.encode(),
            0,
            3.0 - age / 2,
            0.0,
            1,
            4,
            1,
            1,
            MediaState.FLOWING,
            EndSummary("198.51.100.2:6000", "PCMU", 1, 1.0 - loss / 10, 4.0, 0.1),
            None,
        )
        for call_id, loss, age in (
            (each, "fhbgdaec".index(each), "cdaegbhf".index(each)) for each in "abcdefgh"
        )
    ]
    client = cast(NativeClient, FewAPage(calls, clock))
    more = output.print_list(client, ListCalls(sort=order), limit, as_json=True)
    printed = [msgspec.json.decode(line)["call_id"] for line in capsys.readouterr().out.splitlines()]
    assert "".join(printed) == sorted_ids[:limit]
    assert more == (limit < len(calls))


def test_a_list_shows_both_ends(directory: Path) -> None:
    allocate(directory, b"x@host", sides=(Side.FROM, Side.TO))
    result = nh(directory, "calls")
    assert result.stdout.splitlines()[0].split()[:4] == ["media", "age", "idle", "packets"]
    state, _age, _idle, *rest = result.stdout.splitlines()[1].split()
    assert state in ("waiting", "silent")  # which it is after 5 s
    assert rest == ["0", "127.0.0.1:4000", "127.0.0.1:4000", "x@host"]


def test_calls_are_selected_and_ordered(directory: Path) -> None:
    allocate(directory, b"a", sides=(Side.FROM, Side.TO))
    allocate(directory, b"b")
    assert listed(nh(directory, "calls", "--sort", "age")) == ["a", "b"]
    assert listed(nh(directory, "calls", "--address", "127.0.0.0/8", "--contains", "b")) == ["b"]
    assert listed(nh(directory, "calls", "--address", "192.0.2.1")) == []
    # a call that rings is neither, however long it does
    assert listed(nh(directory, "calls", "--one-way", "--silent", "--contains", "b")) == []
    sorted_list = nh(directory, "calls", "--sort", "age", "--limit", "1")
    assert listed(sorted_list) == ["a"]
    assert "there is more than 1 call;" in sorted_list.stderr


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--address", "nowhere"], "--address: 'nowhere' is not an IP address or network"),
        (["--sort", "weather"], "--sort: 'weather' is not one of call_id, age"),
        (["--silent", "a"], "CALL-ID shows one call"),
        (["--limit", "0"], "--limit: "),
    ],
)
def test_a_list_that_cannot_be_made_is_the_operators_error(
    directory: Path, words: list[str], what: str
) -> None:
    result = nh(directory, "calls", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"nh: command line: {what}")
    assert result.stderr.count("\n") == 1


ENDS = (
    EndSummary("198.51.100.200:60000", "telephone-event", 12_345_678, 0.0949, 4.31, 0.02),
    EndSummary("203.0.113.200:60000", "PCMA", 9999, 1.0, 1.0, 86_400.0),
)


LONGEST_IPV6 = f"[{':'.join(8 * ['2001'])}]:60000"

IPV6_ENDS = tuple(
    msgspec.structs.replace(end, address=address)
    for end, address in zip(ENDS, (LONGEST_IPV6, "203.0.113.200:60000"), strict=True)
)


def summary(*ends: EndSummary | None, call_id: bytes = b"a" * 30) -> CallSummary:
    first, second = ends
    state = MediaState.ONE_WAY
    return CallSummary(call_id, 3, 360_000.0, 9.9, 1, 4, 12_345_678, 2**40, state, first, second)


def drawn(width: int | None, *calls: CallSummary) -> list[str]:
    """The lines of a list: those of the titles, then those of the calls."""
    layout = layout_for(width, calls)
    texts = [titles(layout), *(call_text(layout, call) for call in calls)]
    return [line for text in texts for line in text.plain.splitlines()]


@pytest.mark.parametrize(
    ("width", "ends", "lines_each"),
    [
        (40, ENDS, 3),
        (79, ENDS, 3),
        (80, ENDS, 2),
        (149, ENDS, 2),
        (150, ENDS, 1),
        (66, IPV6_ENDS, 3),
        (131, IPV6_ENDS, 3),
        (132, IPV6_ENDS, 2),
        (201, IPV6_ENDS, 2),
        (202, IPV6_ENDS, 1),
    ],
)
def test_the_columns_fit_into_the_terminal(width: int, ends: tuple[EndSummary, ...], lines_each: int) -> None:
    lines = drawn(width, summary(*ends, call_id=b"abcdefgh"), summary(*ENDS, call_id=b"ijklmnop"))
    assert len(lines) == 3 * lines_each
    assert max(map(len, lines)) <= width
    text = " ".join(lines)
    for part in ("one-way", *(str(end.address) for end in ends), "9.5%", "100%", "4.3", "1.0"):
        assert part in text
    for first in range(lines_each, len(lines), lines_each):
        for title, values in zip(lines[:lines_each], lines[first : first + lines_each], strict=True):
            for at in (title.index(name) for name in ("from", "to", "codec", "call-id") if name in title):
                assert values[at - 1] == " " != values[at]


def test_an_address_that_is_longer_than_the_line_shifts_no_other_one() -> None:
    lines = drawn(40, summary(*IPV6_ENDS), summary(*ENDS))
    assert [len(line) > 40 for line in lines if "call-id" not in line and "aaa" not in line] == [
        *(False, False),  # the titles
        *(True, False),
        *(False, False),
    ]


def test_a_program_gets_a_line_for_each_call_however_long_its_addresses_are() -> None:
    assert len(drawn(None, summary(*IPV6_ENDS), summary(*ENDS))) == 3


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_call_without_ends_or_with_one_is_shown(width: int) -> None:
    assert "call-id-1" in drawn(width, summary(None, None, call_id=b"call-id-1"))[-1]
    lines = drawn(width, summary(ENDS[0], None, call_id=b"call-id-1"))
    assert sum("198.51.100.200:60000" in line for line in lines) == 1


class APage:
    """A client of an nh whose calls come one a page."""

    def __init__(self, *calls: CallSummary) -> None:
        self._calls = list(calls)

    def request(self, command: ListCalls) -> CallList:
        call = self._calls.pop(0)
        return CallList((call,), call.call_id if self._calls else b"", more=bool(self._calls))


@pytest.mark.parametrize(("terminal", "titled"), [(True, 2), (False, 1)])
def test_wider_columns_of_a_later_page_have_titles_of_their_own_on_a_terminal(
    terminal: bool, titled: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "Console", functools.partial(Console, width=200, force_terminal=terminal))
    calls = [summary(*ends, call_id=name) for ends, name in ((ENDS, b"1"), (IPV6_ENDS, b"2"), (ENDS, b"3"))]
    output.print_list(cast(NativeClient, APage(*calls)), ListCalls(), 100, as_json=False)
    printed = capsys.readouterr().out
    assert printed.count("call-id") == titled
    assert printed.count("one-way") == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_the_lines_of_a_page_are_drawn_together_because_each_drawing_costs(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawings = []

    class Counting(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            drawings.append(objects)
            super().print(*objects, **options)

    console = functools.partial(Counting, width=200, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(output, "Console", console)
    client = FewAPage([summary(*ENDS, call_id=name.encode()) for name in OLDEST], [0.0])
    output.print_list(cast(NativeClient, client), ListCalls(), 100, as_json=False)
    ids = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert ids == ["call-id", *sorted(OLDEST)]
    assert len(drawings) == 3, "eight calls are three pages"


def test_what_an_end_sends_is_shown_safely() -> None:
    end = EndSummary("198.51.100.200:60000", "\x1b[2J", 1, None, None, None)
    for width in (40, 80, 200):
        shown = "".join(drawn(width, summary(end, None, call_id=EVIL)))
        assert "\x1b" not in shown
        assert EVIL_SHOWN in shown


def test_json_has_a_line_for_each_call_with_ids_as_they_are_typed(directory: Path) -> None:
    allocate(directory, b"a", EVIL)
    result = nh(directory, "calls", "--json")
    lines = [msgspec.json.decode(line) for line in result.stdout.splitlines()]
    assert [line["call_id"] for line in lines] == ["a", EVIL_SHOWN]
    assert [line["sockets"] for line in lines] == [2, 2]


def test_a_call_is_shown_in_full(directory: Path) -> None:
    allocate(directory, EVIL, sides=(Side.FROM, Side.TO))
    result = nh(directory, "calls", EVIL_SHOWN)
    assert result.exit_code == 0, result.output
    for part in (
        f"call {EVIL_SHOWN}",
        "cseq 1 · ",
        "from 127.0.0.1:4000/2  id from\n",
        "to   127.0.0.1:4000/2  id to\n",
        r"uri_from=sip:a\x1b@example.org",
        "why=a test\n",
        "audio 0 RTP\n",
        "audio 0 RTCP\n",
        "announced 127.0.0.1:4001, source nothing yet",
        "in a session",
    ):
        assert part in result.stdout
    assert "\x1b" not in result.stdout


def test_a_call_in_full_as_json(directory: Path) -> None:
    allocate(directory, EVIL, sides=(Side.FROM, Side.TO))
    detail = msgspec.json.decode(nh(directory, "calls", EVIL_SHOWN, "--json").stdout)
    assert detail["call_id"] == EVIL_SHOWN
    assert [session["id_from"] for session in detail["sessions"]] == ["from"]
    assert len(detail["sessions"][0]["pairs"]) == 2


def test_a_closed_call_is_gone(directory: Path) -> None:
    allocate(directory, EVIL, b"-c", sides=(Side.FROM, Side.TO))
    allocate(directory, b"unused")
    assert nh(directory, "close", EVIL_SHOWN).stdout == f"closed {EVIL_SHOWN}: 1 session ended\n"
    assert (
        nh(directory, "close", "unused").stdout
        == "closed unused: no session was active, its ports are free\n"
    )
    closed = nh(directory, "close", "--json", "--", "-c")
    assert msgspec.json.decode(closed.stdout) == {"call_id": "-c", "closed": 1}
    assert listed(nh(directory, "calls")) == []


def test_of_several_calls_those_that_are_known_are_closed(directory: Path) -> None:
    allocate(directory, b"a", b"b", EVIL, sides=(Side.FROM, Side.TO))
    result = nh(directory, "close", "--json", "a", "unknown", EVIL_SHOWN)
    closed = [msgspec.json.decode(line) for line in result.stdout.splitlines()]
    assert closed == [{"call_id": "a", "closed": 1}, {"call_id": EVIL_SHOWN, "closed": 1}]
    assert result.stderr == "nh: no call 'unknown' here; `nh calls` lists them\n"
    assert result.exit_code == 1
    assert listed(nh(directory, "calls")) == ["b"]


def test_a_call_whose_shard_is_away_keeps_no_other_from_its_end(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_call(transactions: Transactions, call_id: bytes) -> object:
        if call_id == b"a":
            raise ShardUnavailable("shard 0 is starting")
        return close(transactions, call_id)

    allocate(directory, b"a", b"b")
    close = Transactions.close_call
    monkeypatch.setattr(Transactions, "close_call", close_call)
    result = nh(directory, "close", "a", "b")
    assert result.stdout == "closed b: no session was active, its ports are free\n"
    assert result.stderr == "nh: call 'a': shard 0 is starting\n"
    assert result.exit_code == 1
    assert listed(nh(directory, "calls")) == ["a"]


def test_where_one_of_several_ids_cannot_be_read_no_call_is_closed(directory: Path) -> None:
    allocate(directory, b"a")
    assert nh(directory, "close", "a", "\\q").exit_code == 2
    assert listed(nh(directory, "calls")) == ["a"]


@pytest.mark.parametrize("command", ["calls", "close"])
def test_an_unknown_call_is_an_error(directory: Path, command: str) -> None:
    result = nh(directory, command, "unknown")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("nh: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["calls", "close"])
def test_an_id_that_cannot_be_read_is_the_operators_error(directory: Path, command: str) -> None:
    result = nh(directory, command, "\\q")
    assert result.exit_code == 2
    assert "backslash" in result.stderr


@pytest.mark.parametrize("words", [["calls"], ["calls", "x"], ["close", "x"]])
def test_where_nothing_listens_the_runtime_directory_is_named(tmp_path: Path, words: list[str]) -> None:
    result = nh(tmp_path, *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"nh does not run with runtime directory {tmp_path};" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_rpc_address_can_be_named(directory: Path, tmp_path: Path) -> None:
    allocate(directory, b"a")
    result = CliRunner().invoke(app, ["calls", "--rpc", str(directory / "nh.sock")])
    assert listed(result) == ["a"]
    assert CliRunner().invoke(app, ["calls", "--rpc", "nonsense"]).exit_code == 2


@pytest.mark.parametrize("command", ["calls", "promote", "upgrade"])
def test_another_program_at_the_rpc_address_is_named(command: str) -> None:
    def answer(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.recv(1000)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        other = threading.Thread(target=answer, args=(listener,))
        other.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        result = CliRunner().invoke(app, [command, "--rpc", address])
        other.join()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"nh: {address}: what answers there is not nh's RPC (frame: ")


def test_why_tells_for_each_direction_what_is_wrong_and_what_to_do(directory: Path) -> None:
    allocate(directory, EVIL, sides=(Side.FROM, Side.TO))
    begins = nh(directory, "why", EVIL_SHOWN)
    assert (begins.exit_code, begins.stdout.count("nothing has come to 127.")) == (0, 2), begins.output

    def has_problem() -> bool:
        return nh(directory, "why", EVIL_SHOWN).exit_code == 3

    eventually(has_problem, "media have had their time to begin")
    result = nh(directory, "why", EVIL_SHOWN)
    assert result.stdout.startswith(
        f"call {EVIL_SHOWN}\n  audio 0, from → to: problem\n    nothing came to 127."
    )
    assert result.stdout.count("    likely: ") == result.stdout.count("    do: ") == 2
    assert "tcpdump -ni any 'udp and (port " in result.stdout
    assert result.stdout.count("    told to send to 127.") == 2
    told = msgspec.json.decode(nh(directory, "why", "--json", EVIL_SHOWN).stdout)
    assert told["call_id"] == EVIL_SHOWN
    assert [verdict["state"] for verdict in told["verdicts"]] == ["problem", "problem"]


def test_why_of_a_call_without_a_session_is_no_problem(directory: Path) -> None:
    allocate(directory, b"ringing")
    result = nh(directory, "why", "ringing")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 2)
    assert "no session between two ends yet" in result.stdout


def test_why_of_an_unknown_call_names_it(directory: Path) -> None:
    result = nh(directory, "why", "nowhere")
    assert result.exit_code == 1
    assert "no call 'nowhere' here" in result.stderr
