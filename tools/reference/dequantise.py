#!/usr/bin/env python3
"""Writes tests/data/expected/blocks.json: blocks of every quantised type with made-up bytes, and the values that they
stand for, worked out here from the published layouts, element by element, with exact fractions (Python's standard
library only; independent of plugins/num/weights.c).

    python3 tools/reference/dequantise.py tests/data/expected/blocks.json
"""
import json
import struct
import sys
from fractions import Fraction


def half(data, at):
    return Fraction(struct.unpack_from("<e", data, at)[0])


def signed(byte):
    return byte - 256 if byte > 127 else byte


def q4_0(b, i):
    byte = b[2 + i % 16]
    return half(b, 0) * ((byte & 15 if i < 16 else byte >> 4) - 8)


def q4_1(b, i):
    byte = b[4 + i % 16]
    return half(b, 0) * (byte & 15 if i < 16 else byte >> 4) + half(b, 2)


def high_bit(b, at, i):
    return int.from_bytes(b[at:at + 4], "little") >> i & 1


def q5_0(b, i):
    byte = b[6 + i % 16]
    return half(b, 0) * ((byte & 15 if i < 16 else byte >> 4) + 16 * high_bit(b, 2, i) - 16)


def q5_1(b, i):
    byte = b[8 + i % 16]
    return half(b, 0) * ((byte & 15 if i < 16 else byte >> 4) + 16 * high_bit(b, 4, i)) + half(b, 2)


def q8_0(b, i):
    return half(b, 0) * signed(b[2 + i])


def scale_and_min(scales, part):
    """Twelve bytes hold eight pairs of 6-bit numbers."""
    if part < 4:
        return scales[part] % 64, scales[part + 4] % 64
    low = scales[part + 4]
    return low % 16 + 16 * (scales[part - 4] // 64), low // 16 + 16 * (scales[part] // 64)


def q4_k(b, i):
    part, scales = i // 32, b[4:16]
    byte = b[16 + 32 * (part // 2) + i % 32]
    scale, minimum = scale_and_min(scales, part)
    return half(b, 0) * scale * (byte // 16 if part % 2 else byte % 16) - half(b, 2) * minimum


def q5_k(b, i):
    part, scales = i // 32, b[4:16]
    byte = b[48 + 32 * (part // 2) + i % 32]
    q = (byte // 16 if part % 2 else byte % 16) + 16 * (b[16 + i % 32] >> part & 1)
    scale, minimum = scale_and_min(scales, part)
    return half(b, 0) * scale * q - half(b, 2) * minimum


def q6_k(b, i):
    in_half, rest = divmod(i, 128)
    row, column = divmod(rest, 32)
    low = b[64 * in_half + column + (32 if row in (1, 3) else 0)]
    low = low % 16 if row < 2 else low // 16
    high = b[128 + 32 * in_half + column] // 4**row % 4
    return half(b, 208) * signed(b[192 + i // 16]) * (low + 16 * high - 32)


# name: (elements, bytes, value of element i, where the halves are)
TYPES = {
    "Q4_0": (32, 18, q4_0, [0]), "Q4_1": (32, 20, q4_1, [0, 2]),
    "Q5_0": (32, 22, q5_0, [0]), "Q5_1": (32, 24, q5_1, [0, 2]),
    "Q8_0": (32, 34, q8_0, [0]), "Q4_K": (256, 144, q4_k, [0, 2]),
    "Q5_K": (256, 176, q5_k, [0, 2]), "Q6_K": (256, 210, q6_k, [208]),
}
HALVES = [0.0123, -0.871, 6e-6, 31.5]  # the third is subnormal


def block(n_bytes, halves, seed):
    state, data = seed, bytearray()
    for _ in range(n_bytes):
        state = (state * 1103515245 + 12345) % 2**31
        data.append(state >> 16 & 255)
    for k, at in enumerate(halves):
        struct.pack_into("<e", data, at, HALVES[(seed + k) % len(HALVES)])
    return bytes(data)


def main():
    out = {}
    for name, (n, n_bytes, value, halves) in TYPES.items():
        blocks = [block(n_bytes, halves, seed) for seed in range(1, 5)]
        # Rounding once to the nearest float, through the nearest double, which is exact here.
        values = [float(value(b, i)) for b in blocks for i in range(n)]
        assert all(Fraction(v) == value(blocks[k // n], k % n) for k, v in enumerate(values))
        floats = struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values))
        out[name] = {"blocks": b"".join(blocks).hex(), "values": struct.pack(f"<{len(floats)}f", *floats).hex()}
    with open(sys.argv[1], "w", encoding="ascii") as f:
        json.dump(out, f, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main()
