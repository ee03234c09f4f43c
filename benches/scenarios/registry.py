#!/usr/bin/env python3
"""The registry beside etcd and ZooKeeper: reads and writes a second, a change to ten thousand observers, what one weighs,
and how long it takes who was away to be told what he missed.

    registry.py target/release/weir
    registry.py target/release/weir --only put,observe --rounds 1 --without zookeeper

Values are 128 bytes long, at 10,000 paths. What "on disk" means is the same in a line of a table:

on disk when answered       Weir's store is DURABLE; etcd and ZooKeeper as they are: all of them force what they answer to disk, many
                            writes at a time
on disk a little later      Weir forces its append-only file every second; etcd runs with --unsafe-no-fsync and ZooKeeper with forceSync=no:
                            they write, and leave it to the system when it reaches the disk

`registries.sh` brings both here. The load is `benches/registry_load`, built by this script: one process with one thread, clients
of the three protocols that do no more than they must: etcd's is gRPC with all requests of a connection on streams of their own,
ZooKeeper's and Weir's pipelined. Each has the number of connections that serves it best.

Rounds are interleaved: for each scenario every registry has its turn with a fresh server and fresh data, then all again. Before the
counting begins each has the same to do once, for ZooKeeper's Java compiles itself while it runs. Figures are medians of
rounds. Servers may use all processors, as may the load; processor time is that of the server's process with all its
threads, for each request.
"""

import argparse
import os
import re
import signal
import socket
import statistics
import subprocess
import time
from measured_server import Failed, Foreign, Server, build_load, figures_of, print_table, run, run_script

