"""One word a thing: code, tests and docs use the field's words, and not those that nh had before.

The words are those of the RFCs, rtpengine, Net::SIP, Linux, systemd and HAProxy. The list has each old word
and what stands there now. Lines are read without capitals and underscores: `NgDesk`, `ng_desk` and "ng desk"
are the same words. Only what has capitals here ("class Gate", "LEAST_") is read as it is.
"""

import re
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = ("nh", "tools", "tests", "docs", "benchmarks", "README.md", "CONTRIBUTING.md")
NAMES: Final = {".py", ".md", ".c", ".h", ".pl", ".service", ".toml"}
EVERYWHERE: Final = ("",)


class Word(NamedTuple):
    """A word that is not used any more.

    Attributes:
        old: a regular expression for it, in words without capitals and underscores; with capitals, for the
            text of the line.
        new: what stands there now.
        where: the beginnings of the paths where it is not used; elsewhere it may mean another thing.
        unless: a regular expression for its uses that are the field's.
    """

    old: str
    new: str
    where: tuple[str, ...] = EVERYWHERE
    unless: str = ""


WORDS: Final = [
    # who takes over from whom
    Word(r"estates?", "orphaned shards"),
    Word(
        r"predecessors?( lost)?",
        "orphan client, handover failed",
        where=("nh/supervisor", "nh/shard", "tests/supervisor", "tests/shard"),
    ),
    # those are values of rtpengine's
    Word(r"bequests?|legacy|legacies", "handover message, handover state", unless=r"(offer|accept) legacy"),
    Word(r"inheritance", "inherited descriptors"),
    Word(r"testators?|bequeath(s|ed)?", "send_handover"),
    Word(r"heirlooms?|heritages?", "inherited socket, recovery source"),
    Word(r"foundations", "runtime", where=("nh/supervisor", "tests/supervisor")),
    Word(r"rendezvous", "handover socket", unless=r"rendezvous( highest random weight)? hash"),
    Word(r"succession", "upgrade"),
    Word(r"class Gate", "takeover listener"),
    Word(r"class (Present|Depart|Leave|HandOver)", "Hello, Exit, Yield, Transfer"),
    Word(r"class (Start|Go)", "Restore, Activate"),
    Word(r"(not )?believable", "protocol violation"),
    # shards
    Word(r"placements?( at)?", "shard slots, shard map"),
    Word(r"arbiters?", "shard manager"),
    Word(r"class (Child|Places|_Place)", "shard handle, shard slots, shard slot"),
    Word(r"spares?", "zygote, prefork", where=("nh/", "tests/", "docs/")),
    Word(r"children before", "reap_children_after_exec"),
    Word(r"hang watch", "watchdog"),
    # calls that outlive their process
    Word(r"keepers?", "shard backup"),
    Word(r"link keep|keep sink", "checkpoint sink"),
    Word(r"call keeping", "checkpointer"),
    Word(r"kept helper", "recoverable relay"),
    Word(r"restoration", "restore queue, call restorer"),
    Word(r"class (Keep|Note|Restoration)", "checkpoint sink, call restorer, journal record"),
    Word(r"class (HoldSockets|LetGoSockets)", "StoreSockets, ReleaseSockets"),
    Word(r"class (KeepCall|ForgetCall)", "SaveCall, DropCall"),
    Word(r"set aside|store aside|asides", "quarantine"),
    Word(r"holding budget", "fd budget"),
    # what proxies speak to
    Word(r"(ng )?desks?|offices?", "ng handler, testbed"),
    Word(r"class Service", "connection context"),
    Word(r"class Clients", "idle tracker"),
    Word(r"torn", "partial frame", where=("nh/", "tests/rpc", "tests/wire")),
    Word(r"pour(s|ed|ing)?", "send_all"),
    Word(r"wishes", "parsed options"),
    Word(r"spelled", "normalize_key", where=("nh/wire/ng",)),
    # calls
    Word(r"class Ends", "participants"),
    Word(r"dialogues?", "dialog (RFC 3261)", unless=r"bad dialogue|invalid dialogue|in dialogue with"),
    Word(r"told", "announced, advertised", where=("nh/calls", "nh/results", "nh/verdict", "tests/calls")),
    Word(r"former", "superseded", where=("nh/calls", "tests/calls")),
    Word(r"(re|un)?settled?|settling", "latch", where=("nh/calls", "nh/shard", "nh/fastpath", "docs/")),
    # media
    Word(r"onwards?", "egress"),
    Word(r"forwarders", "fast path readers"),
    Word(r"judging", "latching"),
    Word(r"strays?", "no session", where=("nh/shard", "tests/shard")),
    Word(r"class OwnPorts|counts hops", "local ports, reads_ttl"),
    Word(r"class Accounts", "stats collector"),
    Word(r"class Traffic", "traffic totals"),
    Word(r"readings", "counters map", where=("nh/shard", "nh/fastpath")),
    Word(r"take left|remove left", "adopt_stale_flow, remove_stale_flows"),
    Word(r"complain(s|t|ts)?", "rate limited log line", where=("nh/",)),
    # tools and tests
    Word(r"crews?", "workers"),
    Word(r"mouths?|ears?", "sender, receiver", where=("tools/", "tests/tools")),
    Word(r"hush(ed|ing)?", "stop_sending"),
    Word(r"heard", "received, stream record", where=("tools/",)),
    Word(r"ledgers?", "run counters, progress"),
    Word(r"persever(e|es|ing)", "retrying"),
    Word(r"deeds?|scenes?|telling|playing", "actions, scenario, console, background load", where=("tools/",)),
    Word(r"bench", "testbed", where=("tests/",)),
    # one spelling, one name
    Word(r"(LEAST|MOST|LONGEST|FEWEST|SHORTEST)_[A-Z_]*", "MIN_, MAX_"),
    Word(r"(REPEAT|ANSWER|TIME_LIMIT)_S", "LOG_INTERVAL_S, REPLY_S, TIMEOUT_S"),
    Word(r"learnt|indices", "learned, indexes", where=("nh/", "docs/", "tests/", "tools/")),
    Word(r"departed", "handed over"),
    # the actor has a name
    Word(
        r"whoever|(no|some|any|every)body|(some|any|every)one",
        "the actor: caller, peer, supervisor, client",
        unless=r"vague re compile",
    ),
]

