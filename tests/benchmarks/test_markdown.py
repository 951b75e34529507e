"""Tables for the document."""

from pathlib import Path

import pytest

from benchmarks.markdown import BEGIN, END, NoMarkers, put_between_markers, write_markdown
from benchmarks.results import Skipped
from tests.benchmarks.results_of import a_run, a_set_up


def test_nh_is_absolute_and_the_others_are_multiples() -> None:
    text = write_markdown(a_run({"nh": [5.0, 6.0, 4.0], "rtpengine": [10.0, 18.0, 8.0]}))
    assert "| nh | **5 µs** (4 to 6) |" in text
    assert "| rtpengine | x 2 (2 to 3) |" in text
    assert "500 calls, 30,000/s" in text


def test_who_was_skipped_is_named_with_the_reason() -> None:
    results = a_run({"nh": [5.0]})
    results.skipped.append(Skipped("rtpengine", 0, "it is not installed"))
    results.skipped.append(Skipped("nathelper", 10_000, "too many sockets"))
    text = write_markdown(results)
    assert "- rtpengine: it is not installed." in text
    assert "- nathelper from 10,000 calls on: too many sockets." in text


def test_tables_replace_what_was_between_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_between_markers(document, "new")
    assert document.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("nothing here")
    with pytest.raises(NoMarkers, match="has no"):
        put_between_markers(document, "new")
    assert document.read_text() == "nothing here"


def test_set_up_over_ng_has_the_rate_of_each_relay_and_the_cpu_of_its_processes() -> None:
    results = a_run({"nh": [5.0]})
    results.set_ups = a_set_up()
    text = write_markdown(results)
    assert "| nh, calls/s | 100 (100 to 200) |" in text
    assert "| CPU of a call, supervisor, ms | 1 (0.5 to 1) |" in text
    assert "| rtpengine, calls/s | 200 (200 to 200) |" in text
    assert "| nh / rtpengine, calls/s | 0.5 (0.5 to 1) |" in text
    assert "| nh / rtpengine, CPU of a call | 6 (5 to 6) |" in text
