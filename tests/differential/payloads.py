"""Compares what DUMP and RESTORE do, and snapshot files: values of every type and encoding are made in one server, carried to
the other, one by one and in a file, and read there in full, both ways; and payloads that were spoilt, with their checksums put right, are given to ours alone, which must
take or refuse them and stay up, and whatever it takes it must be able to read and to write again.

    python3 tests/differential/payloads.py --ours PATH --peer PATH [--values N] [--spoilt N] [--seed S]
"""

import argparse
import random
import shutil
import sys
import time

from servers import side_by_side
from wire import Failure, Lost, Many

SHOWN_MAX = 20
# The first version of Redis that reads what ours writes.
READS_OURS = {"redis": (7, 2), "valkey": (7, 2)}
EXPIRING_FIELDS = {"redis": (7, 4), "valkey": (9, 0)}
FUNCTION = b"#!lua name=lib\nredis.register_function('carried', function() return 'arrived' end)"
POLYNOMIAL = 0x95AC9329AC4BC9B5


def crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ POLYNOMIAL if byte & 1 else byte >> 1
        table.append(byte)
    return table


TABLE = crc_table()


def sealed(body):
    """A body of type, value and version with its checksum."""
    crc = 0
    for byte in body:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return body + crc.to_bytes(8, "little")


class Maker:
    """Commands that make values: by its seed always the same ones."""

    def __init__(self, seed, has_expiring_fields):
        self.random = random.Random(seed)
        self.has_expiring_fields = has_expiring_fields

    def text(self):
        kind = self.random.randrange(12)
        if kind < 3:
            return b"%d" % self.random.choice([0, 1, -1, 12, 127, -128, 255, 4095, -4096, 32768, -40000, 1 << 23, 1 << 31, -(1 << 40), (1 << 63) - 1])
        if kind == 3:
            return self.random.choice([b"", b"-0", b"007", b"1.5", b" 1", b"9223372036854775808"])
        if kind < 6:
            return b"text-%d" % self.random.randrange(1000)
        if kind < 9:
            return bytes(self.random.randrange(256) for _ in range(self.random.randrange(1, 40)))
        return self.random.choice([b"ab", b"x", b"abcdefgh" * 3]) * self.random.choice([3, 20, 60, 70, 300])

    def count(self):
        return self.random.choice([1, 2, 3, 10, 40, 129, 200, 513])

    def score(self):
        return self.random.choice([b"0", b"-0", b"1", b"-17", b"3.25", b"0.1", b"1e300", b"-1e-300", b"inf", b"-inf", b"123456789012", b"5e-324"])

    def string(self, key):
        yield [b"SET", key, self.text() if self.random.random() < 0.9 else self.text() * 2000]

    def list(self, key):
        yield [b"RPUSH", key, *(self.text() for _ in range(self.count()))]
        if self.random.random() < 0.2:
            yield [b"RPUSH", key, b"long" * 5000, b"short"]

    def set(self, key):
        yield [b"SADD", key, *(self.text() for _ in range(self.count()))]

    def integers(self, key):
        most = self.random.choice([100, 40_000, 1 << 40])
        yield [b"SADD", key, *(b"%d" % self.random.randint(-most, most) for _ in range(self.count()))]

    def zset(self, key):
        yield [b"ZADD", key, *(word for _ in range(self.count()) for word in (self.score(), self.text()))]

    def hash(self, key):
        fields = [self.text() for _ in range(self.count())]
        yield [b"HSET", key, *(word for field in fields for word in (field, self.text()))]
        if self.has_expiring_fields and self.random.random() < 0.4:
            for at in self.random.sample(range(len(fields)), min(3, len(fields))):
                yield [b"HPEXPIREAT", key, b"%d" % (4_000_000_000_000 + self.random.randrange(10**9)), b"FIELDS", b"1", fields[at]]

    def stream(self, key):
        names = [self.text() for _ in range(3)]
        for number in range(self.count()):
            own = names if self.random.random() < 0.7 else [self.text() for _ in range(self.random.randrange(1, 4))]
            yield [b"XADD", key, b"%d-%d" % (1000 + number, self.random.randrange(5)), *(word for name in own for word in (name, self.text()))]
        for number in range(self.random.randrange(4)):
            yield [b"XDEL", key, b"%d-%d" % (1000 + self.random.randrange(20), number)]
        for number in range(self.random.randrange(3)):
            group = b"group%d" % number
            yield [b"XGROUP", b"CREATE", key, group, self.random.choice([b"0", b"$", b"1003-1"])]
            for consumer in range(self.random.randrange(3)):
                yield [b"XREADGROUP", b"GROUP", group, b"consumer%d" % consumer, b"COUNT", b"7", b"STREAMS", key, b">"]
            yield [b"XACK", key, group, b"1004-0", b"1004-1"]
            yield [b"XGROUP", b"CREATECONSUMER", key, group, b"idle"]

    def value(self, key):
        kinds = [self.string, self.list, self.set, self.integers, self.zset, self.hash, self.stream]
        return list(self.random.choice(kinds)(key))


