"""The object is compiled from its source, and the program that nh loads is extracted from the object."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.common.exceptions import ELFError

from nh.fastpath.loader import relay_program
from tests.fastpath.btf import OBJECT, Btf, relay_object
from tools.bpf_program import read_object

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
    subprocess.run(["make", "bpf-object", f"BPF_OBJECT={rebuilt}"], cwd=ROOT, check=True, capture_output=True)
    assert read_object(rebuilt.read_bytes()) == relay_program(), "run `make bpf` and commit what it makes"
    kept, new = Btf(relay_object()), Btf(rebuilt.read_bytes())
    for structure in ("flow_key", "flow", "stream", "flow_counters"):
        assert kept.members(structure) == new.members(structure)


def test_the_program_that_is_loaded_is_extracted_from_the_object() -> None:
    assert relay_program() == read_object(relay_object()), "run `make bpf` and commit what it makes"


def test_a_file_that_is_no_object_is_refused() -> None:
    with pytest.raises(ELFError):
        read_object(b"#!/bin/sh\n")


@pytest.mark.parametrize(("section", "other"), [(b"license", b"licence"), (b"tc\0", b"xx\0")])
def test_an_object_that_lacks_a_section_is_refused(section: bytes, other: bytes) -> None:
    with pytest.raises(ValueError, match=r"it needs the sections tc, license and \.symtab"):
        read_object(relay_object().replace(section, other))
