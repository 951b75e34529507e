"""docs/how-to/from-*.md: each option of the other relays has a row, and nh takes the lines for it."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from nh.cli.main import app
from nh.config import Settings
from nh.config.sources import load_settings

PAGES = {
    name: (Path(__file__).parents[1] / "docs" / "how-to" / f"from-{name}.md").read_text(encoding="utf-8")
    for name in ("rtpengine", "nathelper")
}
RTPENGINE = PAGES["rtpengine"]
NAMES = set(re.findall(r"`([a-z0-9-]+)`", RTPENGINE))


def rows(page: str) -> list[list[str]]:
    """The cells of the page's tables."""
    lines = [line for line in page.splitlines() if line.startswith("|") and not line.startswith("| --- ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.skipif(shutil.which("rtpengine") is None, reason="needs Debian's rtpengine-daemon")
def test_every_option_of_rtpengine_is_on_its_page() -> None:
    shown = subprocess.run(["rtpengine", "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"^ .*--([a-z0-9-]+)", shown, re.MULTILINE))
    assert len(options) > 100
    assert options - NAMES == set()
    new = set(re.findall(r"`([a-z0-9-]+)` \(new\)", RTPENGINE))
    assert new & options == set()


def test_an_option_is_in_one_table_only() -> None:
    tables = RTPENGINE[RTPENGINE.index("## Options") : RTPENGINE.index("## rtpengine-ctl")]
    listed = [name for row in rows(tables) for name in re.findall(r"`([a-z0-9-]+)`", row[0])]
    assert sorted(listed) == sorted(set(listed))


def test_the_settings_that_the_page_names_exist() -> None:
    tables = RTPENGINE[RTPENGINE.index("## Options") : RTPENGINE.index("### What nh does not do")]
    named = {name for row in rows(tables) if len(row) > 1 for name in re.findall(r"`([a-z_]+)`", row[1])}
    assert len(named) > 20
    assert named <= set(Settings.__struct_fields__)


@pytest.mark.skipif(shutil.which("rtpengine") is None, reason="needs Debian's rtpengine-daemon")
def test_the_file_says_what_the_comments_beside_its_lines_say(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", RTPENGINE, re.DOTALL)
    file = tmp_path / "nh.toml"
    file.write_text(re.sub(r"^ +", "", text, flags=re.MULTILINE))
    assert set(tomllib.loads(file.read_text())) <= set(Settings.__struct_fields__)
    settings = load_settings(environment={}, file=file)
    shown = subprocess.run(["rtpengine", "--help"], capture_output=True, text=True, check=True).stdout
    for name in ("timeout", "silent-timeout", "offer-timeout", "tos", "port-min", "listen-ng", "listen-http"):
        assert f"--{name}=" in shown
        assert name in text
    assert (settings.silent_s, settings.hold_s, settings.unused_s, settings.dscp) == (
        60,
        3600,
        3600,
        184 // 4,
    )


def commands(page: str) -> list[str]:
    """What the page says to type."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    typed = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in typed if line.startswith("nh ")] + re.findall(r"`(nh [a-z][^`]*)`", page)


@pytest.mark.parametrize("line", sorted({line for page in PAGES.values() for line in commands(page)}))
def test_nh_takes_the_command_lines_of_the_pages(line: str) -> None:
    _, name, *words = shlex.split(line.partition("|")[0])
    group: Any = get_command(app)
    if name.startswith("-"):
        return
    command = group.commands[name]
    if not set(words) & {"--help"}:
        assert command.make_context(name, words).params
