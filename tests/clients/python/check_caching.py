#!/usr/bin/env python3
"""Client-side caching with redis-py: its own cache, and invalidation messages that go to another connection.

    check_caching.py HOST PORT [--password PASSWORD]

Prints one line a check and closes with `N passed, N failed`. It flushes database 9 of the server it is given. Against any
server that speaks the protocol the result must be the same: a check that fails on Redis or Valkey is a wrong check.
"""

import sys
import threading

import redis
from check import DATABASE, OTHER_DATABASE, expect, main, wait_until
from redis.cache import CacheConfig

CHECKS = []


def check(function):
    """Registers a check; its name is the function's."""
    CHECKS.append(function)
    return function


def speaking(server, protocol, **options):
    """A client that speaks one version of the protocol, whatever the others speak."""
    r = redis.Redis(
        host=server.host, port=server.port, password=server.password, db=DATABASE, protocol=protocol, **options
    )
    server.clients.append(r)
    return r


def caching(server, **options):
    """A client with a cache: that needs RESP3."""
    return speaking(server, 3, cache_config=CacheConfig(**options))


def gets(r):
    """How many GET the server has run."""
    return r.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"]


@check
def a_value_is_fetched_once_until_it_changes(server):
    other, cached = server.client(), caching(server)
    other.set("k", "1")
    before = gets(other)
    expect([cached.get("k") for _ in range(20)], [b"1"] * 20)
    expect(gets(other), before + 1)
    other.set("k", "2")
    expect([cached.get("k") for _ in range(20)], [b"2"] * 20)
    expect(gets(other), before + 2)


@check
def every_kind_of_change_is_seen(server):
    other, cached = server.client(), caching(server)
    other.rpush("list", "a")
    other.hset("hash", "f", "v")
    other.sadd("set", "m")
    other.zadd("zset", {"m": 1})
    other.set("string", "0")
    expect(cached.lrange("list", 0, -1), [b"a"])
    expect(cached.hgetall("hash"), {b"f": b"v"})
    expect(cached.smembers("set"), {b"m"})
    expect(cached.zscore("zset", "m"), 1.0)
    expect(cached.mget("string", "none"), [b"0", None])
    other.lpush("list", "b")
    other.hdel("hash", "f")
    other.smove("set", "set2", "m")
    other.zincrby("zset", 2, "m")
    other.rename("string", "none")
    expect(cached.lrange("list", 0, -1), [b"b", b"a"])
    expect(cached.hgetall("hash"), {})
    expect(cached.smembers("set"), set())
    expect(cached.zscore("zset", "m"), 3.0)
    expect(cached.mget("string", "none"), [None, b"0"])


@check
def expiry_and_flush_empty_the_cache(server):
    other, cached = server.client(), caching(server)
    other.mset({"short": "1", "long": "1"})
    expect([cached.get("short"), cached.get("long")], [b"1", b"1"])
    other.pexpire("short", 150)
    wait_until(lambda: cached.get("short") is None)
    other.flushdb()
    expect(cached.get("long"), None)


@check
def transactions_and_scripts_of_others_are_seen(server):
    other, cached = server.client(), caching(server)
    other.mset({"a": 1, "b": 1})
    expect(cached.mget("a", "b"), [b"1", b"1"])
    with other.pipeline(transaction=True) as pipe:
        pipe.incr("a").incr("b").execute()
    expect(cached.mget("a", "b"), [b"2", b"2"])
    other.eval("return redis.call('incr', KEYS[1])", 1, "a")
    expect(cached.mget("a", "b"), [b"3", b"2"])


@check
def a_small_cache_forgets_and_stays_right(server):
    other, cached = server.client(), caching(server, max_size=10)
    for turn in range(3):
        other.mset({f"k{n}": f"{turn}-{n}" for n in range(50)})
        for n in range(50):
            expect(cached.get(f"k{n}"), f"{turn}-{n}".encode())


@check
def many_clients_see_no_stale_value(server):
    writer, stop, wrong = server.client(), threading.Event(), []
    writer.set("counter", 0)

    def read(r):
        last = 0
        while not stop.is_set():
            now = int(r.get("counter"))
            if now < last:
                wrong.append((last, now))
            last = now

    readers = [caching(server) for _ in range(4)]
    threads = [threading.Thread(target=read, args=(r,)) for r in readers]
    for thread in threads:
        thread.start()
    for _ in range(300):
        writer.incr("counter")
    stop.set()
    for thread in threads:
        thread.join()
    expect(wrong, [])
    expect([r.get("counter") for r in readers], [b"300"] * 4)


class Listener:
    """A connection in RESP2's subscribed mode that gets the messages of others."""

    def __init__(self, server):
        r = speaking(server, 2, single_connection_client=True)
        self.id = r.client_id()
        self.connection = r.connection
        self.connection.send_command("SUBSCRIBE", "__redis__:invalidate")
        expect(self.connection.read_response()[0], b"subscribe")

    def next(self):
        kind, channel, keys = self.connection.read_response(timeout=60)
        expect([kind, channel], [b"message", b"__redis__:invalidate"])
        return keys

    def is_quiet(self):
        return not self.connection.can_read(timeout=0.1)


@check
def messages_go_to_another_connection(server):
    other, tracked, listener = server.client(), speaking(server, 2, single_connection_client=True), Listener(server)
    expect(tracked.client_tracking_on(clientid=listener.id), b"OK")
    expect(tracked.client_getredir(), listener.id)
    expect(tracked.get("k"), None)
    other.set("k", 1)
    expect(listener.next(), [b"k"])
    other.set("k", 2)
    assert listener.is_quiet()
    elsewhere = server.client(database=OTHER_DATABASE)
    expect(tracked.get("k"), b"2")
    elsewhere.delete("k")
    elsewhere.set("k", 1)
    expect(listener.next(), [b"k"])
    other.flushdb()
    expect(listener.next(), None)


@check
def prefixes_are_broadcast_to_another_connection(server):
    other, tracked, listener = server.client(), speaking(server, 2, single_connection_client=True), Listener(server)
    tracked.client_tracking_on(clientid=listener.id, bcast=True, prefix=["user:", "order:"])
    other.mset({"user:2": 1, "user:1": 1, "other:1": 1})
    expect(listener.next(), [b"user:1", b"user:2"])
    with other.pipeline(transaction=True) as pipe:
        pipe.incr("order:1").incr("nothing").incr("order:1").execute()
    expect(listener.next(), [b"order:1"])
    tracked.client_tracking_off()
    other.set("user:1", 2)
    assert listener.is_quiet()


@check
def a_listener_that_has_gone_is_told_of(server):
    other, listener = server.client(), Listener(server)
    tracked = speaking(server, 3, single_connection_client=True)
    tracked.client_tracking_on(clientid=listener.id)
    tracked.get("k")
    listener.connection.disconnect()
    wait_until(lambda: not other.client_list(client_id=[listener.id]))
    other.set("k", 1)
    expect(set(tracked.client_trackinginfo()[b"flags"]), {b"on", b"broken_redirect"})
    expect(tracked.get("k"), b"1")


if __name__ == "__main__":
    sys.exit(main(CHECKS, __file__))
