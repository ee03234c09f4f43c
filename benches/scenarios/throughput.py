#!/usr/bin/env python3
"""Processor time per request and requests per second, of several servers side by side.

    throughput.py weir=target/release/weir valkey=valkey-server redis=redis-server

The server runs on core 0, the load generator on core 1: a valkey-benchmark or redis-benchmark, found on the PATH or named
by $LOADGEN. Rounds are interleaved (every server once, then every server again), so that what happens to the machine
meanwhile happens to all of them; what is printed are medians. Processor time is the better figure of the two: how much work
a request is does not depend on who else uses the machine, only on what that does to the caches.

The ratio is that of the first server to the best of the others, taken round by round; its median is printed.

Before each round all keys that the load generator asks for are set, so that every GET finds its key. (Without, a fifth of
the GETs would, and finding nothing is quicker.)
"""

import argparse
import csv
import os
import statistics
import subprocess
from measured_server import Failed, Server, command_bytes, fill, key_name, load_generator, named_commands, print_table, run, whole_numbers

LOAD_SECONDS_MAX = 600
# Requests are multiplied by this for deeper pipelines, so that every run takes long enough to be measured.
MORE_FOR_PIPELINES = ((64, 10), (16, 5), (1, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY", help="the first is compared with the others")
    parser.add_argument("--tests", default="set,get,incr,mset,ping", help="tests of the load generator")
    parser.add_argument("-P", "--pipelines", default="1,16,64", help="commands sent at once by each client")
    parser.add_argument("-n", "--requests", type=int, default=200_000, help="requests of a test at -P 1; more above")
    parser.add_argument("-c", "--clients", type=int, default=50)
    parser.add_argument("-d", "--value-bytes", type=int, default=64)
    parser.add_argument("-r", "--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    generator = load_generator()
    servers = named_commands(options.servers)
    results = {}
    for _ in range(options.rounds):
        for name, command in servers:
            with Server(name, command, core=0) as server:
                with server.connect() as connection:
                    value = b"v" * options.value_bytes
                    fill(connection, (command_bytes("SET", key_name(n), value) for n in range(options.keys)))
                for pipeline in whole_numbers(options.pipelines):
                    for test in options.tests.split(","):
                        measure(generator, options, server, pipeline, test, results)
    names = [name for name, _ in servers]
    show("Processor time per request, us (less is better)", names, results, "all", 2, min)
    show("of it in user space, us (the rest is the kernel's)", names, results, "user", 2, min)
    show("Requests per second (more is better)", names, results, "rate", 0, max)


def measure(generator, options, server, pipeline, test, results):
    """Runs one test once; a test of the load generator may hold several rows (PING does)."""
    more = next(factor for least, factor in MORE_FOR_PIPELINES if pipeline >= least)
    requests = options.requests * more // (4 if test == "mset" else 1)
    command = [generator, "-h", "127.0.0.1", "-p", server.port, "-t", test, "--csv", "-P", pipeline, "-n", requests]
    command += ["-c", options.clients, "-d", options.value_bytes, "-r", options.keys]
    before_ns, before_ticks = server.processor_ns(), server.user_share()
    try:
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            timeout=LOAD_SECONDS_MAX,
            preexec_fn=lambda: os.sched_setaffinity(0, {1}),
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{test} at -P {pipeline} on {server.name} takes more than {LOAD_SECONDS_MAX} s") from None
    used_ns, after_ticks = server.processor_ns() - before_ns, server.user_share()
    rates = [float(row["rps"]) for row in csv.DictReader(done.stdout.splitlines())]
    if done.returncode != 0 or not rates:
        raise Failed(f"{test} at -P {pipeline} on {server.name} failed:\n{done.stdout}{done.stderr}")
    ticks = after_ticks[1] - before_ticks[1]
    all_us = used_ns / 1000 / (requests * len(rates))
    row = results.setdefault((pipeline, test), {}).setdefault(server.name, {"all": [], "user": [], "rate": []})
    row["all"].append(all_us)
    row["user"].append(all_us * (after_ticks[0] - before_ticks[0]) / max(ticks, 1))
    row["rate"].append(statistics.mean(rates))


def show(title, names, results, what, digits, best):
    first, others = names[0], names[1:]
    header = ["test", "-P", *names]
    if others:
        header.append(f"{first}/best other")
    rows = []
    for (pipeline, test), by_name in results.items():
        values = {name: by_name[name][what] for name in names}
        row = [test, pipeline, *(f"{statistics.median(values[name]):.{digits}f}" for name in names)]
        if others:
            chosen = best(others, key=lambda name: statistics.median(values[name]))
            pairs = zip(values[first], values[chosen])
            row.append(f"{statistics.median(own / max(other, 1e-9) for own, other in pairs):.2f}")
        rows.append(row)
    print_table(title, header, rows)


run(main)
