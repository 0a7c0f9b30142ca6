#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""deflated.py FILE: write the C header with the stream that inflate.c works on.

16 KiB of made-up sentences, deflated with dynamic Huffman codes: the same bytes
on every machine with the same zlib, and the same output on all.
"""

import sys
import zlib

SIZE = 16384
WORDS = (
    "page table entry fault guest host kernel trace write the of a that each is when shadow root maps only "
    "translation unit cache branch return call exit monitor loop register flags memory code window switch"
).split()


def text():
    state, out = 1, []
    size = 0
    while size < SIZE:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        word = WORDS[(state >> 33) % len(WORDS)] + (". " if not (state >> 45) % 9 else " ")
        out.append(word)
        size += len(word)
    return "".join(out)[:SIZE].encode()


def main():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(text()) + packer.flush()
    lines = [
        "/* Made by deflated.py. */",
        f"#define DEFLATED_SIZE {SIZE}",
        "static const u8 deflated[] = {",
    ]
    for at in range(0, len(data), 12):
        lines.append("\t" + " ".join(f"0x{byte:02x}," for byte in data[at : at + 12]))
    lines.append("};")
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