def knows_expiring_fields(server):
    return server.version >= EXPIRING_FIELDS.get(server.kind, (0,))


def plain(value):
    """A reply as bytes, numbers and lists."""
    if isinstance(value, Many):
        return [plain(item) for item in value.items]
    return value


def contents(server, key, with_deadlines):
    """All that a key holds, in an order that does not depend on the server; with the deadlines of fields if that is asked."""

    def call(*args):
        return plain(server.call(*args))

    kind = bytes(call(b"TYPE", key))
    if kind == b"string":
        return kind, bytes(call(b"GET", key))
    if kind == b"list":
        return kind, tuple(map(bytes, call(b"LRANGE", key, b"0", b"-1")))
    if kind == b"set":
        return kind, tuple(sorted(map(bytes, call(b"SMEMBERS", key))))
    if kind == b"zset":
        words = list(map(bytes, call(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES")))
        return kind, tuple((member, float(score)) for member, score in zip(words[::2], words[1::2]))
    if kind == b"hash":
        words = list(map(bytes, call(b"HGETALL", key)))
        pairs = sorted(zip(words[::2], words[1::2]))
        if not with_deadlines:
            return kind, tuple(pairs)
        deadlines = call(b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(pairs), *(field for field, _ in pairs))
        return kind, tuple(pairs), repr(deadlines)
    if kind == b"stream":
        stream = [repr(call(b"XRANGE", key, b"-", b"+"))]
        words = call(b"XINFO", b"STREAM", key)
        figures = dict(zip(map(bytes, words[::2]), words[1::2]))
        for name in (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added", b"groups"):
            stream.append(repr(figures[name]))
        for group in call(b"XINFO", b"GROUPS", key):
            stream.append(repr(group))
            for pending in call(b"XPENDING", key, group[1], b"-", b"+", b"1000"):
                # How long ago it was delivered goes on.
                stream.append(repr([pending[0], pending[1], pending[3]]))
            stream.append(repr(sorted((bytes(words[1]), repr(words[3])) for words in call(b"XINFO", b"CONSUMERS", key, group[1]))))
        return kind, tuple(stream)
    return kind, None


def carry(maker, source, target, values, found):
    """Makes values in one server and carries them to the other. Returns their payloads."""
    payloads = []
    for number in range(values):
        key = b"key"
        source.call(b"DEL", key), target.call(b"DEL", key)
        commands = maker.value(key)
        source.connection(2).exchange(commands)
        if source.call(b"EXISTS", key) != 1:
            continue
        payload = bytes(source.call(b"DUMP", key))
        payloads.append(payload)
        reply = target.call(b"RESTORE", key, b"0", payload)
        if isinstance(reply, Failure):
            found.append(f"{target.name} refuses what {source.name} has made by {commands[0][0].decode()}: {bytes(reply).decode()}\n    {payload[:80]!r}")
            continue
        both = knows_expiring_fields(source) and knows_expiring_fields(target)
        before, after = contents(source, key, both), contents(target, key, both)
        if before != after:
            found.append(f"{commands[0][0].decode()} from {source.name} to {target.name}:\n    {str(before)[:600]}\n    {str(after)[:600]}")
    return payloads


def carry_file(maker, source, target, values, found):
    """Makes values in one server, has it write a snapshot, and starts the other with that."""
    source.call(b"FLUSHALL"), target.call(b"FLUSHALL")
    keys = [b"key:%d" % number for number in range(values)]
    for number, key in enumerate(keys):
        source.connection(2).exchange([[b"SELECT", b"%d" % (number % 3)], *maker.value(key)])
        if number % 5 == 0:
            source.call(b"PEXPIREAT", key, b"%d" % (4_000_000_000_000 + number))
    source.call(b"FUNCTION", b"LOAD", b"REPLACE", FUNCTION)
    if source.call(b"SAVE") != b"OK":
        found.append(f"{source.name} cannot save:\n{source.log_tail()}")
        return 0
    both = knows_expiring_fields(source) and knows_expiring_fields(target)
    before = everything(source, keys, both)
    target.stop()
    shutil.copy(source.folder / "dump.rdb", target.folder / "dump.rdb")
    try:
        target.start()
    except SystemExit as error:
        found.append(f"{target.name} does not load what {source.name} has saved: {error}")
        (target.folder / "dump.rdb").unlink()
        target.start()
        return 0
    while isinstance(target.call(b"DBSIZE"), Failure):
        # It is still loading.
        time.sleep(0.01)
    after = everything(target, keys, both)
    for one, other in zip(before, after):
        if one != other:
            found.append(f"{one[0].decode()} in a file from {source.name} to {target.name}:\n    {str(one)[:600]}\n    {str(other)[:600]}")
    (target.folder / "dump.rdb").unlink()
    target.call(b"SELECT", b"0"), source.call(b"SELECT", b"0")
    return len(before)


def everything(server, keys, with_deadlines):
    found = [(b"function", plain(server.call(b"FCALL", b"carried", b"0")))]
    for number, key in enumerate(keys):
        server.call(b"SELECT", b"%d" % (number % 3))
        found.append((key, server.call(b"PEXPIRETIME", key), contents(server, key, with_deadlines)))
    return found


def spoil(rng, payload):
    body = bytearray(payload[:-8])
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(body) - 2)
        body[at] = rng.choice([0, 0xFF, 0x80, 0x81, 0xC3, rng.randrange(256), body[at] ^ 1 << rng.randrange(8)])
    if rng.random() < 0.3:
        at = rng.randrange(1, len(body) - 1)
        del body[at : at + rng.randrange(1, 9)]
        body += payload[-10:-8]
    return sealed(bytes(body))


def attack(server, payloads, count, rng, found):
    """Gives spoilt payloads to a server."""
    taken = 0
    for number in range(count):
        payload = spoil(rng, rng.choice(payloads))
        try:
            reply = server.call(b"RESTORE", b"key", b"0", payload, b"REPLACE")
            if isinstance(reply, Failure):
                if bytes(reply) not in (b"ERR Bad data format", b"ERR DUMP payload version or checksum are wrong"):
                    found.append(f"{bytes(reply).decode()} for {payload[:80]!r}")
                continue
            taken += 1
            before = contents(server, b"key", True)
            again = server.call(b"DUMP", b"key")
            if again is not None and before[0] != b"none":
                server.call(b"DEL", b"key")
                reply = server.call(b"RESTORE", b"key", b"0", bytes(again))
                if isinstance(reply, Failure) or contents(server, b"key", True) != before:
                    found.append(f"is not read again: {bytes(reply).decode()} {payload[:120]!r}")
        except Lost as lost:
            found.append(f"{lost} by {payload!r}\n{server.log_tail()}")
            server.start()
    return taken


def compare(ours, theirs, options):
    found = []
    rng = random.Random(options.seed)
    maker = Maker(options.seed, knows_expiring_fields(theirs))
    payloads = carry(maker, theirs, ours, options.values, found)
    if theirs.version >= READS_OURS[theirs.kind]:
        # Fields that expire are written as Redis does, whatever the peer is.
        back = Maker(options.seed + 1, maker.has_expiring_fields and theirs.kind == "redis")
        payloads += carry(back, ours, theirs, options.values, found)
    files = carry_file(maker, theirs, ours, options.values, found)
    if theirs.version >= READS_OURS[theirs.kind]:
        files += carry_file(back, ours, theirs, options.values, found)
    taken = attack(ours, payloads, options.spoilt, rng, found)
    for text in found[:SHOWN_MAX]:
        print(f"--- {text}")
    print(
        f"payloads: {len(payloads)} values carried to and from {theirs.name}, {files} in snapshots; {options.spoilt} spoilt ones, of "
        f"which {taken} were taken; {len(found)} findings (seed {options.seed})"
    )
    return len(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the server to check")
    parser.add_argument("--peer", required=True, help="the server to compare with")
    parser.add_argument("--values", type=int, default=400, help="values each way (default %(default)s)")
    parser.add_argument("--spoilt", type=int, default=4000, help="payloads that are spoilt (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with side_by_side(options.ours, options.peer) as servers:
        found = compare(*servers, options)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
