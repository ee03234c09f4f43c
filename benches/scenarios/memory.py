#!/usr/bin/env python3
"""Bytes of resident memory a key, or an element of a collection, of several servers side by side.

    memory.py weir=target/release/weir valkey=valkey-server redis=redis-server

For each shape of data a fresh server is filled; the figure is what its resident memory (VmRSS) has grown by over the idle
server, divided by the number of keys (of collections: of elements). It contains everything: the entry, the table, the allocator's waste. It depends on the
number of keys, because tables grow in steps; `--n` takes several numbers.
"""

import argparse
import time
from measured_server import Failed, Server, command_bytes, fill_with_any, key_name, named_commands, print_table, run, whole_numbers

# For what is freed or given back a moment later.
SETTLE_SECONDS = 1.5

SHAPES = {
    "string 16+16": lambda n: command_bytes("SET", key_name(n), b"v%015d" % n),
    "string 16+64": lambda n: command_bytes("SET", key_name(n), b"v%063d" % n),
    "integer": lambda n: command_bytes("SET", key_name(n), n),
    "string 16+16 with TTL": lambda n: command_bytes("SET", key_name(n), b"v%015d" % n, "EX", 100_000 + n % 1000),
}

# Elements of one command.
PART = 50
# Elements of a small collection.
FEW = 10


def parts(name, element):
    """Commands that fill one big collection."""

    def requests(count):
        for first in range(0, count, PART):
            yield command_bytes(*name, *(word for n in range(first, first + PART) for word in element(n)))

    return requests


def small(name, key, element):
    """Commands that make many small ones."""

    def requests(count):
        for n in range(count // FEW):
            yield command_bytes(name, key % n, *(word for k in range(FEW) for word in element(n, k)))

    return requests


COLLECTIONS = {
    "small hash": small("HSET", b"h:%012d", lambda n, k: (b"f%d" % k, b"val%07d" % n)),
    "small sorted set": small("ZADD", b"z:%012d", lambda n, k: (k * 1.5, b"m%d" % k)),
    "hash 16+16": parts(("HSET", "H"), lambda n: (b"field:%09d" % n, b"v%015d" % n)),
    "set 16": parts(("SADD", "S"), lambda n: (b"member:%09d" % n,)),
    "sorted set 16": parts(("ZADD", "Z"), lambda n: (n * 0.5, b"member:%09d" % n)),
    "list 16": parts(("RPUSH", "L"), lambda n: (b"item:%011d" % n,)),
    "stream": lambda count: (command_bytes("XADD", "X", "*", "sensor", n % 100, "temp", n % 1000) for n in range(count)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY", help="the first is compared with the others")
    parser.add_argument("--n", default="1000000", help="numbers of keys or elements, each a multiple of 50")
    options = parser.parse_args()
    servers = named_commands(options.servers)
    names = [name for name, _ in servers]
    header = ["data", "keys", *names, *([f"{names[0]}/best other"] if names[1:] else [])]
    rows = []
    for count in whole_numbers(options.n):
        for shape, request in SHAPES.items():
            sizes = [bytes_a_key(name, command, count, map(request, range(count)), count) for name, command in servers]
            rows.append(row_of(shape, count, sizes))
        for shape, requests in COLLECTIONS.items():
            keys = count // FEW if shape.startswith("small") else 1
            sizes = [bytes_a_key(name, command, count, requests(count), keys) for name, command in servers]
            rows.append(row_of(shape, count, sizes))
    print_table("Bytes of RSS a key, or an element", header, rows)


def row_of(shape, count, sizes):
    row = [shape, count, *(f"{size:.1f}" for size in sizes)]
    if sizes[1:]:
        row.append(f"{sizes[0] / min(sizes[1:]):.2f}")
    return row


def bytes_a_key(name, command, count, requests, keys):
    with Server(name, command) as server, server.connect() as connection:
        time.sleep(0.3)
        idle = server.rss_bytes()
        fill_with_any(connection, requests)
        if connection.call("DBSIZE") != keys:
            raise Failed(f"{name} does not hold {keys} keys")
        time.sleep(SETTLE_SECONDS)
        return (server.rss_bytes() - idle) / count


run(main)