RUN_SECONDS_MAX = 900
SCRIPT = "registries.sh"
WEIR, ETCD, ZOOKEEPER = "Weir", "etcd", "ZooKeeper"
PERSISTED = ["--appendonly", "yes", "--appendfsync", "everysec", "--maxclients", "30000"]
UNFORCED = {ETCD: {"options": "--unsafe-no-fsync"}, ZOOKEEPER: {"options": "forceSync=no\n"}}
ATTACH_SECONDS_MAX = 10
SHARED_CONNECTIONS = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weir", help="the server's program, with options of its own if need be")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="which scenarios")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=100_000, help="for etcd and ZooKeeper; Weir has five times as many")
    parser.add_argument("--observers", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--held", type=int, default=200_000, help="observers whose memory is measured")
    parser.add_argument("--without", default="", help="registries to leave out: weir,etcd,zookeeper")
    options = parser.parse_args()
    without = {name for name in (WEIR, ETCD, ZOOKEEPER) if name.lower() in options.without.split(",")}
    for name in {ETCD, ZOOKEEPER} - without:
        version = run_script(SCRIPT, "get", name.lower())
        if version.returncode != 0:
            raise Failed(version.stderr.strip())
        print(f"beside {version.stdout.strip()}")
    bench = Bench(build_load("weir-registry-load", "registry_load"), options, without)
    for name in options.only.split(","):
        scenario = SCENARIOS.get(name)
        if scenario is None:
            raise Failed(f"there is no scenario '{name}', only {', '.join(SCENARIOS)}")
        scenario(bench, options)


class Bench:
    """Runs scenarios."""

    def __init__(self, load, options, without):
        self.load, self.weir, self.rounds, self.without = load, options.weir, options.rounds, without

    def rounds_of(self, runs, once=None):
        """`runs`: a list of (line, registry, files of its server, scenario, options). Figures of all rounds, for each line."""
        once = once or self.once
        runs = [one for one in runs if one[1] not in self.without]
        figures = {line: {} for line, *_ in runs}
        for _ in range(self.rounds):
            for line, registry, files, scenario, words in runs:
                for name, value in once(registry, files, scenario, words).items():
                    figures[line].setdefault(name, []).append(value)
        return {line: {name: statistics.median(values) for name, values in of_line.items()} for line, of_line in figures.items()}

    def server(self, registry, files):
        if registry == WEIR:
            return Server(WEIR, self.weir, options=PERSISTED)
        return Foreign(registry, SCRIPT, [registry.lower()], files)

    def command(self, registry, server, scenario, words):
        command = [self.load, scenario, registry.lower(), str(server.port)]
        return command + [f"{name.replace('_', '-')}={value}" for name, value in words.items()]

    def once(self, registry, files, scenario, words):
        with self.server(registry, files) as server:
            spent, children = server.processor_ns(), os.times()
            figures = figures_of(self.command(registry, server, scenario, words), RUN_SECONDS_MAX)
            requests = words.get("requests", 0) + words.get("warm", 0)
            if requests:
                after = os.times()
                load = after.children_user + after.children_system - children.children_user - children.children_system
                figures["server-us"] = (server.processor_ns() - spent) / 1000 / requests
                figures["load-us"] = load * 1e6 / requests
            return figures

    def held(self, registry, files, scenario, words):
        """Memory for each observer, while the load holds them."""
        with self.server(registry, files) as server:
            command = self.command(registry, server, scenario, words)
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
                try:
                    sizes = []
                    for said in ("connected", "holding"):
                        if load.stdout.readline().strip() != said:
                            raise Failed(f"{scenario} on {registry} fails")
                        # What was freed has time to go back.
                        time.sleep(2.0)
                        sizes.append((server.rss_bytes(), heap_bytes(server) if registry == ZOOKEEPER else 0))
                        load.stdin.write("\n")
                        load.stdin.flush()
                    figures = dict(pair.split("=") for pair in load.stdout.readline().split())
                finally:
                    load.kill()
            made = int(figures["made"])
            (rss, heap), (rss_after, heap_after) = sizes
            bytes_each = (heap_after - heap if registry == ZOOKEEPER else rss_after - rss) / made
            return {"bytes": bytes_each, "rate": float(figures["rate"])}


def heap_bytes(server):
    """What Java's heap holds when everything that nobody needs has gone, by the attach protocol of its virtual machine."""
    path = f"/tmp/.java_pid{server.pid}"
    if not os.path.exists(path):
        trigger = f"/tmp/.attach_pid{server.pid}"
        with open(trigger, "w", encoding="ascii"):
            pass
        try:
            os.kill(server.pid, signal.SIGQUIT)
            end = time.monotonic() + ATTACH_SECONDS_MAX
            while not os.path.exists(path):
                if time.monotonic() > end:
                    raise Failed("Java does not say what its heap holds")
                time.sleep(0.05)
        finally:
            os.remove(trigger)

    def ask(what):
        with socket.socket(socket.AF_UNIX) as java:
            java.connect(path)
            java.sendall(b"1\0jcmd\0" + what + b"\0\0\0")
            return b"".join(iter(lambda: java.recv(65536), b"")).decode()

    ask(b"GC.run")
    used = re.search(r"used (\d+)K", ask(b"GC.heap_info"))
    if used is None:
        raise Failed("Java does not say what its heap holds")
    return int(used.group(1)) * 1024


def met(figure, goal, is_most=False):
    """Whether a goal is met, in words."""
    return f"{goal:,}: {'met' if (figure <= goal if is_most else figure >= goal) else 'missed'}"


def show_requests(title, figures, goals):
    """Rates, how long one takes, processor time."""
    rows = []
    for line, values in figures.items():
        times = [f"{values[name] / 1000:,.2f}" for name in ("p50-us", "p99-us")]
        spent = [f"{values[name]:.2f}" for name in ("server-us", "load-us")]
        rows.append([line, f"{values['rate']:,.0f}", *times, *spent, met(values["rate"], goals[line]) if line in goals else ""])
    print_table(title, ["", "a second", "p50, ms", "p99, ms", "server, us", "load, us", "goal"], rows)


def all_of(options, **words):
    """Options of the load for each registry, and how many requests it has."""
    few = {"requests": options.requests, "warm": options.requests, **words}
    many = {**few, "requests": few["requests"] * 5}
    return {WEIR: many, ETCD: few, ZOOKEEPER: few}


def put(bench, options):
    """Writes, a thousand on their way; one at a time; fifty clients, each with one."""
    for title, words in (
        ("Puts, 1,000 on their way", {"outstanding": 1000}),
        ("Puts of 50 clients that wait for each", {"outstanding": 50, "connections": 50}),
        ("Puts, one at a time", {"outstanding": 1, "requests": options.requests // 20, "warm": options.requests // 20}),
    ):
        of = all_of(options, **words)
        if "connections" not in words:
            # More serve neither of the two better; one serves Weir best.
            for registry in (ETCD, ZOOKEEPER):
                of[registry] = {**of[registry], "connections": min(10, words["outstanding"])}
        later, now = "on disk a little later", "on disk when answered"
        runs = [(f"{name}, {later}", name, UNFORCED.get(name), "put", of[name]) for name in of]
        runs += [(f"{name}, {now}", name, None, "put", {**of[name], "durable": "yes"} if name == WEIR else of[name]) for name in of]
        goals = {f"{WEIR}, {later}": 150_000, f"{WEIR}, {now}": 50_000} if words["outstanding"] == 1000 else {}
        show_requests(title, bench.rounds_of(runs), goals)


def get(bench, options):
    """Reads."""
    for title, words in (
        ("Gets, 1,000 on their way", {"outstanding": 1000}),
        ("Gets of 50 clients that wait for each", {"outstanding": 50, "connections": 50}),
    ):
        of = all_of(options, **words)
        if "connections" not in words:
            for registry in (ETCD, ZOOKEEPER):
                of[registry] = {**of[registry], "connections": 10}
        runs = [(name, name, None, "get", of[name]) for name in of]
        runs.append((f"{ETCD}, serializable", ETCD, None, "get", {**of[ETCD], "reads": "serializable"}))
        show_requests(title, bench.rounds_of(runs), {})


def observe(bench, options):
    """One change to many observers."""
    for connections in (options.observers, SHARED_CONNECTIONS):
        words = {"observers": options.observers, "connections": connections, "changes": options.changes}
        # ZooKeeper knows one watch of a path in a session.
        names = [WEIR, ETCD, ZOOKEEPER] if connections == options.observers else [WEIR, ETCD]
        rows = []
        for line, values in bench.rounds_of([(name, name, None, "observe", words) for name in names]).items():
            shown = [f"{values[name]:,.2f}" for name in ("first-ms", "median-ms", "last-ms", "last-notice-ms")]
            rows.append([line, *shown, met(values["last-ms"], 20, True) if line == WEIR else ""])
        title = f"One change to {options.observers:,} observers on {connections:,} connections: milliseconds until they have the value"
        print_table(title, ["", "first", "median", "last", "last notice", "goal"], rows)


def flow(bench, options):
    """Many changes to some observers."""
    few = {"observers": 100, "connections": 100, "requests": max(options.requests // 20, 1)}
    words = {WEIR: {**few, "requests": few["requests"] * 5}, ETCD: few, ZOOKEEPER: {**few, "requests": max(few["requests"] // 5, 1)}}
    rows = []
    for line, values in bench.rounds_of([(name, name, None, "flow", words[name]) for name in words]).items():
        rows.append([line, f"{values['rate']:,.0f}", f"{values['writes']:,.0f}", f"{values['server-us']:.2f}"])
    print_table("Changes to 100 observers, as many as go", ["", "values to observers a second", "puts a second", "server, us a put"], rows)


def memory(bench, options):
    """What an observer weighs."""
    words = {"observers": options.held, "connections": 20}
    rows = []
    for line, values in bench.rounds_of([(name, name, None, "hold", words) for name in (WEIR, ETCD, ZOOKEEPER)], bench.held).items():
        goal = met(values["bytes"], 250, True) if line == WEIR else ""
        rows.append([line, f"{values['rate']:,.0f}", f"{values['bytes']:,.0f}", goal])
    title = f"{options.held:,} observers of 10,000 paths on 20 connections: bytes each (of ZooKeeper, in Java's heap)"
    print_table(title, ["", "made a second", "bytes", "goal"], rows)


def resume(bench, options):
    """Who comes back after ten thousand changes."""
    words = {"changes": options.changes}
    rows = []
    for line, values in bench.rounds_of([(name, name, None, "resume", words) for name in (WEIR, ETCD, ZOOKEEPER)]).items():
        goal = met(values["median-ms"], 50, True) if line == WEIR else ""
        rows.append([line, f"{values['median-ms']:,.2f}", f"{values['longest-ms']:,.2f}", goal])
    title = "10,000 changes missed: milliseconds until they are there (ZooKeeper: until all 10,000 paths are read again)"
    print_table(title, ["", "median", "longest", "goal"], rows)


SCENARIOS = {each.__name__: each for each in (put, get, observe, flow, memory, resume)}


if __name__ == "__main__":
    run(main)
