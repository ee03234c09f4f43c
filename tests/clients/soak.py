#!/usr/bin/env python3
"""Connects again and again, brings each connection into one state, and ends it there: nothing may be left behind.

    soak.py HOST PORT [--password PASSWORD] [--tls-port PORT] [--connects N] [--only STATE] [--pid PID]

For each state a connection can be in (plain, half a command, in MULTI, watching, tracking, subscribed, blocked, in
MONITOR, not reading, ...), --connects connections (default 2000) come and go: some close, some break off, some are
killed by another client. Half-way through, with nobody left, memory is measured, and at the end again: it may not have
grown by more than GROWTH_BYTES, however many connections came. Buffers that the server keeps to use them again are no
leak, but may be there at one time and not at another: so if it has grown, half as many connections as before come again,
up to MEASURES_MAX times, until it has not. No figure of INFO may tell of a client that is not there.

Prints one line a state and closes with `N passed, N failed`. It flushes database 9 of the server it is given. With
--connects 1000000 it takes some minutes a state; for states that take long the number is divided (`share`). --pid adds
what the process occupies. States over TLS are left out without --tls-port; certificates are not checked.
"""

import argparse
import functools
import socket
import ssl
import struct
import sys
import time

BATCH = 100
GROWTH_BYTES = 256 * 1024
MEASURES_MAX = 5
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


class State:
    """How connections are brought into a state. `make`, a function of a connection's number, gives what is sent, and
    whether a reply comes at all."""

    def __init__(self, make, share, over_tls, never_ends):
        self.make, self.share, self.over_tls, self.never_ends = make, share, over_tls, never_ends


def state(name, share=1, over_tls=False, never_ends=False):
    """Registers a state. `share`: only one of so many connections comes. `over_tls`: to that port; `never_ends`: what is
    sent runs until it is killed, one at a time."""

    def register(function):
        STATES[name] = State(function, share, over_tls, never_ends)
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


@state("not reading", share=5)
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


@state("running a script that never ends", share=100, never_ends=True)
def stuck(n):
    # It writes nothing, or it could not be killed.
    script = f"local t = {{redis.call('GET', KEYS[1]), {n % 100}}} while true do t[#t % 1000 + 1] = #t .. 'x' end"
    return command("EVAL", script, 1, "soak:a"), True


@state("over TLS", share=10, over_tls=True)
def over_tls(n):
    return (plain, blocked, multi, subscribed, not_reading)[n % 5](n)[0], True


@state("in a TLS handshake", share=5, over_tls="raw")
def handshake(n):
    return hello()[: 1 + n * 7 % len(hello())], False


@functools.cache
def hello():
    """What a client begins a TLS connection with."""
    sent = ssl.MemoryBIO()
    try:
        tls_context().wrap_bio(ssl.MemoryBIO(), sent).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return sent.read()


@functools.cache
def tls_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Connection:
    def __init__(self, options, over_tls=False):
        self.socket = socket.create_connection((options.host, options.tls_port if over_tls else options.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if over_tls is True:
            self.socket = tls_context().wrap_socket(self.socket)
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

    def connect(self, over_tls=False):
        connection = Connection(self.options, over_tls)
        if self.options.password and over_tls != "raw":
            connection.call("AUTH", self.options.password)
        return connection

    def info(self):
        lines = self.control.call("INFO", "everything").decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def settled(self):
        """Figures once only the control connection is left, and memory does not become less any more."""
        end = time.monotonic() + 120
        before = None
        while True:
            info = self.info()
            alone = int(info["connected_clients"]) == 1 and info.get("lazyfree_pending_objects", "0") == "0"
            now = int(info["used_memory"]) if alone else None
            if before and now and now > before - 1024:
                return info
            before = now
            assert time.monotonic() < end, f"{info['connected_clients']} clients are still there"
            time.sleep(0.02)

    def batch(self, state, size):
        connections = []
        for _ in range(size):
            connection = self.connect(state.over_tls)
            connection.socket.settimeout(60)
            self.number += 1
            sent, _ = state.make(self.number)
            raw = state.over_tls == "raw"
            if sent:
                connection.socket.sendall(sent if raw else command("SELECT", 9) + sent)
            connections.append((connection, bool(sent) and not raw))
        for connection, answered in connections:
            if answered:
                # What came before the state is answered: the server has begun to read.
                connection.socket.recv(1)
        if self.number // BATCH % 3 == 0:
            self.control.call("CLIENT", "KILL", "TYPE", "normal")
            self.control.call("CLIENT", "KILL", "TYPE", "pubsub")
        for at, (connection, _) in enumerate(connections):
            if at % 2:
                # Breaks off: what has not arrived never will.
                self.break_off(connection)
            else:
                connection.input.close()
                connection.socket.close()

    def break_off(self, connection):
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.input.close()
        connection.socket.close()

    def one_that_never_ends(self, state):
        """A script is running when its client leaves, and is killed afterwards; or the other way about."""
        self.number += 1
        connection = self.connect()
        connection.socket.sendall(state.make(self.number)[0])
        self.until("is running", lambda: self.control.call("PING").startswith(b"-BUSY"))
        leaves_first = self.number % 2
        if leaves_first:
            self.break_off(connection)
        self.until("can be killed", lambda: self.control.call("SCRIPT", "KILL") == b"+OK")
        self.until("has ended", lambda: self.control.call("PING") == b"+PONG")
        if not leaves_first:
            connection.socket.settimeout(60)
            connection.socket.recv(1)
            self.break_off(connection)

    def until(self, what, is_so):
        end = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < end, f"not so: the script {what}"

    def come_and_go(self, state, count):
        if state.never_ends:
            _, threshold_ms = self.control.call("CONFIG", "GET", "busy-reply-threshold")
            self.control.call("CONFIG", "SET", "busy-reply-threshold", 1)
            for _ in range(count):
                self.one_that_never_ends(state)
            self.control.call("CONFIG", "SET", "busy-reply-threshold", threshold_ms)
        else:
            for done in range(0, count, BATCH):
                self.batch(state, min(BATCH, count - done))
        # What was read by clients that track is kept until it changes.
        for n in range(500):
            self.control.call("SET", f"soak:{n}", n)

    def run(self, state):
        self.control.call("FLUSHDB")
        self.control.call("SET", "soak:big", "x" * 100_000)
        half = max(self.options.connects // state.share // 2, 10 if state.never_ends else BATCH)
        measured = []
        grown = GROWTH_BYTES + 1
        while grown > GROWTH_BYTES and len(measured) < MEASURES_MAX:
            self.come_and_go(state, half)
            info = self.settled()
            measured.append((int(info["used_memory"]), self.resident(), {name: info.get(name) for name in FIGURES}))
            if len(measured) > 1:
                grown = measured[-1][0] - measured[-2][0]
        (_, rss_before, figures_before), (_, rss_after, figures) = measured[-2:]
        assert figures == figures_before, f"{figures_before} became {figures}"
        assert grown <= GROWTH_BYTES, f"memory grows with every {half} connections: {[one[0] for one in measured]}"
        rss = f", resident {rss_after - rss_before:+d}" if rss_before else ""
        return f"{len(measured) * half} connections, {grown:+d} bytes{rss}"

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
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--connects", type=int, default=2000)
    parser.add_argument("--only")
    parser.add_argument("--pid", type=int)
    options = parser.parse_args()
    passed = failed = 0
    for name, state in STATES.items():
        if options.only and options.only not in name or state.over_tls and not options.tls_port:
            continue
        began = time.monotonic()
        try:
            found = Soak(options).run(state)
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
