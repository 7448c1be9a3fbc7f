"""Writes GGUF files, version 3: metadata, and tensors one after the other, so that no model has to fit into memory."""
import array
import os
import struct

F32, F16, Q8_0, BF16 = 0, 1, 8, 30  # ggml's types
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # tokenizer.ggml.token_type
BLOCK, ALIGNMENT = 32, 32


def string(text):
    data = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(data)) + data


def value(item):
    """A value with its type in front."""
    if isinstance(item, bool):
        return struct.pack("<IB", 7, item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + string(item)
    kind = {int: 5, float: 6, str: 8}[type(item[0])] if item else 8
    items = [string(v) if kind == 8 else struct.pack("<i" if kind == 5 else "<f", v) for v in item]
    return struct.pack("<IIQ", 9, kind, len(item)) + b"".join(items)


def q8_0(values):
    """Blocks of 32: a scale as F16, and the values divided by it as bytes."""
    out = bytearray()
    for at in range(0, len(values), BLOCK):
        block = values[at:at + BLOCK]
        scale = max(abs(v) for v in block) / 127
        out += struct.pack("<e", scale) + struct.pack("<32b", *(round(v / scale) if scale else 0 for v in block))
    return bytes(out)


def n_bytes(kind, n):
    return {F32: 4 * n, F16: 2 * n, BF16: 2 * n, Q8_0: n // BLOCK * 34}[kind]


def encode(values, kind):
    """An array of floats as bytes of that type."""
    if kind == Q8_0:
        return q8_0(values)
    if kind == F16:
        return struct.pack(f"<{len(values)}e", *values)
    if kind == BF16:  # to the nearest, ties to even
        words = array.array("I", values.tobytes())
        return array.array("H", ((w + 0x7fff + (w >> 16 & 1)) >> 16 for w in words)).tobytes()
    return values.tobytes()


def write(path, metadata, tensors):
    """`tensors`: (name, shape with the rows first, type, a function that gives its bytes)."""
    infos, offset = b"", 0
    for name, shape, kind, _ in tensors:
        n = 1
        for size in shape:
            n *= size
        infos += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)
        offset += (n_bytes(kind, n) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    head += b"".join(string(key) + value(item) for key, item in metadata.items()) + infos
    part = f"{path}.part"
    try:
        with open(part, "wb") as f:
            f.write(head + bytes(-len(head) % ALIGNMENT))
            for _, _, _, give in tensors:
                data = give()
                f.write(data)
                f.write(bytes(-len(data) % ALIGNMENT))
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)
