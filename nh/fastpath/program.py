"""The compiled program as nh loads it: instructions, where they name maps, and the license.

`make bpf` extracts it from the compiler's ELF object into a small JSON file, because reading ELF costs each
start of nh 0.1 s and a library. A test compares the two. The module knows nothing of bpf(2).
"""

import struct
from typing import Final

import msgspec

_LOAD_IMMEDIATE: Final = 0x18
_PSEUDO_MAP_FD: Final = 1


class BpfProgram(msgspec.Struct, frozen=True):
    """A program as the compiler made it.

    Attributes:
        name: of its function.
        license: such as GPL; decides which helpers the kernel lets it call.
        map_uses: (byte offset of an instruction that loads the address of a map, name of the map).
        instructions: 8 bytes each; base64 in JSON.
    """

    name: str
    license: str
    map_uses: tuple[tuple[int, str], ...]
    instructions: bytes

    def linked(self, map_fds: dict[str, int]) -> bytes:
        """The instructions with descriptors in place of names.

        Raises:
            KeyError: a map has no descriptor.
            ValueError: an instruction that names a map does not load an address.
        """
        code = bytearray(self.instructions)
        for at, name in self.map_uses:
            opcode, registers = code[at], code[at + 1]
            code[at + 1] = registers & 0x0F | _PSEUDO_MAP_FD << 4
            if opcode != _LOAD_IMMEDIATE:
                raise ValueError(f"{self.name}: instruction at byte {at} uses {name} but loads no address")
            struct.pack_into("<i", code, at + 4, map_fds[name])
        return bytes(code)


def encode_program(program: BpfProgram) -> bytes:
    """The program as JSON, one field a line."""
    return msgspec.json.format(msgspec.json.encode(program), indent=1) + b"\n"


def decode_program(data: bytes) -> BpfProgram:
    """The program that encode_program() made `data` of. Raises msgspec.DecodeError if it is none."""
    return msgspec.json.decode(data, type=BpfProgram)
