"""The compiled program in the repository is what its source compiles to."""

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from nh.fastpath.loader import OBJECT, relay_program
from nh.fastpath.object import read_object
from tests.fastpath.btf import Btf

ROOT = Path(__file__).parents[2]

COMPILER = 14
"""Major version of the clang that made the object (Debian 12's); others make other instructions."""


def clang_version() -> int:
    """Major version of the clang that is installed, 0 if none is."""
    if shutil.which("clang") is None or shutil.which("llvm-objcopy") is None:
        return 0
    said = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)", said)
    return int(found[1]) if found else 0


@pytest.mark.skipif(
    clang_version() != COMPILER, reason=f"needs clang {COMPILER}: apt-get install clang llvm libbpf-dev"
)
def test_the_object_is_what_the_source_compiles_to(tmp_path: Path) -> None:
    """Instructions, where they name maps, license and types; not how the file is laid out."""
    rebuilt = tmp_path / OBJECT
    subprocess.run(["make", "bpf", f"BPF_OBJECT={rebuilt}"], cwd=ROOT, check=True, capture_output=True)
    assert read_object(rebuilt.read_bytes()) == relay_program(), "run `make bpf` and commit the object"
    kept, new = (
        Btf(elf) for elf in (files("nh.fastpath").joinpath(OBJECT).read_bytes(), rebuilt.read_bytes())
    )
    for structure in ("flow_key", "flow", "stream", "flow_counters"):
        assert kept.members(structure) == new.members(structure)
