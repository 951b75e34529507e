"""nh is killed between two operations on the journal's files: no change is lost, no ended call is back.

Each test does the same steps again and again, and is killed at one operation after the other.
"""

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nh.supervisor.store.journal import Journal
from nh.supervisor.store.journal_records import JournalRecord
from tests.descriptors import descriptors_here
from tests.profiles import examples
from tests.supervisor.killed_files import Files, Killed

CALLS: Final = (b"a", b"b")

Step = tuple[str, bytes]
"""What happens, and to which call."""


class KilledStore:
    """A journal, and a store behind it, which takes all that is known at once, as an engine does.

    Attributes:
        answered: the latest change of each call that was recorded.
        in_progress: the change that is being recorded.
        in_store: the latest change of each call that the store has.
        missed: calls with a change that had no room since the store took all.
    """

    def __init__(self, directory: Path) -> None:
        self.answered: dict[bytes, JournalRecord] = {}
        self.in_progress: JournalRecord | None = None
        self.in_store: dict[bytes, JournalRecord] = {}
        self.missed: set[bytes] = set()
        self._directory = directory
        self._number = 0.0
        self._taken: dict[bytes, JournalRecord] | None = None
        self._journal = Journal(directory)

    def do(self, step: Step) -> None:
        what, call_id = step
        match what:
            case "put" | "end" | "miss put" | "miss end":
                self._change(call_id, has_room="miss" not in what, ends="end" in what)
            case "begin":
                self._begin()
            case "store" | "store and change":
                self._begin()
                assert self._taken is not None
                if self._journal.lacks_records:
                    self._compact()
                self.in_store = dict(self._taken)
                self.missed.clear()
                if "change" in what:
                    self._change(call_id, has_room=True, ends=False)
                self._journal.end_batch()
                self._taken = None
            case "compact":
                if self._taken is not None:
                    self._compact()
            case "compact in place":
                if self._taken is not None and self._journal.has_room_in_place(0):
                    self._compact_in_place()
            case "kill":
                self.restart()

    def restart(self) -> None:
        """Kill the process, start the next one, and see what it knows."""
        self._journal.close()
        self._journal = Journal(self._directory)
        known = dict(self.in_store)
        for record in self._journal.load():
            stored = known.get(record.call_id)
            if stored is None or stored.snapshot is None or stored.changed_at <= record.changed_at:
                known[record.call_id] = record
        self._check(known)
        self.answered = known
        self.in_progress = self._taken = None
        self._number += 1

    def close(self) -> None:
        self._journal.close()

    def _check(self, known: dict[bytes, JournalRecord]) -> None:
        for call_id in CALLS:
            latest, stored = known.get(call_id), self.in_store.get(call_id)
            may_be = [self.answered.get(call_id)]
            if self.in_progress is not None and self.in_progress.call_id == call_id:
                may_be.append(self.in_progress)
            if self.missed:  # then all that the store does not have may be lost
                may_be.append(stored)
            if latest not in may_be:
                assert call_id in self.missed
                assert latest is not None
                assert stored is None or latest.changed_at >= stored.changed_at

    def _change(self, call_id: bytes, *, has_room: bool, ends: bool) -> None:
        self._number += 1
        record = JournalRecord(call_id, None if ends else b"%d" % self._number, self._number)
        self.in_progress = record
        if not has_room:
            self.missed.add(call_id)
        with pytest.MonkeyPatch.context() as patch:
            if not has_room:
                patch.setattr("nh.supervisor.store.journal.MAX_BYTES", -1 << 40)
            self._journal.add(record)
        self.answered[call_id] = record
        self.in_progress = None

    def _begin(self) -> None:
        self._taken = dict(self.answered)
        self._journal.begin_batch()

    def _compact(self) -> None:
        assert self._taken is not None
        self._journal.use_compacted(self._journal.write_compacted(self._taken.values()))

    def _compact_in_place(self) -> None:
        taken = self._taken
        assert taken is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nh.supervisor.store.journal_move.PART_BYTES", 1)
            patch.setattr("nh.supervisor.store.journal_move.PART_CALLS", 1)
            for _ in self._journal.compact_in_place(taken.get, taken):
                pass


