# SPDX-License-Identifier: Apache-2.0
"""How a row of the conformance tables is written. run.py says how each is tried.

A row names its rule, a message type, an input and the message that the document wants from it:

    read("a varint of one byte", Scalars, v(3, 1), "an_int32: 1")           binary -> message
    read("field number 0", Scalars, b"\\0\\1", REFUSED)
    parse("int32 as a string", Scalars, '{"anInt32":"7"}', "an_int32: 7")   JSON -> message
    write("no defaults", Scalars, "an_int32: 7", '{"anInt32":7}')           message -> JSON
    lua("int64 in range", "decode(...).a", 7)                               the strict Lua side

The wanted message is in protobuf's text format; REFUSED stands for an error. Where somebody differs from the document:

    python=...   what python3-protobuf makes of it instead (a message, REFUSED, or ANYTHING)
    mica=...     what Mica makes of it instead
    why="..."    the reason, always with one of the two
"""

import inspect
import struct

REFUSED = "REFUSED"
ANYTHING = "ANYTHING"  # only for python=: something else, whatever it is

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)


class Row:
    def __init__(self, kind, rule, message_type, given, wanted, **more):
        self.kind, self.rule, self.message_type, self.given, self.wanted = kind, rule, message_type, given, wanted
        self.section = more.pop("section")
        self.why = more.pop("why", None)
        self.python = more.pop("python", None)
        self.mica = more.pop("mica", None)
        self.more = more
        if (self.python is not None or self.mica is not None) and not self.why:
            raise ValueError("%s: a row that says who differs says why" % rule)


class Table:
    """The rows of one document's section; the functions below add to it."""

    def __init__(self, document):
        self.document = document
        self.rows = []
        self.current = None
        self.types = {}

    def section(self, title):
        self.current = title

    def add(self, kind, rule, message_type, given, wanted, **more):
        self.rows.append(Row(kind, rule, message_type, given, wanted, section=self.current, **more))

    def read(self, rule, message_type, given, wanted, **more):
        """more: unknown=bytes, what is kept beside the message; wire=bytes, what exactly is written again;
        json=False where JSON cannot say it."""
        self.add("read", rule, message_type, given, wanted, **more)

    def parse(self, rule, message_type, given, wanted, **more):
        """more: lenient=True, unknown fields and enum names are ignored."""
        self.add("parse", rule, message_type, given, wanted, **more)

    def write(self, rule, message_type, given, wanted, **more):
        """more: micro="...", Micro's form of it."""
        self.add("write", rule, message_type, given, wanted, **more)

    def lua(self, rule, script, wanted):
        """The script's value, as text; an error's text, of which `wanted` is the end after "error: "."""
        self.add("lua", rule, None, inspect.cleandoc(script), wanted)


# ---- the binary form, by hand

def varint(value, size=0):
    """`size`: at least so many bytes, longer than needed."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 127 or len(out) + 1 < size:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number, wire_type):
    return varint(number << 3 | wire_type)


def v(number, value, size=0):
    return tag(number, VARINT) + varint(value, size)


def z(number, value):
    """A zigzag varint."""
    return v(number, value << 1 if value >= 0 else -value * 2 - 1)


def f32(number, value, form="<I"):
    return tag(number, FIXED32) + struct.pack(form, value)


def f64(number, value, form="<Q"):
    return tag(number, FIXED64) + struct.pack(form, value)


def b(number, *content):
    """Length-delimited: bytes, texts and messages, one after another."""
    joined = b"".join(c.encode() if isinstance(c, str) else c for c in content)
    return tag(number, LENGTH) + varint(len(joined)) + joined


def group(number, *content):
    return tag(number, GROUP) + b"".join(content) + tag(number, END_GROUP)


def nested(number, depth, innermost=b""):
    """A message in a message in ..., `depth` times."""
    for _ in range(depth):
        innermost = b(number, innermost)
    return innermost
