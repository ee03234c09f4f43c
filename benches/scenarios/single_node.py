#!/usr/bin/env python3
"""What one node does beside keeping values: processor time of transactions, scripts, permissions, tracking, TLS and eviction,
of several servers side by side.

    single_node.py weir=target/release/weir valkey=valkey-server redis=redis-server

The server runs on core 0, the load generator (a valkey-benchmark, found on the PATH or named by $LOADGEN) on core 1. Rounds
are interleaved, so that what happens to the machine meanwhile happens to all servers; printed are medians of processor time
for one request (for a transaction: all its commands), of requests a second, and of the first server's ratio to the best of
the others, taken round by round.

TLS needs `openssl` for a certificate, which is made for the run, and servers that have TLS.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
from measured_server import Failed, Server, command_bytes, fill, free_port, key_name, load_generator, named_commands, print_table, run

LOAD_SECONDS_MAX = 600
KEYS = 100_000
VALUE = b"v" * 64
SCRIPT = """
redis.call('SET', KEYS[1], ARGV[1])
local value = redis.call('GET', KEYS[1])
redis.call('HSET', KEYS[2], 'field', value)
redis.call('INCR', KEYS[3])
return redis.call('HGET', KEYS[2], 'field')
"""
RULES = ["+get", "+set", "+@hash", "-@dangerous"] + [f"~{name}:*" for name in ("user", "cart", "order", "page", "item", "key")]
EVICTION_BYTES = 64 << 20


class Line:
    """What is measured: how the server is started and prepared, and what the load generator is told."""

    def __init__(self, name, load, pipelines=(1, 16), options=(), prepare=None, is_tls=False, requests=100_000, commands=1):
        """`load`: arguments of the load generator, or a function of what `prepare` gives back. `commands`: as how many the
        load generator counts one request."""
        self.name, self.load, self.pipelines, self.options = name, load, pipelines, options
        self.prepare, self.is_tls, self.requests, self.commands = prepare, is_tls, requests, commands


def filled(connection):
    fill(connection, (command_bytes("SET", key_name(n), VALUE) for n in range(KEYS)))


def with_script(connection):
    filled(connection)
    return connection.call("SCRIPT", "LOAD", SCRIPT).decode()


def with_short_script(connection):
    filled(connection)
    return connection.call("SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])").decode()


def with_user(connection):
    filled(connection)
    connection.call("ACL", "SETUSER", "bench", "on", ">secret", *RULES)


def until_full(connection):
    """So many keys that the limit on memory is well exceeded."""
    fill(connection, (command_bytes("SET", key_name(n), VALUE) for n in range(EVICTION_BYTES // 64)))


KEY = "key:__rand_int__"
LINES = [
    Line("GET", ["-t", "get"], prepare=filled),
    Line("MULTI, 10 SET, EXEC", ["--", "MULTI", ";", "10", "SET", KEY, "__data__", ";", "EXEC"], prepare=filled, commands=12),
    Line(
        "EVALSHA with 5 calls",
        lambda sha: ["--", "EVALSHA", sha, "3", KEY, "hash:__rand_int__", "counter:__rand_int__", "__data__"],
        prepare=with_script,
    ),
    Line("EVALSHA with a GET", lambda sha: ["--", "EVALSHA", sha, "1", KEY], prepare=with_short_script),
    Line("GET, tracking on", ["-3", "--enable-tracking", "-t", "get"], prepare=filled),
    Line("GET, 10 ACL rules", ["--user", "bench", "-a", "secret", "-t", "get"], prepare=with_user),
    Line("GET over TLS", ["-t", "get"], prepare=filled, is_tls=True, requests=50_000),
    Line(
        "SET at maxmemory, allkeys-lru",
        ["-t", "set", "-r", str(EVICTION_BYTES // 16)],
        options=["--maxmemory", str(EVICTION_BYTES), "--maxmemory-policy", "allkeys-lru"],
        prepare=until_full,
    ),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY", help="the first is compared with the others")
    parser.add_argument("--lines", default="", help="only lines whose names hold one of these words, by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer requests")
    options = parser.parse_args()
    generator = load_generator()
    servers = named_commands(options.servers)
    words = [word.lower() for word in options.lines.split(",") if word]
    lines = [line for line in LINES if not words or any(word in line.name.lower() for word in words)]
    results = {}
    with tempfile.TemporaryDirectory(prefix="measured-") as folder:
        if any(line.is_tls for line in lines):
            make_certificate(folder)
        for _ in range(options.rounds):
            for line in lines:
                for name, command in servers:
                    measure(generator, line, name, command, folder, options.scale, results)
    show([name for name, _ in servers], results)


def make_certificate(folder):
    if not shutil.which("openssl"):
        raise Failed("no openssl for the certificate of the TLS line")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key", "-out", f"{folder}/cert"]
    subprocess.run(command, check=True, capture_output=True)


def measure(generator, line, name, command, folder, scale, results):
    """Starts a server and runs one line at each depth of pipeline."""
    options, port = list(line.options), None
    if line.is_tls:
        port = free_port()
        options += ["--tls-port", str(port), "--tls-cert-file", f"{folder}/cert", "--tls-key-file", f"{folder}/key"]
        options += ["--tls-ca-cert-file", f"{folder}/cert", "--tls-auth-clients", "no"]
    with Server(name, command, core=0, options=options) as server:
        with server.connect() as connection:
            prepared = line.prepare(connection) if line.prepare else None
        load = line.load(prepared) if callable(line.load) else line.load
        for pipeline in line.pipelines:
            requests = int(line.requests * scale * (1 if pipeline == 1 else 5))
            head = [generator, "-h", "127.0.0.1", "-p", str(port or server.port), "--csv", "-c", "50", "-d", str(len(VALUE))]
            head += ["-n", str(requests), "-P", str(pipeline)] + ([] if "-r" in load else ["-r", str(KEYS)])
            if line.is_tls:
                head += ["--tls", "--cacert", f"{folder}/cert"]
            before_ns = server.processor_ns()
            done = subprocess.run(
                head + load,
                capture_output=True,
                text=True,
                timeout=LOAD_SECONDS_MAX,
                preexec_fn=lambda: os.sched_setaffinity(0, {1}),
            )
            spent_us = (server.processor_ns() - before_ns) / 1000
            rows = [row for row in done.stdout.splitlines() if row.startswith('"') and not row.startswith('"test"')]
            if done.returncode != 0 or len(rows) != 1:
                raise Failed(f"{line.name} on {name}: {done.stdout[-300:]} {done.stderr[-300:]}")
            rate = float(rows[0].rsplit('","')[1].strip('"'))
            results.setdefault((line.name, pipeline), {}).setdefault(name, []).append((spent_us / requests * line.commands, rate / line.commands))


def show(names, results):
    rows = []
    for (line, pipeline), by_server in results.items():
        first, others = by_server[names[0]], [by_server[name] for name in names[1:]]
        cells = [f"{statistics.median(cost for cost, _ in by_server[name]):.2f}" for name in names]
        ratios = [own[0] / min(other[at][0] for other in others) for at, own in enumerate(first)] if others else []
        cells += [f"{statistics.median(ratios):.2f}" if ratios else ""]
        cells += [f"{statistics.median(rate for _, rate in by_server[name]):,.0f}" for name in names]
        rows.append([line, pipeline, *cells])
    header = ["", "P", *(f"{name} us" for name in names), "ratio", *(f"{name} /s" for name in names)]
    print_table("Processor time per request; its ratio to the best peer; requests per second", header, rows)


if __name__ == "__main__":
    run(main)
