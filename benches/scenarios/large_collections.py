#!/usr/bin/env python3
"""Commands on large collections: processor time and wall time of each, of several servers side by side.

    large_collections.py weir=target/release/weir valkey=valkey-server redis=redis-server

All servers are started and filled with the same data; then each line is run on one server after the other, round by round,
so that what happens to the machine meanwhile happens to all of them. Servers are on core 0, this script on core 1. Printed
are medians of processor time and of wall time for one request (for a cycle of several commands: for the whole cycle), and
the median of the first server's ratio to each of the others, taken round by round.

Every request is sent with others behind it, and its reply is read but not looked at, except once before the rounds: then
the replies of all servers to the same requests must be equal, where the line's replies are defined to the letter.
"""

import argparse
import os
import random
import statistics
import time
from measured_server import Failed, Server, command_bytes, named_commands, print_table, run

MILLION = 1_000_000
SEED = 20_240
END = b"+" + b"end-of-replies" * 2 + b"\r\n"
RECEIVE_BYTES = 1 << 20


class Line:
    """What is measured: how the data are made, and the requests."""

    def __init__(self, name, fill, requests, count, at_once, is_exact=True):
        """`requests(random, number)` makes the commands of one request; `count` of them are a round, `at_once` are sent
        together."""
        self.name, self.fill, self.requests = name, fill, requests
        self.count, self.at_once, self.is_exact = count, at_once, is_exact


def member(number):
    return b"member:%09d" % number


def numbers(count, seed=SEED):
    chance = random.Random(seed)
    return [chance.randrange(count) for _ in range(count)]


def several(command, key, parts, at_once=200):
    """`command key part part ...` for all parts, so many in each command."""
    for start in range(0, len(parts), at_once):
        flat = [word for part in parts[start : start + at_once] for word in part]
        yield command_bytes(command, key, *flat)


def fill_zset(scale):
    yield from several("ZADD", "zset", [(score, member(at)) for at, score in enumerate(numbers(scale))])


def fill_hashes(scale):
    for at in range(1000):
        yield from several("HSET", b"hash10:%d" % at, [(b"field:%d" % f, b"value:%d" % f) for f in range(10)])
    for at in range(20):
        yield from several("HSET", b"hash1000:%d" % at, [(b"field:%d" % f, b"value:%d" % f) for f in range(1000)])


