#!/usr/bin/env python3
"""The longest pause while a collection of millions grows, shrinks and is deleted, of several servers side by side.

    collection_pauses.py weir=target/release/weir valkey=valkey-server

One connection makes a collection of each type as large as asked, then takes half of it away, then deletes it with one DEL,
and lets the server come to rest. Another, in a process of its own, sends a PING, waits for its reply, and so on: whatever
stalls the server stalls the PINGs. Requests of the first connection hold few elements each, so that none of them takes
long by itself. What the columns mean stands in `fill_latency.py`; `load` is the same traffic as PINGs, so nothing grows.

The server runs on core 0, load and probe on core 1.
"""

import argparse
import os
import time
from measured_server import Failed, Server, command_bytes, named_commands, print_table, run
from reply_times import Probe, ReplyTimes, single_requests

# Elements of one command, and commands sent at a time.
PARTS = 20
AT_ONCE = 10
# After a deletion, for what goes on behind it.
REST_SECONDS = 3


def member(number):
    # Spread, so that neighbours in time are none in order.
    return b"member:%010d" % (number * 2_654_435_761 % 4_294_967_296)


# How an element is added, by which command, and how it is taken away again.
TYPES = {
    "hash": (lambda n: (member(n), b"value:%d" % n), "HSET", lambda n: (member(n),), "HDEL"),
    "set": (lambda n: (member(n),), "SADD", lambda n: (member(n),), "SREM"),
    "zset": (lambda n: (n * 7919 % 1_000_003, member(n)), "ZADD", lambda n: (member(n),), "ZREM"),
    "list": (lambda n: (b"element:%d" % n,), "RPUSH", None, "LPOP"),
    "stream": (lambda n: (b"f", b"v:%d" % n), "XADD", None, "XTRIM"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY")
    parser.add_argument("--n", type=int, default=10_000_000, help="elements")
    parser.add_argument("--types", default=",".join(TYPES), help="which collections")
    parser.add_argument("--worst", type=int, default=0, help="show so many of the slowest replies of each phase")
    options = parser.parse_args()
    unknown = set(options.types.split(",")) - set(TYPES)
    if unknown:
        raise Failed(f"no such type: {', '.join(sorted(unknown))}")
    servers = named_commands(options.servers)
    os.sched_setaffinity(0, {1} & os.sched_getaffinity(0) or os.sched_getaffinity(0))
    rows, notes = [], []
    for kind in options.types.split(","):
        for name, command in servers:
            with Server(name, command, core=0) as server, server.connect() as connection:
                for phase, act in phases(kind, options.n):
                    probe = Probe(single_requests, server.port, server.pid, [command_bytes("PING")])
                    began_ns = time.monotonic_ns()
                    act(connection)
                    seconds = (time.monotonic_ns() - began_ns) / 1e9
                    times = probe.finish()
                    rows.append([kind, name, phase, f"{seconds:.1f}", *times.cells()])
                    slowest = times.worst(options.worst, began_ns)
                    notes += [f"{kind} {name} {phase}: {line}" for line in slowest]
    header = ["type", "server", "phase", "seconds", *ReplyTimes.HEADER]
    print_table(f"PINGs beside a collection of {options.n} elements, ms", header, rows)
    if notes:
        print("\n" + "\n".join(notes))


def phases(kind, elements):
    """Names of the phases and what is done in each."""
    part, grow, less, shrink = TYPES[kind]

    def load(connection):
        for _ in range(elements // 100 // AT_ONCE):
            send(connection, [("PING",)] * AT_ONCE)

    def growing(connection):
        if kind == "stream":
            every(connection, elements, lambda n: ("XADD", "key", f"{n + 1}-1", *part(n)), 1, PARTS * AT_ONCE)
        else:
            every(connection, elements, lambda n: (grow, "key", *flat(part, n, PARTS)), PARTS, AT_ONCE)

    def shrinking(connection):
        half = elements // 2
        if kind == "list":
            every(connection, half, lambda n: (shrink, "key", PARTS), PARTS, AT_ONCE)
        elif kind == "stream":
            every(connection, half, lambda n: (shrink, "key", "MINID", f"{n + PARTS}-0"), PARTS, AT_ONCE)
        else:
            every(connection, half, lambda n: (shrink, "key", *flat(less, n, PARTS)), PARTS, AT_ONCE)

    def deleting(connection):
        send(connection, [("DEL", "key")])
        time.sleep(REST_SECONDS)

    return [("load", load), ("grow", growing), ("shrink", shrinking), ("delete", deleting)]


def flat(part, first, count):
    return [word for number in range(first, first + count) for word in part(number)]


def every(connection, elements, command, step, at_once):
    """Sends `command(n)` for every `step`th n below `elements`, so many commands at a time."""
    waiting = []
    for number in range(0, elements, step):
        waiting.append(command(number))
        if len(waiting) == at_once:
            send(connection, waiting)
            waiting = []
    if waiting:
        send(connection, waiting)


def send(connection, commands):
    """Sends commands and reads all replies; an error among them ends the scenario."""
    connection.socket.sendall(b"".join(command_bytes(*command) for command in commands))
    connection.replies(len(commands))


run(main)
