"""What is read from a compiled program, and what is said of files that are none."""

import struct
from importlib.resources import files

import pytest
from elftools.common.exceptions import ELFError

from nh.fastpath.loader import OBJECT, relay_program
from nh.fastpath.object import ObjectProgram, read_object


def test_the_relay_uses_its_two_maps_and_is_free_for_the_kernels_helpers() -> None:
    program = relay_program()
    assert program.name == "nh_relay"
    assert program.map_names == {"flows", "counters"}
    assert program.license == "Dual MIT/GPL"
    assert len(program.instructions) % 8 == 0


def test_descriptors_take_the_place_of_names() -> None:
    load_address = struct.pack("<BBhi", 0x18, 0x01, 0, 0) + bytes(8)
    program = ObjectProgram("f", bytes(8) + load_address, ((8, "flows"),), "GPL")
    assert program.linked({"flows": 77}) == bytes(8) + struct.pack("<BBhi", 0x18, 0x11, 0, 77) + bytes(8)


def test_a_map_without_descriptor_cannot_be_linked() -> None:
    with pytest.raises(KeyError, match="counters"):
        relay_program().linked({"flows": 3})


def test_only_loads_of_addresses_can_name_maps() -> None:
    with pytest.raises(ValueError, match="loads no address"):
        ObjectProgram("f", bytes(8), ((0, "flows"),), "GPL").linked({"flows": 3})


def test_a_file_that_is_no_object_is_refused() -> None:
    with pytest.raises(ELFError):
        read_object(b"#!/bin/sh\n")


@pytest.mark.parametrize(("section", "other"), [(b"license", b"licence"), (b"tc\0", b"xx\0")])
def test_an_object_that_lacks_a_section_is_refused(section: bytes, other: bytes) -> None:
    elf = files("nh.fastpath").joinpath(OBJECT).read_bytes()
    with pytest.raises(ValueError, match=r"it needs the sections tc, license and \.symtab"):
        read_object(elf.replace(section, other))