MODULES: Final = {
    "arbiter", "callid", "child",
    "children_before", "crew", "desk", "dialogue", "estate", "forwarders", "foundations",
    "gate", "hangs", "heirlooms", "hops", "inheritance", "keeper", "keeping", "kept_helper", "leaving",
    "ledger", "link_keep", "moments", "mouths", "ng_desk", "office", "onward", "persevering",
    "places",
    "placement", "playing", "pouring", "predecessor", "refusals", "relaying", "rendezvous", "restoration",
    "restoring", "scene", "set_ups", "spares", "store_aside", "store_notes", "succession", "telling",
    "testator",
}  # fmt: skip
"""Names of modules that are gone."""


class Line(NamedTuple):
    """A line of a file, and its words: without capitals, underscores and punctuation, apart by one blank."""

    file: str
    number: int
    text: str
    words: str


def read_lines() -> list[Line]:
    """All lines of code, tests and documentation."""
    listed = subprocess.run(
        ["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    files = [name for name in listed.stdout.splitlines() if Path(name).suffix in NAMES]
    return [
        Line(file, number, text.strip(), words_of(text))
        for file in files
        if file != "tests/test_words.py" and (ROOT / file).exists()
        for number, text in enumerate((ROOT / file).read_text().splitlines(), 1)
    ]


def words_of(line: str) -> str:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line)
    return " ".join(re.findall(r"[a-z0-9]+", apart.replace("_", " ").lower()))


def is_raw(word: Word) -> bool:
    """Whether it is looked for in the text of a line."""
    return word.old != word.old.lower()


def finds(word: Word, lines: list[Line]) -> list[str]:
    """Where the word is used, as FILE:LINE: TEXT."""
    old, unless = re.compile(rf"\b({word.old})\b"), re.compile(word.unless or "(?!)")
    return [
        f"{line.file}:{line.number}: {line.text}"
        for line in lines
        if old.search(line.text if is_raw(word) else line.words)
        and line.file.startswith(word.where)
        and not unless.search(line.words)
    ]


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    found = read_lines()
    if not found:
        pytest.skip("needs the repository: git ls-files")
    return found


def with_any_old_word(lines: list[Line]) -> list[Line]:
    """The few lines in which finds() may find a word: one search a line, not one for each word."""
    names = [word.old for word in WORDS if is_raw(word)]
    words = [word.old for word in WORDS if not is_raw(word)]
    any_name, any_word = (re.compile(rf"\b({'|'.join(each)})\b") for each in (names, words))
    return [line for line in lines if any_word.search(line.words) or any_name.search(line.text)]


def test_what_has_a_standard_name_has_no_other(lines: list[Line]) -> None:
    some = with_any_old_word(lines)
    found = [f"{where}\n    now: {word.new}" for word in WORDS for where in finds(word, some)]
    assert not found, "\n".join(found)


def test_modules_have_todays_names(lines: list[Line]) -> None:
    files = {line.file for line in lines}
    assert not {file for file in files if Path(file).stem.removeprefix("test_") in MODULES}
