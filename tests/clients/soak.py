#!/usr/bin/env python3
"""Connects again and again, brings each connection into one state, and ends it there: nothing may be left behind.

    soak.py HOST PORT [--password PASSWORD] [--connects N] [--only STATE] [--pid PID]

For each state a connection can be in (plain, half a command, in MULTI, watching, tracking, subscribed, blocked, in
MONITOR, not reading, ...), --connects connections (default 2000) come and go: some close, some break off, some are
killed by another client. Half-way through, with nobody left, memory is measured, and at the end again: it may not have
grown by more than GROWTH_BYTES, however many connections came. No figure of INFO may tell of a client that is not there.

Prints one line a state and closes with `N passed, N failed`. It flushes database 9 of the server it is given. With
--connects 1000000 it takes some minutes a state. --pid adds what the process occupies.
"""

import argparse
import socket
import struct
import sys
import time

BATCH = 100
GROWTH_BYTES = 256 * 1024
# What clients may leave in INFO: all of them must be as they were.
FIGURES = (
    "connected_clients",
    "blocked_clients",
    "tracking_clients",
    "tracking_total_prefixes",
    "tracking_total_keys",
    "pubsub_clients",
    "watching_clients",
    "clients_in_timeout_table",
    "total_blocking_keys",
    "pubsub_channels",
    "pubsub_patterns",
    "pubsubshard_channels",
    "total_watched_keys",
)
STATES = {}


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def state(name):
    """Registers a state: a function of a connection's number gives what is sent, and whether a reply comes at all."""

    def register(function):
        STATES[name] = function
        return function

    return register


@state("plain")
def plain(_):
    return command("PING"), True


@state("silent")
def silent(_):
    return b"", False


@state("half a command")
def half(n):
    return b"*2\r\n$3\r\nGET\r\n$100000\r\n" + b"x" * (n % 30_000), False


@state("a broken request")
def broken(_):
    return b"*1\r\n+oh no\r\n", True


@state("in MULTI")
def multi(n):
    return command("MULTI") + command("SET", "soak:a", "x" * (n % 5000)) + command("NOSUCHCOMMAND"), True


@state("watching")
def watching(n):
    keys = [f"soak:{(n + i) % 500}" for i in range(10)]
    return command("WATCH", *keys) + command("MULTI") + command("GET", keys[0]), True


@state("tracking")
def tracking(n):
    keys = [f"soak:{(n + i) % 500}" for i in range(10)]
    return command("HELLO", 3) + command("CLIENT", "TRACKING", "ON") + command("MGET", *keys), True


@state("tracking with prefixes")
def broadcasting(n):
    prefixes = [word for i in range(5) for word in ("PREFIX", f"{n * 7 + i}:")]
    return command("HELLO", 3) + command("CLIENT", "TRACKING", "ON", "BCAST", *prefixes), True


@state("subscribed")
def subscribed(n):
    return (
        command("SUBSCRIBE", *[f"channel:{(n + i) % 3000}" for i in range(5)])
        + command("PSUBSCRIBE", f"pattern:{n}:*", "*:all")
        + command("SSUBSCRIBE", f"shard:{n}"),
        True,
    )


@state("blocked")
def blocked(n):
    if n % 3 == 0:
        return command("XREAD", "BLOCK", 0, "STREAMS", f"soak:stream:{n % 500}", "$"), False
    if n % 3 == 1:
        return command("BZPOPMIN", f"soak:zset:{n}", f"soak:zset:{n + 1}", 100), False
    return command("BLPOP", f"soak:list:{n % 50}", f"soak:list:{n}", 0), False


@state("in MONITOR")
def monitoring(_):
    return command("MONITOR"), True


@state("not reading")
def not_reading(n):
    return command("GET", "soak:big") * (1 + n % 40), False


@state("with a name and options")
def named(n):
    return (
        command("CLIENT", "SETNAME", f"name-{n}")
        + command("CLIENT", "SETINFO", "LIB-NAME", f"soak-{n}")
        + command("CLIENT", "NO-EVICT", "ON")
        + command("CLIENT", "REPLY", "OFF"),
        True,
    )


