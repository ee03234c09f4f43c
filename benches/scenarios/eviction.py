#!/usr/bin/env python3
"""How good the choice of what to evict is: hit ratios of a cache at maxmemory, of several servers side by side.

    eviction.py weir=target/release/weir valkey=valkey-server redis=redis-server

A trace of keys is drawn from a Zipf distribution and played to every server as a cache is used: GET, and SET where nothing was
found. The first half of the trace fills and warms the cache; the hit ratio is that of the second half. All servers get the
same trace, key by key, at the speed at which one client with a pipeline sends it.

What is fair depends on the question, so there are two answers:

* `keys`: how well does it choose? Each server's limit is what it says it uses when so many keys are in it (`--capacity`), so
  that all hold about as many, however much memory each needs for that. `held` is the mean number during the second half: a
  server that holds more may hit more often for that reason alone.
* `bytes`: what does a user get? All servers have the same limit, that of the first server of the `keys` runs.

`exact` is what the policy gives that knows everything: the least recently used of all, or the key that was used least often
of all those that it has seen in the cache.

The server runs on core 0, the client on core 1.
"""

import argparse
import collections
import heapq
import itertools
import os
import random
from measured_server import Server, command_bytes, figure, fill, key_name, named_commands, print_table, run

VALUE = b"x" * 64
BATCH = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY")
    parser.add_argument("--capacity", type=int, default=100_000, help="keys that fit")
    parser.add_argument("--universe", type=int, default=1_000_000, help="keys that there are")
    parser.add_argument("--requests", type=int, default=3_000_000, help="length of the trace")
    parser.add_argument("--skews", default="0.7,0.9,1.1", help="exponents of the distribution")
    parser.add_argument("--policies", default="allkeys-lru,allkeys-lfu")
    parser.add_argument("--fair", default="keys,bytes", help="which of the two answers")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.sched_setaffinity(0, {1} & os.sched_getaffinity(0) or os.sched_getaffinity(0))
    servers = named_commands(options.servers)
    rows = []
    for skew in options.skews.split(","):
        trace = zipf(float(skew), options.universe, options.requests, options.seed)
        for policy in options.policies.split(","):
            ideal = exact(policy, trace, options.capacity)
            rows.append([skew, policy, "exact", "keys", f"{100 * ideal:.2f}" if ideal else "-", str(options.capacity), ""])
            shared = None
            for fair in options.fair.split(","):
                for name, command in servers:
                    limit = shared if fair == "bytes" else None
                    hits, held, limit, ns = play(name, command, policy, trace, options.capacity, limit)
                    shared = shared or limit
                    rows.append([skew, policy, name, fair, f"{100 * hits:.2f}", f"{held:.0f}", f"{ns:.0f}"])
    header = ["skew", "policy", "server", "fair by", "hits %", "held", "ns a request"]
    print_table(f"{options.requests} requests for {options.universe} keys, {options.capacity} fit", header, rows)


def zipf(skew, universe, requests, seed):
    """Numbers of keys; small numbers are asked for often."""
    weights = itertools.accumulate((rank + 1) ** -skew for rank in range(universe))
    return random.Random(seed).choices(range(universe), cum_weights=list(weights), k=requests)


def play(name, command, policy, trace, capacity, limit):
    """Plays a trace. Returns the hit ratio, keys held, the limit in bytes, and processor time of the server a request."""
    with Server(name, command, core=0, options=["--maxmemory-policy", policy]) as server, server.connect() as connection:
        if limit is None:
            fill(connection, (command_bytes("SET", key_name(n), VALUE) for n in range(capacity)))
            limit = figure(connection, "memory", "used_memory")
            connection.call("FLUSHALL")
        connection.call("CONFIG", "SET", "maxmemory", str(limit))
        half = len(trace) // 2
        ask(connection, trace[:half])
        held, began_ns = [], server.processor_ns()
        hits = 0
        for start in range(half, len(trace), 50_000):
            hits += ask(connection, trace[start : start + 50_000])
            held.append(connection.call("DBSIZE"))
        used_ns = server.processor_ns() - began_ns
        return hits / (len(trace) - half), sum(held) / len(held), limit, used_ns / (len(trace) - half)


def ask(connection, trace):
    """GET, and SET of what is not there. Returns the number of hits."""
    hits = 0
    for start in range(0, len(trace), BATCH):
        batch = trace[start : start + BATCH]
        connection.socket.sendall(b"".join(command_bytes(b"GET", key_name(n)) for n in batch))
        missed = [n for n, value in zip(batch, connection.replies(len(batch))) if value is None]
        hits += len(batch) - len(missed)
        if missed:
            request = b"".join(command_bytes(b"SET", key_name(n), VALUE) for n in missed)
            connection.pipeline(request, b"+OK\r\n", len(missed))
    return hits


def exact(policy, trace, capacity):
    """Hit ratio of the second half with a policy that knows everything; `None` for one that there is no such thing for."""
    rule = {"allkeys-lru": LeastRecent, "allkeys-lfu": LeastFrequent}.get(policy)
    if rule is None:
        return None
    cache, half = rule(capacity), len(trace) // 2
    for key in itertools.islice(trace, half):
        cache.hit(key)
    return sum(cache.hit(key) for key in itertools.islice(trace, half, None)) / (len(trace) - half)


class LeastRecent:
    def __init__(self, capacity):
        self.capacity, self.keys = capacity, collections.OrderedDict()

    def hit(self, key):
        if key in self.keys:
            self.keys.move_to_end(key)
            return True
        if len(self.keys) == self.capacity:
            self.keys.popitem(last=False)
        self.keys[key] = None
        return False


class LeastFrequent:
    def __init__(self, capacity):
        self.capacity, self.uses, self.heap, self.clock = capacity, {}, [], itertools.count()

    def hit(self, key):
        known = key in self.uses
        if not known and len(self.uses) == self.capacity:
            # Entries of the heap may say less than what is true by now: those go back.
            while True:
                uses, _, oldest = heapq.heappop(self.heap)
                if self.uses[oldest] == uses:
                    break
                heapq.heappush(self.heap, (self.uses[oldest], next(self.clock), oldest))
            del self.uses[oldest]
        self.uses[key] = self.uses.get(key, 0) + 1
        if not known:
            heapq.heappush(self.heap, (1, next(self.clock), key))
        return known


run(main)
