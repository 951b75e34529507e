"""tools.man_pages: a page for each command, with each of its options, that groff reads without a warning."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from nh.cli.main import app, notes_on
from tools.man_pages import pages
from tools.rtpload.cli import app as load_app

PAGES = dict(pages())
GROUP: Any = get_command(app)
COMMANDS = {name: GROUP.commands[name] for name in GROUP.commands} | {"load": get_command(load_app)}


def test_there_is_a_page_for_nh_and_for_each_command() -> None:
    assert set(PAGES) == {"nh.1", *(f"nh-{name}.1" for name in GROUP.commands)}


@pytest.mark.parametrize("name", list(GROUP.commands))
def test_a_page_has_every_option_and_argument(name: str) -> None:
    command: Any = COMMANDS[name]
    text = PAGES[f"nh-{name}.1"].replace(r"\-", "-")
    for parameter in command.get_params(command.make_context(name, [], resilient_parsing=True)):
        if not getattr(parameter, "hidden", False):
            label = (
                parameter.opts[0]
                if parameter.param_type_name == "option"
                else (parameter.metavar or parameter.name).strip("[]")
            )
            assert label in text
    assert "SH EXAMPLES" in text
    assert " ".join(notes_on(name).split()) in text


@pytest.mark.parametrize(
    ("name", "words"),
    [("close", r"\fICALL\-ID\fR ..."), ("calls", r"[\fICALL\-ID\fR]"), ("shards", r"\fIN\fR")],
)
def test_a_synopsis_has_brackets_around_what_may_be_left_out(name: str, words: str) -> None:
    assert rf"[\fIOPTIONS\fR] {words}" in PAGES[f"nh-{name}.1"].splitlines()


def test_a_page_calls_values_as_the_help_does() -> None:
    page = PAGES["nh-load.1"]
    for words in (r"control\fR \fInetsip|native|ng|direct\fR", r"calls\fR \fIN\fR", r"json\fR \fIFILE\fR"):
        assert rf"\fB\-\-{words}" in page
    assert r"\fIVALUE\fR" not in "".join(PAGES.values())


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="needs mandoc: apt-get install mandoc")
def test_mandoc_has_nothing_to_warn_of(tmp_path: Path) -> None:
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "warning", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_build_of_a_package_says_which_day_the_pages_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    for text in dict(pages()).values():
        assert text.splitlines()[0].split()[3] == '"1970-01-02"'


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff: apt-get install groff")
@pytest.mark.parametrize("name", PAGES)
def test_groff_has_nothing_to_warn_of(name: str, tmp_path: Path) -> None:
    page = tmp_path / name
    page.write_text(PAGES[name])
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
