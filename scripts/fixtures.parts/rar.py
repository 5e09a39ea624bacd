"""Writes RAR archives with stored entries, version 4 and 5, by their published layouts: no free program packs RAR."""
import struct, zlib


def rar4(entries, locked=False, sealed=False):
    """`entries`: name, content, mode and, for links, the target as content. `locked`: entries say they are encrypted; `sealed`: the whole is."""
    def block(kind, flags, body):
        head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head
    out = b"Rar!\x1a\x07\x00" + block(0x73, 0x0080 if sealed else 0, bytes(6))
    for name, content, mode in entries:
        folder = mode & 0o170000 == 0o040000
        flags = 0x8000 | (0x00E0 if folder else 0) | (0x0004 if locked else 0)
        name = name.rstrip("/").replace("/", "\\").encode()
        body = struct.pack("<IIBIIBBHI", len(content), len(content), 3, zlib.crc32(content), 0x585D645C, 20, 0x30, len(name), mode) + name
        out += block(0x74, flags, body) + content
    return out + block(0x7B, 0x4000, b"")


def number(value):
    """An integer of seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def rar5(entries, moment, locked=False, sealed=False):
    def block(kind, body, extra=b"", content=None):
        # Readers want a size of the data even where there is none, as of folders.
        flags = (1 if extra else 0) | (2 if content is not None else 0)
        head = number(kind) + number(flags) + (number(len(extra)) if extra else b"") + (number(len(content)) if content is not None else b"") + body + extra
        head = number(len(head)) + head
        return struct.pack("<I", zlib.crc32(head)) + head + (content or b"")
    record = lambda kind, body: number(len(number(kind) + body)) + number(kind) + body
    out = b"Rar!\x1a\x07\x01\x00"
    if sealed:
        return out + block(4, number(0) + number(0) + b"\x0f" + bytes(16)) + bytes(64)
    out += block(1, number(0))
    for name, content, mode in entries:
        kind = mode & 0o170000
        link = kind == 0o120000
        data = b"" if link else content
        extra = record(5, number(1) + number(0) + number(len(content)) + content) if link else b""
        if locked:
            extra += record(1, number(0) + number(0) + b"\x0f" + bytes(32))
        name = name.rstrip("/").encode()
        flags = 2 | 4 | (1 if kind == 0o040000 else 0)
        body = number(flags) + number(len(data)) + number(mode) + struct.pack("<II", moment, zlib.crc32(data)) + number(0) + number(1) + number(len(name)) + name
        out += block(2, body, extra, data)
    return out + block(5, number(0))
