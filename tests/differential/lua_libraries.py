"""Compares what scripts get from cjson, cmsgpack, struct and bit: random calls, the same script to both servers.

A script makes its arguments itself, calls one function in protected mode, and answers all results as one text in which a
number has all its digits and a string its bytes. So an error's text is compared as well as a value.

Lua walks a table in an order that depends on how strings are hashed, which is not the same in all servers. Therefore
answers also count as alike that have the same bytes in another order, and refusals of a table with several things that
cannot be written, of which the first is named.

    python3 tests/differential/lua_libraries.py --ours PATH --peer PATH [--scripts N] [--seed S]
"""

import argparse
import random
import sys

from servers import side_by_side

BATCH = 50
# Servers keep every script.
FLUSH_AFTER = 5000
SHOWN_MAX = 20

# `R(...)` is all of its arguments as one text; tables by their sorted elements.
PRELUDE = " ".join(
    r"""
    local S S = function(v, d)
      d = d or 0
      local t = type(v)
      if t == 'number' then return string.format('%.17g', v) end
      if t == 'string' then
        return '"' .. v:gsub('[^%w _]', function(c) return string.format('\\%03d', c:byte()) end) .. '"'
      end
      if t == 'userdata' then return v == cjson.null and 'NULL' or 'userdata' end
      if t ~= 'table' then return tostring(v) end
      if d > 40 then return '{deep}' end
      local o = {}
      for k, e in pairs(v) do o[#o + 1] = S(k, d + 1) .. '=' .. S(e, d + 1) end
      table.sort(o)
      return '{' .. table.concat(o, ',') .. '}'
    end
    local function R(...)
      local o = {}
      for i = 1, select('#', ...) do o[i] = S((select(i, ...))) end
      return table.concat(o, ' | ')
    end
    """.split()
).encode()

NUMBERS = """
    0 -0 1 -1 2 3 7 10 127 128 255 256 -32 -33 -128 -129 32767 32768 -32768 -32769 65535 65536 2147483647 2147483648
    -2147483648 -2147483649 4294967295 4294967296 9007199254740993 9223372036854775807 9223372036854775808
    -9223372036854775808 18446744073709551615 18446744073709551616 1e19 -1e19 1e300 -1e300 1e-300 0.5 0.1 1/3 -2.5 1.5
    3.25 99999999999999 100000000000000 123456789012345 1e15 1e-5 0.0001 12345.678901234567 1/0 -1/0 0/0 5e-324
""".split()
INDICES = "1 2 3 4 5 6 10 11 12 25 0 -1 1.5 2147483648 1e18 1e300".split()
JSON_NUMBERS = """
    0 -0 1 12 -5 1.5 1e5 1E-5 0x1F 0x1p3 -0x.8 0x1p99999 0x1p-99999 inf -inf Infinity nan -nan NaN(1) +1 01 1. .5 1e - 0x
    1e400 1e-400 12345678901234567890 123456789012345 1234567890123456 0.1 3.14159265358979 nul tru in nanx
""".split()
JSON_PIECES = (
    b"a", b"key", b" ", b"\\n", b"\\/", b'\\"', b"\\\\", b"\\u0041", b"\\u00e9", b"\\u20AC", b"\\ud83d\\ude00", b"\\ud800",
    b"\\udc00", b"\\u12", b"\\x", b"\xc3\xa9", b"\t", b"\\u0000", b"\\b\\f\\r\\t",
)  # fmt: skip
JSON_BYTES = b'{}[],:"\\0123456789.eE+-xXntfiINu \x00'
FORMAT_LETTERS = "< > b B h H l L i i2 I3 i8 f d s x c2 !4".split() + [" "]
FORMAT_ODDITIES = "! !0 !1 !3 !8 !16 !1024 T I i0 i9 i16 i32 i33 I7 c c0 c1 c5 c100 z k @ Bc0 Hc0 dc0 c2147483647 i99999999999".split()
BIT_FUNCTIONS = "tobit tohex bnot band bor bxor lshift rshift arshift rol ror bswap".split()


