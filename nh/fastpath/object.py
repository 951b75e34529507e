"""Reads a compiled BPF program from its ELF object: instructions, where they name maps, and the license.

Knows nothing of bpf(2): what the maps are is the loader's to say.
"""

import io
import struct
from typing import Final, NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

_SECTION: Final = "tc"
_LOAD_IMMEDIATE: Final = 0x18
_PSEUDO_MAP_FD: Final = 1
_R_BPF_64_64: Final = 1


class ObjectProgram(NamedTuple):
    """A program as the compiler left it.

    Members:
        name: of its function.
        instructions: 8 bytes each.
        map_uses: (byte offset of an instruction that loads a map's address, name of the map).
        license: such as GPL.
    """

    name: str
    instructions: bytes
    map_uses: tuple[tuple[int, str], ...]
    license: str

    @property
    def map_names(self) -> frozenset[str]:
        """The maps that it needs."""
        return frozenset(name for _, name in self.map_uses)

    def linked(self, map_fds: dict[str, int]) -> bytes:
        """The instructions with descriptors in place of names. Raises KeyError for a map that has none."""
        code = bytearray(self.instructions)
        for at, name in self.map_uses:
            opcode, registers = code[at], code[at + 1]
            code[at + 1] = registers & 0x0F | _PSEUDO_MAP_FD << 4
            if opcode != _LOAD_IMMEDIATE:
                raise ValueError(f"{self.name}: instruction at byte {at} uses {name} but loads no address")
            struct.pack_into("<i", code, at + 4, map_fds[name])
        return bytes(code)


def read_object(elf: bytes) -> ObjectProgram:
    """The one program of an object's `tc` section.

    Raises ValueError (with what is missing) or elftools' ELFError if it is not such an object.
    """
    file = ELFFile(io.BytesIO(elf))
    code = file.get_section_by_name(_SECTION)
    terms = file.get_section_by_name("license")
    symbols = file.get_section_by_name(".symtab")
    if code is None or terms is None or not isinstance(symbols, SymbolTableSection):
        raise ValueError(f"not a BPF object: it needs the sections {_SECTION}, license and .symtab")
    names = [
        symbol.name
        for symbol in symbols.iter_symbols()
        if symbol["st_info"]["type"] == "STT_FUNC" and file.get_section(symbol["st_shndx"]).name == _SECTION
    ]
    if len(names) != 1:
        raise ValueError(f"the section {_SECTION} has {len(names)} functions, not one")
    relocations = file.get_section_by_name(f".rel{_SECTION}")
    uses = _map_uses(relocations, symbols) if isinstance(relocations, RelocationSection) else ()
    return ObjectProgram(names[0], code.data(), uses, terms.data().rstrip(b"\0").decode())


def _map_uses(relocations: RelocationSection, symbols: SymbolTableSection) -> tuple[tuple[int, str], ...]:
    uses = []
    for relocation in relocations.iter_relocations():
        if relocation["r_info_type"] != _R_BPF_64_64:
            raise ValueError(f"relocation type {relocation['r_info_type']} at {relocation['r_offset']:#x}")
        uses.append((relocation["r_offset"], symbols.get_symbol(relocation["r_info_sym"]).name))
    return tuple(uses)
