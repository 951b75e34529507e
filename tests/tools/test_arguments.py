"""What programs of tools and benchmarks say of arguments that they cannot use: a sentence, no traceback."""

import runpy
import sys

import pytest


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "words", "why"),
    [
        ("tools.demo", "--calls 501", "argument --calls: '501' is not a whole number from 1 to 500"),
        ("tools.demo", "--shards -1", "argument --shards: '-1' is not a whole number from 0 on"),
        ("tools.demo", "--ports 1-5", "argument --ports: media ports: 1-5 is not within 1024-65535"),
        ("tools.soak", "--ports 5", "argument --ports: media ports: '5' is not MIN-MAX"),
        ("tools.soak", "--calls 0", "argument --calls: '0' is not a whole number from 1 on"),
        ("benchmarks.promotion", "--calls 0", "argument --calls: '0' is not a whole number from 1 on"),
        ("benchmarks.browser_burst", "--calls 0", "argument --calls: '0' is not a whole number from 1 on"),
        ("benchmarks.growth", "--rounds x", "argument --rounds: 'x' is not a whole number from 1 on"),
        ("benchmarks.memory", "--calls 5 -1", "argument --calls: '-1' is not a whole number from 1 on"),
        ("benchmarks.scrape_cost", "--turns 0", "argument --turns: '0' is not a whole number from 1 on"),
        ("benchmarks.userspace_floor", "--streams 1", "argument --streams: '1' is not a whole number from 2"),
    ],
)
def test_an_argument_out_of_range_is_refused(
    name: str, words: str, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.ending.end_in_order", lambda: None)  # this process ends as pytest wants it
    monkeypatch.setattr(sys, "argv", [name, *words.split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"python -m {name}: error: {why}" in said