def survives_a_kill_at_each_operation(directory: Path, steps: Sequence[Step]) -> None:
    """Do the steps, killed at one operation after the other, and the rest with what is known then."""
    descriptors = descriptors_here()
    for kill_at in itertools.count():
        place = directory / str(kill_at)
        place.mkdir()
        files = Files(kill_at)
        with contextlib.closing(KilledStore(place)) as store:
            for step in steps:
                try:
                    with files.counted():
                        store.do(step)
                except Killed:
                    store.restart()
            store.restart()
        if files.done <= kill_at:
            break
    assert descriptors_here() <= descriptors


_CALLS = st.sampled_from(CALLS)
_ROOM = st.sampled_from(["put", "put", "end", "begin", "store", "store and change", "compact", "kill"])
_NO_ROOM = st.sampled_from(
    ["put", "end", "miss put", "miss end", "begin", "store", "compact", "compact in place", "kill"]
)


@settings(max_examples=examples(30), deadline=None)
@example(steps=[("put", b"a"), ("begin", b""), ("end", b"a"), ("kill", b""), ("put", b"b"), ("store", b"")])
@given(steps=st.lists(st.tuples(_ROOM, _CALLS), min_size=3, max_size=14))
def test_a_kill_at_any_operation_loses_no_change(
    steps: list[Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    survives_a_kill_at_each_operation(tmp_path_factory.mktemp("journal"), steps)


@settings(max_examples=examples(30), deadline=None)
@example(steps=[("put", b"a"), ("begin", b""), ("compact", b""), ("miss end", b"a"), ("store", b"")])
@example(steps=[("put", b"a"), ("begin", b""), ("end", b"a"), ("miss put", b"b")])
@example(
    steps=[(what, b"a") for what in ("put", "begin", "compact", "put", "miss end")]
    + [(what, b"b") for what in ("put", "begin", "compact", "store")]
)
@example(steps=[(what, b"a") for what in ("put", "begin", "put")] + [("miss put", b"b"), ("compact", b"")])
@example(
    steps=[(what, b"a") for what in ("put", "begin", "compact", "put", "miss end", "begin")]
    + [(what, b"b") for what in ("put", "compact", "store", "kill")]
)
@example(
    steps=[(what, b"a") for what in ("put", "begin", "compact", "put", "miss end", "begin")]
    + [(what, b"b") for what in ("put", "compact in place", "store", "kill", "put", "begin", "store", "kill")]
)
@given(steps=st.lists(st.tuples(_NO_ROOM, _CALLS), min_size=3, max_size=14))
def test_a_kill_at_any_operation_brings_back_no_call_whose_end_is_stored(
    steps: list[Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Some changes have no room."""
    survives_a_kill_at_each_operation(tmp_path_factory.mktemp("journal"), steps)


def test_a_kill_while_calls_are_compacted_in_place_loses_none(tmp_path: Path) -> None:
    """Twice: what is moved there has no room either when the next record has none."""
    calls = {call_id: JournalRecord(call_id, b"1", 1.0) for call_id in (b"a", b"b", b"c")}
    for kill_at in itertools.count():
        place = tmp_path / str(kill_at)
        place.mkdir()
        files = Files(kill_at)
        with contextlib.closing(KilledStore(place)) as store:
            for what, call_id in [("put", each) for each in calls] + [("begin", b""), ("compact", b"")]:
                store.do((what, call_id))
            never_moved = dict(store.answered)
            for call_id in (b"d", b"e"):
                store.do(("miss put", call_id))
                store.do(("begin", b""))
                store.do(("put", b"a"))
                never_moved |= {b"a": store.answered[b"a"]}
                try:
                    with files.counted():
                        store.do(("compact in place", b""))
                except Killed:
                    break
                never_moved |= {call_id: store.answered[call_id]}
            store.restart()
            assert never_moved.items() <= store.answered.items()
        if files.done <= kill_at:
            break
    assert kill_at > 2 * len(calls), "it was killed at each part"
