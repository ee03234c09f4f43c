#!/usr/bin/env python3
"""How long single GETs take while a server is filled with millions of keys, of several servers side by side.

    fill_latency.py weir=target/release/weir valkey=valkey-server

One connection fills the server with pipelined SETs as fast as it takes them; another, in a process of its own, sends a GET,
waits for its reply, and so on. Every table that must be rebuilt, every page that must be found and every slice of background
work shows in the GETs. What the machine itself causes is measured beside it:

    fill      GETs during the fill
    load      PINGs while the other connection sends the same bytes as pipelined PINGs: nothing grows
    idle      PINGs while nothing else happens
    clock     no server: gaps in the time of a process that does nothing but look at the clock

Times are milliseconds. `own` leaves out what server and probe waited for a processor; `ran` is the part of it in which the
server was on one. The server runs on core 0, fill and probe on core 1, the probe at a higher priority.
"""

import argparse
import os
import time
from measured_server import Server, command_bytes, key_name, named_commands, print_table, run
from reply_times import Probe, ReplyTimes, clock_gaps, gets, single_requests

PIPELINE = 100
VALUE = b"v" * 16
# Keys that the GETs ask for; they are there before the fill begins.
ASKED = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY")
    parser.add_argument("--n", type=int, default=10_000_000, help="keys")
    parser.add_argument("--control-seconds", type=float, default=10, help="length of the runs load, idle and clock")
    parser.add_argument("--worst", type=int, default=0, help="show so many of the slowest replies of each fill")
    options = parser.parse_args()
    servers = named_commands(options.servers)
    os.sched_setaffinity(0, {1})
    rows, notes = [], []
    for name, command in servers:
        with Server(name, command, core=0) as server, server.connect() as connection:
            for kind in ("idle", "load"):
                rows.append([name, kind, *control(server, connection, kind, options.control_seconds).cells()])
            for number in range(ASKED):
                connection.call("SET", key_name(number), VALUE)
            probe = Probe(single_requests, server.port, server.pid, gets(range(ASKED)))
            began_ns, began_s = time.monotonic_ns(), time.monotonic()
            for first in range(ASKED, options.n, PIPELINE):
                fill_some(connection, first, min(PIPELINE, options.n - first))
            seconds = time.monotonic() - began_s
            times = probe.finish()
            rows.append([name, "fill", *times.cells()])
            notes.append(f"{name}: {options.n} keys in {seconds:.0f} s, {server.rss_bytes() / options.n:.0f} bytes of RSS a key")
            notes += [f"  {line}" for line in times.worst(options.worst, began_ns)]
    probe = Probe(clock_gaps)
    time.sleep(options.control_seconds)
    rows.append(["-", "clock", *probe.finish().cells()])
    print_table("Time of single requests, ms", ["server", "run", *ReplyTimes.HEADER], rows)
    print("\n" + "\n".join(notes))


def fill_some(connection, first, count):
    sets = (
        b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$16\r\n%b\r\n" % (number, VALUE) for number in range(first, first + count)
    )
    connection.pipeline(b"".join(sets), b"+OK\r\n", count)


def control(server, connection, kind, seconds):
    """PINGs, beside a load of PINGs as long as the SETs of the fill, or beside nothing."""
    probe = Probe(single_requests, server.port, server.pid, [command_bytes("PING")])
    end = time.monotonic() + seconds
    if kind == "load":
        text = b"p" * (len(key_name(0)) + len(VALUE))
        request = command_bytes("PING", text) * PIPELINE
        reply = b"$%d\r\n%b\r\n" % (len(text), text)
        while time.monotonic() < end:
            connection.pipeline(request, reply, PIPELINE)
    else:
        time.sleep(seconds)
    return probe.finish()


run(main)
