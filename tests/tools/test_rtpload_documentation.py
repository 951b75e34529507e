"""docs/reference/rtpload.md speaks of flags and figures that there are."""

import inspect
import re
from pathlib import Path

from tools.rtpload.cli import main
from tools.rtpload.flags import HELP
from tools.rtpload.options import ControlKind, LoadOptions

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "rtpload.md").read_text()
OTHERS_FLAGS = {"--group", "--ports"}


def test_its_flags_exist() -> None:
    names = {"--" + name.replace("_", "-") for name in inspect.signature(main).parameters}
    names |= {"--no-rtcp", "--phone-address"}
    assert set(re.findall(r"--[a-z][a-z-]*", TEXT)) - OTHERS_FLAGS <= names


def test_it_has_every_control() -> None:
    assert all(f"\n| {control} |" in TEXT for control in ControlKind)


def test_every_option_of_a_load_has_a_flag() -> None:
    assert set(HELP) == set(LoadOptions.__struct_fields__) - {"address"}
    assert set(HELP) <= set(inspect.signature(main).parameters)
