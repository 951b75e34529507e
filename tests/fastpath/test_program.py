"""What the loader knows of the compiled program, and how map descriptors get into it."""

import struct

import msgspec
import pytest

from nh.fastpath.loader import relay_program
from nh.fastpath.program import BpfProgram, decode_program, encode_program


def test_the_relay_uses_its_two_maps_and_is_free_for_the_kernels_helpers() -> None:
    program = relay_program()
    assert program.name == "nh_relay"
    assert {name for _, name in program.map_uses} == {"flows", "counters"}
    assert program.license == "Dual MIT/GPL"
    assert len(program.instructions) % 8 == 0


def test_descriptors_take_the_place_of_names() -> None:
    load_address = struct.pack("<BBhi", 0x18, 0x01, 0, 0) + bytes(8)
    program = BpfProgram("f", "GPL", ((8, "flows"),), bytes(8) + load_address)
    assert program.linked({"flows": 77}) == bytes(8) + struct.pack("<BBhi", 0x18, 0x11, 0, 77) + bytes(8)


def test_a_map_without_descriptor_cannot_be_linked() -> None:
    with pytest.raises(KeyError, match="counters"):
        relay_program().linked({"flows": 3})


def test_only_loads_of_addresses_can_name_maps() -> None:
    with pytest.raises(ValueError, match="loads no address"):
        BpfProgram("f", "GPL", ((0, "flows"),), bytes(8)).linked({"flows": 3})


def test_a_program_is_read_as_it_was_written() -> None:
    assert decode_program(encode_program(relay_program())) == relay_program()


def test_a_file_that_is_no_program_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_program(b"{}")