class Maker:
    """Scripts, from a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, share):
        return self.random.random() < share

    def one(self, choices):
        return self.random.choice(choices)

    def some(self, most):
        return range(self.random.randint(0, most))

    # Values of Lua, as source text.

    def number(self):
        kind = self.random.random()
        if kind < 0.5:
            return self.one(NUMBERS)
        if kind < 0.7:
            bits = self.random.randint(1, 64)
            return str(self.random.randint(-(2**bits), 2**bits))
        if kind < 0.85:
            return repr(self.random.uniform(-1, 1) * 10 ** self.random.randint(-20, 20))
        return repr(self.random.randint(-(10**6), 10**6) / self.one([1, 10, 100, 1000, 3, 7]))

    def bytes(self, most):
        alphabet = self.one([b"abcXYZ019 _", b'ab"\\/\b\f\n\r\t\x00\x1f\x7f\x80\xff\xc3\xa9u', bytes(range(256))])
        return bytes(self.one(alphabet) for _ in self.some(most))

    def string(self, most=12):
        return quoted(self.bytes(most))

    def value(self, depth=0):
        kind = self.random.random()
        if kind < 0.3:
            return self.number()
        if kind < 0.55:
            return self.string(self.one([4, 12, 40, 300]))
        if kind < 0.62:
            return self.one(["true", "false"])
        if kind < 0.68:
            return self.one(["nil", "cjson.null"])
        if kind < 0.70:
            return self.one(["tostring", "coroutine.create(function() end)"])
        return "1" if depth > 5 else self.table(depth + 1)

    def table(self, depth):
        kind = self.random.random()
        if kind < 0.35:
            return "{" + ",".join(self.value(depth) for _ in range(self.one([0, 1, 2, 3, 5, 17]))) + "}"
        if kind < 0.7:
            keys = [self.string() for _ in self.some(6)]
        elif kind < 0.92:
            keys = [self.one(INDICES) for _ in self.some(6)]
        else:
            keys = [self.one(["true", "1", self.string()]) for _ in self.some(4)]
        return "{" + ",".join(f"[{key}]={self.value(depth)}" for key in keys) + "}"

    # Inputs of decoders, as bytes.

    def json_string(self):
        pieces = (self.one(JSON_PIECES) if self.chance(0.3) else self.one([b"a", b"xyz", b"key", b" "]) for _ in self.some(8))
        return b'"' + b"".join(pieces) + b'"'

    def json(self, depth=0):
        blank = self.one([b"", b"", b"", b" ", b"\n\t"])
        kind = self.random.random()
        if kind < 0.3 or depth > 6:
            return blank + (self.one(JSON_NUMBERS) if self.chance(0.4) else self.number()).encode()
        if kind < 0.5:
            return blank + self.json_string() + blank
        if kind < 0.6:
            return self.one([b"true", b"false", b"null"])
        if kind < 0.8:
            return b"[" + blank + b",".join(self.json(depth + 1) for _ in self.some(4)) + blank + b"]"
        fields = (blank + self.json_string() + blank + b":" + self.json(depth + 1) for _ in self.some(4))
        return b"{" + b",".join(fields) + blank + b"}"

    def spoilt(self, text):
        text = bytearray(text)
        for _ in self.some(3):
            if text:
                at = self.random.randrange(len(text))
                new = [self.random.randrange(256)] if self.chance(0.5) else [self.one(JSON_BYTES)]
                text[at : at + self.random.randint(0, 1)] = new if self.chance(0.7) else []
        return bytes(text)

    def messagepack(self, depth=0):
        kind = self.random.random()
        if kind < 0.15:
            return bytes([self.random.randrange(256)])
        if kind < 0.4:
            head, size = self.one([(0xCA, 4), (0xCB, 8), (0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8), (0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)])
            return bytes([head]) + bytes(self.one([0, 127, 128, 255, self.random.randrange(256)]) for _ in range(size))
        if kind < 0.55:
            text = self.bytes(20)
            claimed = len(text) if self.chance(0.9) else self.one([0, 31, 255, 65535, 2**32 - 1])
            return self.counted(claimed, (0xA0, 31), (0xD9, 1), (0xDA, 2), (0xDB, 4)) + text
        if depth > 4:
            return b"\xc0"
        count = self.random.randint(0, 4)
        claimed = count if self.chance(0.93) else self.one([5, 15, 65535, 2**32 - 1])
        if self.chance(0.5):
            return self.counted(claimed, (0x90, 15), (0xDC, 2), (0xDD, 4)) + b"".join(self.messagepack(depth + 1) for _ in range(count))
        return self.counted(claimed, (0x80, 15), (0xDE, 2), (0xDF, 4)) + b"".join(self.messagepack(depth + 1) for _ in range(2 * count))

    def counted(self, count, short, *long):
        """The head of something with a length, in one of its forms."""
        form = self.one((short, *long))
        if form == short:
            return bytes([short[0] | count & short[1]])
        return bytes([form[0]]) + (count % 256 ** form[1]).to_bytes(form[1], "big")

    def format(self):
        return "".join(self.one(FORMAT_ODDITIES if self.chance(0.2) else FORMAT_LETTERS) for _ in self.some(7))

    # Scripts.

    def script(self):
        make = self.one([self.encode, self.decode, self.pack, self.unpack, self.struct_pack, self.struct_unpack, self.struct_size, self.bit])
        return PRELUDE + b" " + make().encode("latin-1")

    def encode(self):
        setting = self.one([
            "", "", f"cjson.encode_sparse_array(true, {self.random.randint(1, 4)}, {self.random.randint(0, 12)})",
            f"cjson.encode_invalid_numbers({self.one(['true', 'false', repr('null')])})",
            f"cjson.encode_number_precision({self.random.randint(1, 14)})", f"cjson.encode_max_depth({self.random.randint(1, 4)})",
        ])  # fmt: skip
        return f"local cjson = cjson.new() {setting} return R(pcall(cjson.encode, {self.value()}))"

    def decode(self):
        setting = self.one(["", "", "cjson.decode_invalid_numbers(false)", f"cjson.decode_max_depth({self.random.randint(1, 3)})"])
        text = self.json()
        text = quoted(self.spoilt(text) if self.chance(0.4) else text)
        return f"local cjson = cjson.new() {setting} return R(pcall(cjson.decode, {text}))"

    def pack(self):
        values = ", ".join(self.value() for _ in range(self.random.randint(1, 3)))
        return f"local _, packed = pcall(cmsgpack.pack, {values}) return R(packed, pcall(cmsgpack.unpack, packed))"

    def unpack(self):
        text = quoted(b"".join(self.messagepack() for _ in self.some(3)))
        limit, offset = self.random.randint(-1, 4), self.random.randint(-2, 9)
        call = self.one([f"unpack, {text}", f"unpack_one, {text}", f"unpack_one, {text}, {offset}", f"unpack_limit, {text}, {limit}, {offset}"])
        return f"return R(pcall(cmsgpack.{call}))"

    def struct_pack(self):
        values = "".join(", " + (self.number() if self.chance(0.7) else self.string()) for _ in self.some(8))
        return f"return R(pcall(struct.pack, '{self.format()}'{values}))"

    def struct_unpack(self):
        data = self.bytes(60) if self.chance(0.5) else bytes(self.one([0, 1, 2, 255]) for _ in range(40))
        offset = self.one(["", "", f", {self.random.randint(-1, 20)}"])
        return f"return R(pcall(struct.unpack, '{self.format()}', {quoted(data)}{offset}))"

    def struct_size(self):
        return f"return R(pcall(struct.size, '{self.format()}'))"

    def bit(self):
        values = (self.number() if self.chance(0.9) else self.one(["nil", "'12'", "'x'", "{}", "true"]) for _ in self.some(3))
        return f"return R(pcall(bit.{self.one(BIT_FUNCTIONS)}{''.join(', ' + value for value in values)}))"


def quoted(data):
    """Bytes as a string of Lua."""
    return '"' + "".join(chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\{byte:03d}" for byte in data) + '"'


def are_alike(a, b):
    if a == b or sorted(a) == sorted(b):
        return True
    refused = b'false | "Cannot serialise'
    return a.startswith(refused) and b.startswith(refused)


def compare(ours, theirs, options):
    maker, found = Maker(options.seed), 0
    for done in range(0, options.scripts, BATCH):
        scripts = [maker.script() for _ in range(BATCH)]
        own, other = (server.connection(2).exchange([[b"EVAL", script, b"0"] for script in scripts]) for server in (ours, theirs))
        for script, a, b in zip(scripts, own, other):
            if not are_alike(a, b):
                found += 1
                if found <= SHOWN_MAX:
                    print(f"--- difference {found}: {script[len(PRELUDE) + 1:].decode('latin-1')}\n  ours    {a}\n  {theirs.kind:7} {b}")
        if done % FLUSH_AFTER == 0:
            for server in (ours, theirs):
                server.call(b"SCRIPT", b"FLUSH")
    print(f"libraries of scripts: {options.scripts} calls compared with {theirs.name}, {found} differ (seed {options.seed})")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the server to check")
    parser.add_argument("--peer", required=True, help="the server to compare with")
    parser.add_argument("--scripts", type=int, default=20_000, help="how many calls (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with side_by_side(options.ours, options.peer) as servers:
        found = compare(*servers, options)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
