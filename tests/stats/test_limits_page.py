"""docs/reference/limits.md has all limits that refuse calls; its counters and log lines are in the code."""

import re
from pathlib import Path

from nh.stats.layout import LIMITS, SHARD_TABLE, STATUS_TABLE, SUPERVISOR_TABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/limits.md").read_text()
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| ")
]
COUNTERS = {field.name for field in (*SHARD_TABLE, *STATUS_TABLE, *SUPERVISOR_TABLE)}
OF_RECORDS = {"events_left_out", "sessions_left_out"}


def columns(name: str) -> list[str]:
    """The cells of the columns with this heading, in all tables of the page."""
    cells: list[str] = []
    at = -1
    for row in ROWS:
        if "limit" in row:
            at = row.index(name) if name in row else -1
        elif at >= 0 and not row[0].startswith("---"):
            cells.append(row[at])
    return cells


def in_code(cells: list[str]) -> set[str]:
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_every_limit_that_refuses_new_calls_is_there_with_its_gauge_and_its_counter() -> None:
    counted = in_code(columns("counted"))
    assert {f"{what}_{name}" for name in LIMITS for what in ("at", "refused")} <= counted


def test_every_counter_is_one() -> None:
    unknown = in_code(columns("counted")) - COUNTERS - OF_RECORDS - {"similar lines suppressed"}
    assert unknown == set()


def test_every_log_line_is_one() -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / "nh").rglob("*.py")))
    plain = re.sub(r'"\n\s*f?"', "", source)  # texts that go on in the next line
    for text in in_code(columns("logged")) - {"nh log debug calls", "nh log debug rpc", "nh why"}:
        assert text in plain, text
