#!/usr/bin/env python3
"""Bytes of resident memory a key, of several servers side by side.

    memory.py weir=target/release/weir valkey=valkey-server redis=redis-server

For each shape of data a fresh server is filled; the figure is what its resident memory (VmRSS) has grown by over the idle
server, divided by the number of keys. It contains everything: the entry, the table, the allocator's waste. It depends on the
number of keys, because tables grow in steps; `--n` takes several numbers.
"""

import argparse
import time
from measured_server import Failed, Server, command_bytes, fill, key_name, named_commands, print_table, run, whole_numbers

# For what is freed or given back a moment later.
SETTLE_SECONDS = 1.5

SHAPES = {
    "string 16+16": lambda n: command_bytes("SET", key_name(n), b"v%015d" % n),
    "string 16+64": lambda n: command_bytes("SET", key_name(n), b"v%063d" % n),
    "integer": lambda n: command_bytes("SET", key_name(n), n),
    "string 16+16 with TTL": lambda n: command_bytes("SET", key_name(n), b"v%015d" % n, "EX", 100_000 + n % 1000),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY", help="the first is compared with the others")
    parser.add_argument("--n", default="1000000", help="numbers of keys")
    options = parser.parse_args()
    servers = named_commands(options.servers)
    names = [name for name, _ in servers]
    header = ["data", "keys", *names, *([f"{names[0]}/best other"] if names[1:] else [])]
    rows = []
    for count in whole_numbers(options.n):
        for shape, request in SHAPES.items():
            sizes = [bytes_a_key(name, command, count, request) for name, command in servers]
            row = [shape, count, *(f"{size:.1f}" for size in sizes)]
            if sizes[1:]:
                row.append(f"{sizes[0] / min(sizes[1:]):.2f}")
            rows.append(row)
    print_table("Bytes of RSS a key", header, rows)


def bytes_a_key(name, command, count, request):
    with Server(name, command) as server, server.connect() as connection:
        time.sleep(0.3)
        idle = server.rss_bytes()
        fill(connection, map(request, range(count)))
        if connection.call("DBSIZE") != count:
            raise Failed(f"{name} does not hold {count} keys")
        time.sleep(SETTLE_SECONDS)
        return (server.rss_bytes() - idle) / count


run(main)
