#!/usr/bin/env python3
"""Whether a stranger learns anything from what a refused login costs, and what very many of them leave behind.

    acl_brute_force.py weir=target/release/weir valkey=valkey-server redis=redis-server

Logins of several kinds are tried: passwords that are wrong from the first byte, from the middle, at the last byte, users that
are not there, disabled or without any password. All requests have the same length, and so have all replies. Two clocks:

- replies: one login at a time, kinds in random order, as a stranger would measure it; medians in microseconds;
- processor time: blocks of logins of one kind in a pipeline, blocks in random order, measured by the kernel's clock of the
  process; medians for one login. It sees less of the network and so more of what the kinds differ by. (A server that
  stops at a wrong login, as Redis 8 does until more bytes come, gets them one by one: its figures hold system calls.)

For each, printed is how far the furthest kind is from the median of all, and by how much two halves of the same kind differ:
a difference between kinds that is not above that is noise. Then as many wrong logins as --flood says, each of a name of its
own, and by how much the server's memory has grown.

The exit code is 1 if a difference of the first server is above 2 % and twice the noise, or its memory has grown by more than 4 MiB.
"""

import argparse
import random
import statistics
import sys
import time
from measured_server import Server, command_bytes, named_commands, print_table, run

PASSWORD = b"correct horse battery staple"
WRONG = b"wrong horse battery staple!!"
KINDS = {
    "wrong": (b"joe", WRONG),
    "first half right": (b"joe", PASSWORD[:14] + b"x" * 14),
    "last byte wrong": (b"joe", PASSWORD[:-1] + b"x"),
    "no such user": (b"jim", WRONG),
    "disabled, wrong": (b"off", WRONG),
    "disabled, right": (b"off", PASSWORD),
    "no password set": (b"new", WRONG),
}
BLOCK = 500
PIPELINE = 100
DIFFERENCE_MAX = 0.02
GROWTH_BYTES_MAX = 4 << 20
FLOOD_NAME = b"n" * 1000
REFUSAL = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY", help="the first is judged")
    parser.add_argument("--tries", type=int, default=10_000, help="single logins of each kind")
    parser.add_argument("--blocks", type=int, default=200, help=f"blocks of {BLOCK} logins of each kind")
    parser.add_argument("--flood", type=int, default=500_000, help="wrong logins of different names")
    options = parser.parse_args()
    assert len({len(command_bytes("AUTH", *words)) for words in KINDS.values()}) == 1, "requests differ in length"
    verdicts, rows, memory = [], [], []
    for name, command in named_commands(options.servers):
        with Server(name, command, core=0) as server, server.connect() as connection:
            prepare(connection)
            depth = pipeline_depth(server)
            differences = []
            for clock, taken in (
                ("replies", reply_times(connection, options.tries)),
                ("processor", processor_times(server, connection, depth, options.blocks)),
            ):
                row, is_signal = judge(taken)
                rows.append([name, clock, *row])
                differences.append(is_signal)
            grown = flood(server, connection, depth, options.flood)
            memory.append([name, f"{options.flood:,}", f"{grown / 1024:+.0f} KiB"])
            verdicts.append(not any(differences) and grown <= GROWTH_BYTES_MAX)
    print_table("Microseconds for a refused login", ["server", "clock", *KINDS, "furthest", "noise"], rows)
    print_table("Memory after wrong logins", ["server", "logins", "grown"], memory)
    if not verdicts[0]:
        sys.exit(1)


def prepare(connection):
    for user, rules in ((b"joe", ["on", b">" + PASSWORD]), (b"off", ["off", b">" + PASSWORD]), (b"new", ["on"])):
        connection.call("ACL", "SETUSER", user, *rules)


def pipeline_depth(server):
    """How many wrong logins may be sent at once."""
    with server.connect() as connection:
        connection.socket.settimeout(1)
        try:
            connection.pipeline(command_bytes("AUTH", b"joe", WRONG) * 2, REFUSAL, 2)
        except TimeoutError:
            return 1
    return PIPELINE


def in_random_order(count):
    order = [kind for kind in KINDS for _ in range(count)]
    random.Random(1).shuffle(order)
    return order


def reply_times(connection, tries):
    """Microseconds of each try, by kind, without the first tenth of all."""
    calls = {kind: command_bytes("AUTH", *words) for kind, words in KINDS.items()}
    taken = {kind: [] for kind in calls}
    for number, kind in enumerate(in_random_order(tries)):
        began = time.perf_counter_ns()
        connection.pipeline(calls[kind], REFUSAL, 1)
        us = (time.perf_counter_ns() - began) / 1000
        if number > tries // 10:
            taken[kind].append(us)
    return taken


def processor_times(server, connection, depth, blocks):
    """Microseconds of processor time for one login, a figure a block, by kind."""
    calls = {kind: command_bytes("AUTH", *words) * depth for kind, words in KINDS.items()}
    taken = {kind: [] for kind in calls}
    for kind in in_random_order(blocks):
        before_ns = server.processor_ns()
        for _ in range(BLOCK // depth):
            connection.pipeline(calls[kind], REFUSAL, depth)
        taken[kind].append((server.processor_ns() - before_ns) / 1000 / BLOCK)
    return taken


def judge(taken):
    """A row of the table, and whether kinds differ by more than noise."""
    medians = [statistics.median(all_us) for all_us in taken.values()]
    halves = [(statistics.median(all_us[::2]), statistics.median(all_us[1::2])) for all_us in taken.values()]
    middle = statistics.median(medians)
    furthest = max(abs(us - middle) for us in medians) / middle
    noise = max(abs(one - other) for one, other in halves) / middle
    row = [*(f"{us:.2f}" for us in medians), f"{100 * furthest:.2f} %", f"{100 * noise:.2f} %"]
    return row, furthest > max(DIFFERENCE_MAX, 2 * noise)


def flood(server, connection, depth, count):
    """Bytes by which memory grows from the tenth part of the wrong logins on."""
    before = 0
    for begin in range(0, count, depth):
        if begin == count // 10 // depth * depth:
            before = server.rss_bytes()
        names = (str(number).encode() + FLOOD_NAME for number in range(begin, begin + depth))
        request = b"".join(command_bytes("AUTH", name, b"x") for name in names)
        connection.pipeline(request, REFUSAL, depth)
    return server.rss_bytes() - before


if __name__ == "__main__":
    run(main)
