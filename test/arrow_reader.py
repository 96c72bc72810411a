"""A small reader of Arrow IPC streams, made from the columnar format's specification and its Schema.fbs and Message.fbs alone, so
that a misunderstanding of ours is not read back as ours. It checks what the specification asks of alignment and bounds."""
import struct

NAMES = {1: "null", 2: "int", 3: "float", 4: "binary", 5: "utf8", 6: "bool", 10: "timestamp", 12: "list"}


class Table:
    """A FlatBuffers table: fields by number."""

    def __init__(self, buffer, at):
        self.buffer, self.at = buffer, at
        assert at % 4 == 0, "a table begins at a multiple of four"
        self.list = at - struct.unpack_from("<i", buffer, at)[0]
        assert self.list % 2 == 0 and 0 <= self.list < len(buffer)

    def place(self, field, align=1):
        if 4 + 2 * field >= struct.unpack_from("<H", self.buffer, self.list)[0]:
            return None
        offset = struct.unpack_from("<H", self.buffer, self.list + 4 + 2 * field)[0]
        assert (self.at + offset) % align == 0, "a field is aligned"
        return self.at + offset if offset else None

    def number(self, field, form, default=0):
        at = self.place(field, struct.calcsize(form))
        return default if at is None else struct.unpack_from("<" + form, self.buffer, at)[0]

    def follow(self, field):
        at = self.place(field, 4)
        return None if at is None else at + struct.unpack_from("<I", self.buffer, at)[0]

    def table(self, field):
        at = self.follow(field)
        return None if at is None else Table(self.buffer, at)

    def text(self, field):
        at = self.follow(field)
        if at is None:
            return None
        size = struct.unpack_from("<I", self.buffer, at)[0]
        assert self.buffer[at + 4 + size] == 0, "a string ends in a zero byte"
        return bytes(self.buffer[at + 4:at + 4 + size]).decode()

    def tables(self, field):
        at = self.follow(field)
        count = 0 if at is None else struct.unpack_from("<I", self.buffer, at)[0]
        places = [at + 4 + 4 * i for i in range(count)]
        return [Table(self.buffer, place + struct.unpack_from("<I", self.buffer, place)[0]) for place in places]

    def pairs(self, field):
        """A vector of structs of two longs."""
        at = self.follow(field)
        count = 0 if at is None else struct.unpack_from("<I", self.buffer, at)[0]
        assert at is None or (at + 4) % 8 == 0, "structs of longs are aligned to eight bytes"
        return [struct.unpack_from("<qq", self.buffer, at + 4 + 16 * i) for i in range(count)]


class Field:
    def __init__(self, table):
        self.name, self.kind = table.text(0), NAMES[table.number(2, "B")]
        assert table.number(1, "?"), "every column may be missing"
        kind = table.table(3)
        self.bits, self.signed = kind.number(0, "i") if self.kind == "int" else 0, kind.number(1, "?") if self.kind == "int" else False
        self.unit, self.zone = (kind.number(0, "h"), kind.text(1)) if self.kind == "timestamp" else (None, None)
        self.precision = kind.number(0, "h") if self.kind == "float" else None
        self.children = [Field(child) for child in table.tables(5)]
        self.metadata = {pair.text(0): pair.text(1) for pair in table.tables(6)}

    def type(self):
        if self.kind == "int":
            return f"{'' if self.signed else 'u'}int{self.bits}"
        if self.kind == "float":
            return {2: "float64"}[self.precision]
        if self.kind == "timestamp":
            return f"timestamp[{'s ms us ns'.split()[self.unit]}, {self.zone}]"
        return f"list<{self.children[0].type()}>" if self.kind == "list" else self.kind


class Batch:
    def __init__(self, header, body):
        self.length, self.body = header.number(0, "q"), body
        self.nodes, self.buffers = header.pairs(1), header.pairs(2)

    def buffer(self):
        offset, length = self.buffers.pop(0)
        assert offset % 8 == 0 and 0 <= length and offset + length <= len(self.body), "a buffer lies aligned inside the body"
        return self.body[offset:offset + length]

    def column(self, field):
        length, nulls = self.nodes.pop(0)
        if field.kind == "null":
            assert nulls == length
            return [None] * length
        validity = self.buffer()
        valid = [not validity or bool(validity[i // 8] >> i % 8 & 1) for i in range(length)]
        assert valid.count(False) == nulls, "the node counts what the bits say"
        if field.kind in ("utf8", "binary", "list"):
            offsets = struct.unpack(f"<{length + 1}i", self.buffer())
            assert offsets[0] == 0 and list(offsets) == sorted(offsets)
            items = self.column(field.children[0]) if field.kind == "list" else self.buffer()
            assert offsets[-1] == len(items)
            values = [items[a:b] for a, b in zip(offsets, offsets[1:])]
            values = [bytes(v).decode() if field.kind == "utf8" else bytes(v) if field.kind == "binary" else v for v in values]
        elif field.kind == "bool":
            bits = self.buffer()
            values = [bool(bits[i // 8] >> i % 8 & 1) for i in range(length)]
        else:
            form = "d" if field.kind == "float" else "q" if field.signed or field.kind == "timestamp" else "Q"
            values = list(struct.unpack(f"<{length}{form}", self.buffer()))
        return [value if there else None for value, there in zip(values, valid)]


def read(data):
    """(fields, rows as tuples, how many batches) of a whole stream."""
    at, fields, rows, batches = 0, None, [], 0
    while True:
        assert at % 8 == 0
        mark, size = struct.unpack_from("<II", data, at)
        assert mark == 0xFFFFFFFF
        at += 8
        if size == 0:
            assert at == len(data), "nothing follows the end"
            return fields, rows, batches
        assert size % 8 == 0
        meta = memoryview(data)[at:at + size]
        message = Table(meta, struct.unpack_from("<I", meta)[0])
        assert message.number(0, "h") == 4, "metadata version V5"
        body_size = message.number(3, "q")
        body = memoryview(data)[at + size:at + size + body_size]
        assert len(body) == body_size and body_size % 8 == 0
        at += size + body_size
        kind, header = message.number(1, "B"), message.table(2)
        if kind == 1:
            assert fields is None and header.number(0, "h") == 0, "one schema, little-endian"
            fields = [Field(table) for table in header.tables(1)]
        else:
            assert kind == 3
            batch = Batch(header, body)
            length = batch.length
            columns = [batch.column(field) for field in fields]
            assert not batch.nodes and not batch.buffers and all(len(c) == length for c in columns)
            rows += zip(*columns)
            batches += 1
