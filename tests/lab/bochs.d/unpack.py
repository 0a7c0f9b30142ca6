# SPDX-License-Identifier: GPL-2.0-only
"""An unpacked kernel in the form of a bzImage, for GRUB to load in place.

The file is the original's real-mode part with a changed header, the kernel's
segments as they lie in memory, and entry.S, which is where it starts.
"""

import os
import struct
import subprocess

PAGE = 0x1000
LOADED_HIGH = 0x100000  # what code32_start counts from
PT_LOAD = 1


def segments(elf):
    """(physical address, bytes) of what is to be loaded."""
    offset, = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    for i in range(count):
        kind, _, start, _, physical, length = struct.unpack_from("<IIQQQQ", elf, offset + i * size)
        if kind == PT_LOAD:
            yield physical, elf[start:start + length]


def flat(elf):
    """The kernel's lowest physical address, and its memory from there up to its bss."""
    parts = list(segments(elf))
    base = min(physical for physical, _ in parts)
    memory = bytearray(max(physical + len(data) for physical, data in parts) - base)
    for physical, data in parts:
        memory[physical - base:physical - base + len(data)] = data
    used = len(memory.rstrip(b"\0")) + 16 * PAGE
    del memory[used & -PAGE:]
    return base, memory


def stub(source, target, folder):
    """entry.S as bytes."""
    out = os.path.join(folder, f"entry-{os.getpid()}")
    subprocess.run(
        ["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-Ttext=0,-e,entry,--oformat=binary",
         f"-DTARGET={target:#x}", "-o", out, source],
        check=True,
    )
    with open(out, "rb") as file:
        code = file.read()
    os.unlink(out)
    return code


def image(bzimage, elf, source, folder):
    """The file's bytes. elf starts at its lowest address, which is startup_64."""
    base, memory = flat(elf)
    start, = struct.unpack_from("<Q", elf, 0x18)
    setup = bytearray(bzimage[:((bzimage[0x1F1] or 4) + 1) * 512])
    code = stub(source, start, folder)
    struct.pack_into("<I", setup, 0x1F4, (len(memory) + len(code) + 15) // 16)  # syssize
    struct.pack_into("<I", setup, 0x214, LOADED_HIGH + len(memory))  # code32_start
    struct.pack_into("<IBB", setup, 0x230, 0x200000, 1, 21)  # kernel_alignment, relocatable_kernel, min_alignment
    struct.pack_into("<Q", setup, 0x258, base)  # pref_address
    return bytes(setup) + bytes(memory) + code + bytes(-len(code) % 16)
