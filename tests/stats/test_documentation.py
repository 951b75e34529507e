from pathlib import Path

import msgspec

import nh
from nh.results import StreamDetail, StreamQuality
from nh.stats.fields import Total
from nh.stats.layout import GROUP_TABLE, SHARD_TABLE, STATUS_TABLE, SUPERVISOR_TABLE

PAGE = (Path(nh.__file__).parent.parent / "docs" / "reference" / "statistics.md").read_text()
COUNTED, STREAMS = PAGE.split("\n## RTP streams\n")


def test_the_page_has_every_field_as_it_is_in_the_tables() -> None:
    rows = [line for line in COUNTED.splitlines() if line.startswith("| `") and line.count("|") > 3]
    shard = [
        f"| `{f.name}` | {f.kind} | {f.unit} | {f.help} | {'-' if f.total is Total.NONE else f.total} |"
        for f in SHARD_TABLE
    ]
    status = [f"| `{f.name}` | {f.kind} | {f.unit} | {f.help} |" for f in STATUS_TABLE if f.name != "state"]
    supervisor = [f"| `{f.name}` | {f.kind} | {f.unit} | {f.help} |" for f in SUPERVISOR_TABLE]
    groups = [f"| `{f.name}` | {f.kind} | {f.unit} | {f.help} |" for f in GROUP_TABLE]
    assert rows == status + shard + supervisor + groups


def test_the_page_has_every_field_of_a_stream() -> None:
    of_streams, of_intervals = STREAMS.split("\n### Intervals\n")
    for text, described in ((of_streams, StreamDetail), (of_intervals, StreamQuality)):
        rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
        assert rows == [field.name for field in msgspec.structs.fields(described)]
