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
        ("tools.demo", "--seconds nan", "argument --seconds: 'nan' is not a number from 0.1 to 600"),
        ("tools.demo", "--seconds 0", "argument --seconds: '0' is not a number from 0.1 to 600"),
        ("tools.soak", "--minutes inf", "argument --minutes: 'inf' is not a number from 0.1 to 10000"),
        ("tools.soak", "--pause-s -1", "argument --pause-s: '-1' is not a number from 0 to 3600"),
        ("tools.systemd.trial", "--calls 0", "argument --calls: '0' is not a whole number from 1 on"),
        ("tools.man_pages", "/proc/pages", "argument DIRECTORY: '/proc/pages' cannot be made: No such file"),
        (
            "tools.packaging.deb",
            "/etc/passwd",
            "argument DIRECTORY: '/etc/passwd' is a file, not a directory",
        ),
        ("tools.bpf_program", "/no/such.o", "/no/such.o: No such file or directory"),
        ("tools.bpf_program", "/etc/passwd", "/etc/passwd: Magic number does not match"),
        ("benchmarks", "--calls 5,0", "argument --calls: '0' is not a whole number from 1 to 100000"),
        ("benchmarks", "--calls 5,nan", "argument --calls: 'nan' is not a whole number from 1 to 100000"),
        ("benchmarks", "--rounds 0", "argument --rounds: '0' is not a whole number from 1 on"),
        ("benchmarks", "--seconds inf", "argument --seconds: 'inf' is not a number from 0.1 to 3600"),
        ("benchmarks", "--rate nan", "argument --rate: 'nan' is not a number from 1 to 10000000"),
        ("benchmarks", "--level 500", "argument --level: '500' is no list of CALLS@PACKETS_PER_S"),
        ("benchmarks", "--level 5@-1", "argument --level: '-1' is not a number from 1 to 10000000"),
        (
            "benchmarks",
            "--calls , --real-calls , --level ,",
            "--calls, --real-calls and --level are all empty",
        ),
        ("benchmarks.scrape_cost", "--seconds 0", "argument --seconds: '0' is not a number from 0.1 to 3600"),
        (
            "benchmarks.userspace_floor",
            "--coalesce-s nan",
            "argument --coalesce-s: 'nan' is not a number from 0 to 0.02",
        ),
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