@state("running a script")
def script(n):
    return command("EVAL", f"return redis.call('INCR', KEYS[1]) + {n % 100}", 1, "soak:script"), True


class Connection:
    def __init__(self, options):
        self.socket = socket.create_connection((options.host, options.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def call(self, *words):
        self.socket.sendall(command(*words))
        return self.reply()

    def reply(self):
        line = self.input.readline()
        if line[:1] in b"+-:":
            return line[:-2]
        length = int(line[1:])
        if line[:1] == b"$":
            return None if length < 0 else self.input.read(length + 2)[:-2]
        return [self.reply() for _ in range(length)]


class Soak:
    def __init__(self, options):
        self.options = options
        self.control = self.connect()
        self.control.call("SELECT", 9)
        self.control.call("CLIENT", "NO-EVICT", "ON")
        self.number = 0

    def connect(self):
        connection = Connection(self.options)
        if self.options.password:
            connection.call("AUTH", self.options.password)
        return connection

    def info(self):
        lines = self.control.call("INFO", "everything").decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def settled(self):
        """Figures once only the control connection is left."""
        end = time.monotonic() + 20
        while True:
            info = self.info()
            if int(info["connected_clients"]) == 1 and info.get("lazyfree_pending_objects", "0") == "0":
                return info
            assert time.monotonic() < end, f"{info['connected_clients']} clients are still there"
            time.sleep(0.02)

    def batch(self, make, size):
        connections = []
        for _ in range(size):
            connection = self.connect()
            connection.socket.settimeout(10)
            self.number += 1
            sent, replies = make(self.number)
            if sent:
                connection.socket.sendall(command("SELECT", 9) + sent)
            connections.append((connection, bool(sent)))
        for connection, sent in connections:
            if sent:
                # What came before the state is answered: the server has begun to read.
                connection.socket.recv(1)
        if self.number // BATCH % 3 == 0:
            self.control.call("CLIENT", "KILL", "TYPE", "normal")
            self.control.call("CLIENT", "KILL", "TYPE", "pubsub")
        for at, (connection, _) in enumerate(connections):
            if at % 2:
                # Breaks off: what has not arrived never will.
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.input.close()
            connection.socket.close()

    def run(self, make):
        self.control.call("FLUSHDB")
        self.control.call("SET", "soak:big", "x" * 100_000)
        half = max(self.options.connects // 2, BATCH)
        measured = []
        for _ in range(2):
            for done in range(0, half, BATCH):
                self.batch(make, min(BATCH, half - done))
            # What was read by clients that track is kept until it changes.
            for n in range(500):
                self.control.call("SET", f"soak:{n}", n)
            info = self.settled()
            measured.append((int(info["used_memory"]), self.resident(), {name: info.get(name) for name in FIGURES}))
        (before, rss_before, figures_before), (after, rss_after, figures) = measured
        assert figures == figures_before, f"{figures_before} became {figures}"
        grown = after - before
        assert grown <= GROWTH_BYTES, f"memory has grown by {grown} bytes, from {before} to {after}"
        rss = f", resident {rss_after - rss_before:+d}" if rss_before else ""
        return f"{2 * half} connections, {grown:+d} bytes{rss}"

    def resident(self):
        if not self.options.pid:
            return 0
        with open(f"/proc/{self.options.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def main():
    parser = argparse.ArgumentParser(description="Checks that clients which go leave nothing behind.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--password")
    parser.add_argument("--connects", type=int, default=2000)
    parser.add_argument("--only")
    parser.add_argument("--pid", type=int)
    options = parser.parse_args()
    passed = failed = 0
    for name, make in STATES.items():
        if options.only and options.only not in name:
            continue
        began = time.monotonic()
        try:
            found = Soak(options).run(make)
        except Exception as error:
            failed += 1
            print(f"FAILED  soak: {name}: {type(error).__name__}: {error}", flush=True)
        else:
            passed += 1
            print(f"ok      soak: {name}: {found} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