def fill_sets(scale):
    for key, first in (("set:a", 0), ("set:b", scale // 20)):
        yield from several("SADD", key, [(member(at),) for at in range(first, first + scale // 10)])


def fill_stream(scale):
    for _ in range(scale // 10):
        yield command_bytes("XADD", "stream", "*", "field", "value")
    yield command_bytes("XGROUP", "CREATE", "stream", "group", "$")


def fill_counters(scale):
    for key in range(10):
        elements = [(b"element:%d" % (key * scale // 50 + at),) for at in range(scale // 20)]
        yield from several("PFADD", b"hll:%d" % key, elements)


def fill_bitmap(scale):
    yield command_bytes("SET", "bitmap", random.Random(SEED).randbytes(10 * scale))


def fill_places(scale):
    chance = random.Random(SEED)
    places = [(f"{chance.uniform(-180, 180):.6f}", f"{chance.uniform(-80, 80):.6f}", member(at)) for at in range(scale)]
    yield from several("GEOADD", "places", places)


def fill_list(scale):
    yield from several("RPUSH", "list", [(member(at),) for at in range(scale)])


def lines(scale):
    """All lines, for collections of so many elements."""

    def mixed(chance, number):
        some = chance.randrange(scale)
        start = chance.randrange(scale)
        yield ("ZADD", "zset", chance.randrange(scale), member(some))
        yield ("ZRANK", "zset", member(chance.randrange(scale)))
        yield ("ZRANGE", "zset", start, start + 9)

    def by_score(chance, number):
        low = chance.randrange(scale)
        yield ("ZRANGEBYSCORE", "zset", low, "+inf", "LIMIT", chance.randrange(100), 10)

    def work(chance, number):
        yield ("XADD", "stream", f"{5_000_000_000_000 + next(ids)}-1", "field", "value")
        yield ("XREADGROUP", "GROUP", "group", "worker", "COUNT", 1, "STREAMS", "stream", ">")

    def acknowledge(chance, number):
        yield from work(chance, number)
        yield ("XACK", "stream", "group", f"{5_000_000_000_000 + last[0]}-1")

    def near(radius_km, *options):
        def request(chance, number):
            at = (f"{chance.uniform(-170, 170):.4f}", f"{chance.uniform(-70, 70):.4f}")
            yield ("GEOSEARCH", "places", "FROMLONLAT", *at, "BYRADIUS", radius_km, "km", *options)

        return request

    def insert(chance, number):
        pivot = member(scale // 2 - 1 - number % 50)
        yield ("LINSERT", "list", "BEFORE", pivot, b"inserted")
        yield ("LREM", "list", 1, b"inserted")

    counter = iter(range(1, 1 << 40))
    last = [0]

    def take():
        last[0] = next(counter)
        return last[0]

    ids = iter(take, None)

    def one(*words):
        return lambda chance, number: iter([words])

    keys = [b"hll:%d" % key for key in range(10)]
    return [
        Line("ZADD + ZRANK + ZRANGE of 10", fill_zset, mixed, 4000, 50),
        Line("ZRANGEBYSCORE LIMIT 10", fill_zset, by_score, 8000, 50),
        Line("HGETALL of 10 fields", fill_hashes, lambda c, n: iter([("HGETALL", b"hash10:%d" % (n % 1000))]), 8000, 50, False),
        Line("HGETALL of 1,000 fields", fill_hashes, lambda c, n: iter([("HGETALL", b"hash1000:%d" % (n % 20))]), 400, 10, False),
        Line("SINTER of two of 100,000", fill_sets, one("SINTER", "set:a", "set:b"), 6, 1, False),
        Line("SINTERCARD of two of 100,000", fill_sets, one("SINTERCARD", 2, "set:a", "set:b"), 6, 1),
        Line("XADD + XREADGROUP + XACK", fill_stream, acknowledge, 4000, 50),
        Line("PFCOUNT of 10 keys", fill_counters, one("PFCOUNT", *keys), 1500, 20),
        Line("BITCOUNT of 10 MB", fill_bitmap, one("BITCOUNT", "bitmap"), 60, 5),
        Line("GEOSEARCH 100 km", fill_places, near(100, "ASC", "WITHDIST"), 2000, 20),
        Line("GEOSEARCH 500 km, nearest 10", fill_places, near(500, "ASC", "COUNT", 10), 400, 10),
        Line("GEOSEARCH 500 km, unsorted", fill_places, near(500), 400, 10),
        Line("LINSERT + LREM in the middle", fill_list, insert, 30, 2),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY", help="the first is compared with the others")
    parser.add_argument("--only", default="", help="lines whose name contains this")
    parser.add_argument("--elements", type=int, default=MILLION, help="of a large collection")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    commands = named_commands(options.servers)
    chosen = [line for line in lines(options.elements) if options.only.lower() in line.name.lower()]
    if not chosen:
        raise Failed(f"no line has '{options.only}' in its name")
    os.sched_setaffinity(0, {1} & os.sched_getaffinity(0) or os.sched_getaffinity(0))
    servers = []
    try:
        servers += [Server(name, command, core=0) for name, command in commands]
        measure_all(servers, chosen, options)
    finally:
        for server in servers:
            server.stop()


def measure_all(servers, chosen, options):
    connections = [server.connect() for server in servers]
    done, results = set(), {}
    for line in chosen:
        if line.fill not in done:
            for connection in connections:
                fill(connection, line.fill(options.elements))
            done.add(line.fill)
        batches = make(line, SEED)
        heads = [exchange(connection, batches[0][0], keep=True) for connection in connections]
        for server, head in zip(servers, heads):
            if head.startswith(b"-") or line.is_exact and head != heads[0]:
                raise Failed(f"{line.name}: {server.name} answers {head[:300]!r}, {servers[0].name} {heads[0][:300]!r}")
        for turn in range(options.rounds):
            batches = make(line, SEED + 1 + turn)
            for server, connection in zip(servers, connections):
                results.setdefault(line.name, {}).setdefault(server.name, []).append(measure(server, connection, batches))
    show(servers, results)


def make(line, seed):
    """Batches of a round, each with its number of requests; the same for every server."""
    chance = random.Random(seed)
    batches = []
    for start in range(0, line.count, line.at_once):
        commands = [
            command_bytes(*command)
            for number in range(start, min(start + line.at_once, line.count))
            for command in line.requests(chance, number)
        ]
        batches.append((b"".join(commands), min(line.at_once, line.count - start)))
    return batches


def fill(connection, commands):
    waiting, size = [], 0
    for command in commands:
        waiting.append(command)
        size += len(command)
        if size > 200_000:
            exchange(connection, b"".join(waiting))
            waiting, size = [], 0
    exchange(connection, b"".join(waiting))


def exchange(connection, request, keep=False):
    """Sends commands and a last one whose reply cannot be mistaken, and reads up to that."""
    connection.socket.sendall(request + command_bytes("PING", END[1:-2]))
    end = b"$%d\r\n%b\r\n" % (len(END) - 3, END[1:-2])
    parts, tail = [], b""
    while True:
        part = connection.socket.recv(RECEIVE_BYTES)
        if not part:
            raise Failed("the server has closed the connection")
        if keep:
            parts.append(part)
        tail = (tail + part)[-len(end) :] if len(part) < len(end) else part[-len(end) :]
        if tail == end:
            return b"".join(parts)[: -len(end)] if keep else b""


def measure(server, connection, batches):
    """(processor time, wall time) of one request, in microseconds."""
    before, start = server.processor_ns(), time.perf_counter_ns()
    for batch, _ in batches:
        exchange(connection, batch)
    wall_ns, used_ns = time.perf_counter_ns() - start, server.processor_ns() - before
    count = sum(number for _, number in batches)
    return used_ns / 1000 / count, wall_ns / 1000 / count


def show(servers, results):
    names = [server.name for server in servers]
    for what, title in ((0, "Processor time per request, us"), (1, "Wall time per request, us")):
        rows = []
        for line, by_name in results.items():
            values = {name: [result[what] for result in by_name[name]] for name in names}
            row = [line, *(f"{statistics.median(values[name]):.1f}" for name in names)]
            for name in names[1:]:
                pairs = zip(values[names[0]], values[name])
                row.append(f"{statistics.median(own / max(other, 1e-9) for own, other in pairs):.2f}")
            rows.append(row)
        print_table(title, ["request", *names, *(f"{names[0]}/{name}" for name in names[1:])], rows)


run(main)
