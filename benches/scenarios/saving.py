#!/usr/bin/env python3
"""What clients and memory feel of a snapshot, and how long saving and loading take, of several servers side by side.

    saving.py weir=target/release/weir valkey=valkey-server redis=redis-server

A server is filled with strings of 64 bytes and one large sorted set. Then a load generator writes to random keys at a steady
rate, while a probe sends one GET after the other: first with nothing else going on, then during BGSAVE, then, with
`appendonly yes`, during BGREWRITEAOF. What the columns of reply times mean stands in `reply_times.py`. `grown` is the peak of the
process's resident memory above that before; of servers that fork, `copied` is what they say they copied beside it. At the end the
server is started again on its files.

Nothing is bound to a processor: who saves in the background may use another one.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from measured_server import Failed, Server, command_bytes, figure, fill_with_any, load_generator, named_commands, print_table, run
from reply_times import Probe, ReplyTimes, single_requests

WAIT_SECONDS_MAX = 600
MEMBERS_OF_COMMAND = 100
QUIET_SECONDS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY")
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--members", type=int, default=5_000_000, help="of the sorted set")
    parser.add_argument("--rate", type=int, default=50_000, help="writes a second; 0 for none")
    parser.add_argument("--aof", action="store_true", help="rewrite an append-only file as well")
    parser.add_argument("--loads", type=int, default=3, help="starts of which the median is taken")
    options = parser.parse_args()
    generator = load_generator()
    times, figures = [], []
    for name, command in named_commands(options.servers):
        measure(name, command, generator, options, times, figures)
    title = f"GETs beside {options.rate} writes a second, {options.keys} keys and {options.members} members, ms"
    print_table(title, ["server", "meanwhile", *ReplyTimes.HEADER], times)
    header = ["server", "what", "seconds", "MB written", "MB before", "grown %", "copied %"]
    print_table("Saving and loading", header, figures)


def measure(name, command, generator, options, times, figures):
    directory = tempfile.mkdtemp(prefix="measured-")
    try:
        with Server(name, command, directory=directory) as server, server.connect() as connection:
            fill(server, connection, generator, options)
            phases = [("nothing", None, None, None)]
            phases.append(("BGSAVE", "BGSAVE", "rdb_bgsave_in_progress", "rdb_last_cow_size"))
            if options.aof:
                phases.append(("BGREWRITEAOF", "BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_cow_size"))
            for phase, start, running, copied in phases:
                if start == "BGREWRITEAOF":
                    connection.call("CONFIG", "SET", "appendonly", "yes")
                    wait_until_zero(connection, "aof_rewrite_in_progress", None)
                    time.sleep(1)
                with Load(generator, server, options):
                    time.sleep(1)
                    before = server.rss_bytes()
                    probe = Probe(single_requests, server.port, server.pid, some_gets(options.keys))
                    began = time.monotonic()
                    peak = before
                    if start is None:
                        time.sleep(QUIET_SECONDS)
                    else:
                        connection.call(start)
                        peak = wait_until_zero(connection, running, server)
                    seconds = time.monotonic() - began
                    times.append([name, phase, *probe.finish().cells()])
                if start is not None:
                    grown = (peak - before) / before * 100
                    share = figure(connection, "persistence", copied) / before * 100
                    # Who does not fork has what it kept in its own memory.
                    forked = "-" if name == "weir" else f"{share:.1f}"
                    written = files_bytes(directory) / 1e6
                    cells = [f"{seconds:.1f}", f"{written:.0f}", f"{before / 1e6:.0f}", f"{grown:.1f}", forked]
                    figures.append([name, phase, *cells])
            connection.call("CONFIG", "SET", "appendonly", "no")
            connection.call("SAVE")
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        shutil.rmtree(os.path.join(directory, "appendonlydir"), ignore_errors=True)
        load(name, command, directory, options, figures)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def fill(server, connection, generator, options):
    common = [generator, "-p", str(server.port), "-P", "64", "-q"]
    strings = ["--sequential", "-r", str(options.keys), "-n", str(options.keys), "-t", "set", "-d", "64"]
    subprocess.run(common + strings, check=True, stdout=subprocess.DEVNULL)
    members = (
        [part for n in range(first, first + MEMBERS_OF_COMMAND) for part in (n * 7919 % 1_000_003, b"member:%010d" % n)]
        for first in range(0, options.members, MEMBERS_OF_COMMAND)
    )
    fill_with_any(connection, (command_bytes("ZADD", "zset", *part) for part in members), 20)


def some_gets(keys):
    step = max(1, keys // 5000)
    return [command_bytes("GET", b"key:%012d" % number) for number in range(0, keys, step)]


class Load:
    """Writes at a steady rate, for as long as the `with` lasts."""

    def __init__(self, generator, server, options):
        self.command = [generator, "-p", str(server.port), "-t", "set", "-d", "64", "-r", str(options.keys), "-q"]
        self.command += ["-n", "1000000000", "-c", "50", "-P", "10", "--rps", str(options.rate)]
        self.rate = options.rate

    def __enter__(self):
        self.process = None
        if self.rate:
            self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()


def wait_until_zero(connection, field, server):
    """Waits for the end, and returns the most memory that the process had meanwhile."""
    peak, end = 0, time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < end:
        if server:
            peak = max(peak, server.rss_bytes())
        if figure(connection, "persistence", field) == 0:
            return peak
        time.sleep(0.05)
    raise Failed(f"{field} does not end")


def files_bytes(directory):
    sizes = []
    for folder, _, names in os.walk(directory):
        sizes += [os.path.getsize(os.path.join(folder, name)) for name in names if name != "log"]
    return sum(sizes)


def load(name, command, directory, options, figures):
    seconds = []
    for _ in range(options.loads):
        began = time.monotonic()
        with Server(name, command, directory=directory) as server, server.connect() as connection:
            while figure(connection, "persistence", "loading") != 0:
                time.sleep(0.01)
            seconds.append(time.monotonic() - began)
            if connection.call("DBSIZE") < options.keys:
                raise Failed(f"{name} has not loaded everything")
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
    written = os.path.getsize(os.path.join(directory, "dump.rdb")) / 1e6
    figures.append([name, "load", f"{statistics.median(seconds):.2f}", f"{written:.0f}", "-", "-", "-"])


run(main)
