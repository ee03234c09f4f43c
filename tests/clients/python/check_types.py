#!/usr/bin/env python3
"""What applications do with collections through redis-py: profiles, queues, leaderboards, logs, places, and waiting.

    check_types.py HOST PORT [--password PASSWORD]

The same rules as for check.py hold, which has what both files need.
"""

import queue
import random
import sys
import threading

from redis.exceptions import ResponseError

from check import expect, expect_error, main, wait_until

CHECKS = []


def check(function):
    """Registers a check; its name is the function's."""
    CHECKS.append(function)
    return function


def in_thread(function):
    """Runs a call that waits on a thread of its own; its result, or its error, comes out of the queue."""
    results = queue.Queue()

    def run():
        try:
            results.put(function())
        except Exception as error:
            results.put(error)

    threading.Thread(target=run, daemon=True).start()
    return results


def until_waiting(client, count):
    wait_until(lambda: client.info("clients")["blocked_clients"] == count)


@check
def a_profile_in_a_hash(server):
    r = server.client(decode_responses=True)
    r.delete("user")
    expect(r.hset("user", mapping={"name": "Ann", "visits": 1, "rate": "0.5"}), 3)
    expect(r.hset("user", "name", "Anna"), 0)
    expect(r.hsetnx("user", "name", "Bob"), False)
    expect(r.hincrby("user", "visits", 4), 5)
    expect(r.hincrbyfloat("user", "rate", 0.25), 0.75)
    expect(r.hgetall("user"), {"name": "Anna", "visits": "5", "rate": "0.75"})
    expect(r.hmget("user", ["visits", "none"]), ["5", None])
    expect((r.hlen("user"), r.hstrlen("user", "name"), r.hexists("user", "none")), (3, 4, False))
    expect(sorted(r.hkeys("user")), ["name", "rate", "visits"])
    expect(r.hdel("user", "visits", "none"), 1)
    expect(dict(r.hscan_iter("user")), {"name": "Anna", "rate": "0.75"})
    assert set(r.hrandfield("user", 5)) == {"name", "rate"}
    expect(r.type("user"), "hash")
    expect_error(ResponseError, "WRONGTYPE", r.lpush, "user", "x")


@check
def a_big_hash_is_whole_and_can_be_walked(server):
    r = server.client(decode_responses=True)
    r.delete("big")
    wanted = {f"field:{i}": f"value:{i}" for i in range(5000)}
    expect(r.hset("big", mapping=wanted), 5000)
    expect(r.object("encoding", "big") in ("hashtable", b"hashtable"), True)
    expect(r.hgetall("big"), wanted)
    expect(dict(r.hscan_iter("big", count=100)), wanted)
    gone = [f"field:{i}" for i in range(0, 5000, 2)]
    expect(r.hdel("big", *gone), 2500)
    expect(r.hlen("big"), 2500)
    expect(set(r.hkeys("big")), set(wanted) - set(gone))


@check
def fields_expire_one_by_one(server):
    r = server.client(decode_responses=True)
    r.delete("login")
    r.hset("login", mapping={"token": "t", "name": "n"})
    expect(r.hpexpire("login", 60, "token"), [1])
    assert 0 < r.hpttl("login", "token")[0] <= 60
    expect(r.httl("login", "name", "none"), [-1, -2])
    wait_until(lambda: r.hgetall("login") == {"name": "n"})
    expect(r.hexpire("login", 100, "name"), [1])
    expect(r.hpersist("login", "name"), [1])
    expect(r.hexpire("login", 0, "name"), [2])
    wait_until(lambda: r.exists("login") == 0)


@check
def a_list_from_both_ends(server):
    r = server.client(decode_responses=True)
    r.delete("list", "other")
    expect(r.rpush("list", "b", "c", "d"), 3)
    expect(r.lpush("list", "a"), 4)
    expect(r.lrange("list", 0, -1), ["a", "b", "c", "d"])
    expect((r.lindex("list", -1), r.lpos("list", "c"), r.llen("list")), ("d", 2, 4))
    expect(r.linsert("list", "BEFORE", "c", "x"), 5)
    expect(r.lset("list", 0, "A"), True)
    expect(r.lrem("list", 1, "x"), 1)
    expect(r.lmove("list", "other", "LEFT", "RIGHT"), "A")
    expect(r.rpoplpush("list", "other"), "d")
    expect((r.lrange("list", 0, -1), r.lrange("other", 0, -1)), (["b", "c"], ["d", "A"]))
    expect(r.ltrim("list", 0, 0), True)
    expect(r.lpop("list", 5), ["b"])
    expect(r.lmpop(2, "list", "other", direction="RIGHT", count=2), ["other", ["A", "d"]])
    expect(r.exists("list", "other"), 0)


@check
def a_long_list_keeps_its_order(server):
    r = server.client(decode_responses=True)
    r.delete("long")
    items = [f"item:{i}" for i in range(20000)]
    for at in range(0, len(items), 1000):
        r.rpush("long", *items[at : at + 1000])
    expect(r.llen("long"), 20000)
    expect(r.lrange("long", 0, -1), items)
    expect(r.lrange("long", 9990, 10009), items[9990:10010])
    expect(r.lindex("long", 12345), items[12345])
    expect(r.rpop("long", 3), items[:-4:-1])


@check
def sets_and_their_algebra(server):
    r = server.client(decode_responses=True)
    r.delete("a", "b", "c")
    expect(r.sadd("a", 1, 2, 3, "x"), 4)
    expect(r.sadd("b", 2, 3, 4), 3)
    expect(r.sinter("a", "b"), {"2", "3"})
    expect(r.sunion("a", "b"), {"1", "2", "3", "4", "x"})
    expect(r.sdiff("a", "b"), {"1", "x"})
    expect(r.sinterstore("c", "a", "b"), 2)
    expect((r.smembers("c"), r.sintercard(2, ["a", "b"], 1)), ({"2", "3"}, 1))
    expect(r.smove("a", "b", "x"), True)
    expect(r.smismember("b", ["x", "nobody"]), [1, 0])
    popped = r.spop("b", 2)
    expect(r.scard("b"), 2)
    assert r.smembers("b").isdisjoint(popped)
    assert r.srandmember("a") in {"1", "2", "3"}
    expect(set(r.sscan_iter("a")), {"1", "2", "3"})


@check
def a_leaderboard(server):
    r = server.client(decode_responses=True)
    r.delete("board", "best")
    scores = {f"player:{i:04}": random.Random(i).randrange(100000) for i in range(3000)}
    expect(r.zadd("board", scores), 3000)
    ranking = sorted(scores, key=lambda name: (scores[name], name))
    expect(r.zrange("board", 0, -1), ranking)
    expect(r.zrevrange("board", 0, 9), ranking[:-11:-1])
    expect([r.zrank("board", name) for name in ranking[::500]], list(range(0, 3000, 500)))
    expect(r.zcount("board", 20000, "(50000"), sum(20000 <= s < 50000 for s in scores.values()))
    between = [name for name in ranking if 20000 <= scores[name] <= 50000]
    expect(r.zrangebyscore("board", 20000, 50000, start=10, num=20), between[10:30])
    expect(r.zincrby("board", 1000000, ranking[0]), 1000000.0 + scores[ranking[0]])
    expect(r.zrevrank("board", ranking[0]), 0)
    expect(r.zrangestore("best", "board", 0, 2, desc=True), 3)
    best = r.zpopmax("board")
    expect(tuple(best[0]) if len(best) == 1 else tuple(best), (ranking[0], 1000000.0 + scores[ranking[0]]))
    expect(r.zremrangebyrank("board", 0, 1999), 2000)
    expect(r.zcard("board"), 999)
    expect(r.zscore("board", "nobody"), None)


@check
def sorted_sets_combine(server):
    r = server.client(decode_responses=True)
    r.delete("a", "b", "out")
    r.zadd("a", {"x": 1, "y": 2})
    r.zadd("b", {"y": 10, "z": 20})
    expect(r.zunionstore("out", {"a": 2, "b": 1}), 3)
    expect([tuple(pair) for pair in r.zrange("out", 0, -1, withscores=True)], [("x", 2.0), ("y", 14.0), ("z", 20.0)])
    expect(r.zinterstore("out", ["a", "b"], aggregate="MAX"), 1)
    expect(r.zscore("out", "y"), 10.0)
    expect(r.zdiff(["a", "b"]), ["x"])
    expect(r.zadd("a", {"x": 5}, gt=True, ch=True), 1)
    expect(r.zadd("a", {"x": 3}, gt=True, ch=True), 0)
    expect(r.zadd("a", {"w": 1}, xx=True), 0)
    expect(r.zmscore("a", ["x", "none"]), [5.0, None])
    expect_error(ResponseError, "not a valid float", r.execute_command, "ZADD", "a", "one", "x")


@check
def a_log_in_a_stream(server):
    r = server.client(decode_responses=True)
    r.delete("log")
    ids = [r.xadd("log", {"n": n}, id=f"{n + 1}-0") for n in range(200)]
    expect((ids[0], r.xlen("log")), ("1-0", 200))
    expect([i for i, _ in r.xrange("log", "(10", "20-0")], [f"{n}-0" for n in range(11, 21)])
    expect(r.xrevrange("log", count=1), [("200-0", {"n": "199"})])
    expect(r.xdel("log", "200-0", "999-0"), 1)
    expect(r.xtrim("log", maxlen=50, approximate=False), 149)
    expect(r.xinfo_stream("log")["first-entry"][0], "150-0")
    last = r.xadd("log", {"n": "now"})
    assert int(last.split("-")[0]) > 1_600_000_000_000
    expect_error(ResponseError, "equal or smaller", r.xadd, "log", {"n": 1}, id="5-0")


@check
def a_consumer_group_shares_the_work(server):
    r = server.client(decode_responses=True)
    r.delete("jobs")
    r.xgroup_create("jobs", "workers", id="0", mkstream=True)
    expect_error(ResponseError, "BUSYGROUP", r.xgroup_create, "jobs", "workers")
    for n in range(10):
        r.xadd("jobs", {"job": n})

    def read(consumer, count, since=">"):
        reply = r.xreadgroup("workers", consumer, {"jobs": since}, count=count)
        streams = reply.items() if isinstance(reply, dict) else reply
        return [entry for _, entries in streams for entry in (entries[0] if reply.__class__ is dict else entries)]

    first, second = read("one", 6), read("two", 6)
    expect([len(first), len(second)], [6, 4])
    expect([fields["job"] for _, fields in first + second], [str(n) for n in range(10)])
    expect(r.xack("jobs", "workers", *[i for i, _ in first]), 6)
    expect(r.xpending("jobs", "workers")["pending"], 4)
    expect(read("two", 10, "0"), second)
    claimed = r.xclaim("jobs", "workers", "one", 0, [second[0][0]])
    expect(claimed, [second[0]])
    expect(r.xautoclaim("jobs", "workers", "one", 0)[1], second)
    expect(r.xpending_range("jobs", "workers", "-", "+", 10, "one")[0]["times_delivered"], 4)
    expect(r.xinfo_groups("jobs")[0]["lag"], 0)
    expect(r.xgroup_destroy("jobs", "workers"), True)
    expect_error(ResponseError, "NOGROUP", r.xreadgroup, "workers", "one", {"jobs": ">"})


@check
def workers_wait_for_a_queue(server):
    r = server.client()
    r.delete("queue", "other")
    workers = [server.client() for _ in range(3)]
    results = []
    for number, worker in enumerate(workers):
        results.append(in_thread(lambda worker=worker: worker.blpop(["other", "queue"], timeout=100)))
        until_waiting(r, number + 1)
    r.rpush("queue", "a", "b")
    r.rpush("other", "c")
    got = [result.get(timeout=60) for result in results]
    expect([tuple(pair) for pair in got], [(b"queue", b"a"), (b"queue", b"b"), (b"other", b"c")])
    expect(r.blpop("queue", timeout=0.05), None)
    until_waiting(r, 0)


@check
def every_kind_of_waiting_is_served(server):
    r = server.client()
    r.delete("from", "to", "board", "stream")
    waiting = [
        in_thread(lambda c=server.client(): c.blmove("from", "to", 100)),
        in_thread(lambda c=server.client(): c.bzpopmin("board", 100)),
        in_thread(lambda c=server.client(): c.xread({"stream": "$"}, block=100_000)),
        in_thread(lambda c=server.client(): c.blmpop(100, 1, "third", direction="LEFT")),
    ]
    until_waiting(r, len(waiting))
    r.lpush("from", "x")
    r.zadd("board", {"m": 1.5})
    r.xadd("stream", {"f": "v"}, id="1-1")
    r.lpush("third", "y")
    moved, popped, read, multi = (result.get(timeout=60) for result in waiting)
    expect(moved, b"x")
    expect(tuple(popped), (b"board", b"m", 1.5))
    assert b"1-1" in repr(read).encode(), read
    expect(multi, [b"third", [b"y"]])
    expect(r.lrange("to", 0, -1), [b"x"])


@check
def places_on_a_map(server):
    r = server.client(decode_responses=True)
    r.delete("places")
    expect(r.geoadd("places", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")), 2)
    expect(round(r.geodist("places", "Palermo", "Catania", unit="km"), 4), 166.2742)
    expect(r.geohash("places", "Palermo"), ["sqc8b49rny0"])
    expect(r.geosearch("places", longitude=15, latitude=37, unit="km", radius=200, sort="ASC"), ["Catania", "Palermo"])
    expect(r.geosearch("places", member="Palermo", unit="km", width=100, height=100), ["Palermo"])
    longitude, latitude = r.geopos("places", "Catania")[0]
    assert abs(longitude - 15.087269) < 1e-5 and abs(latitude - 37.502669) < 1e-5


@check
def counting_visitors_and_flags(server):
    r = server.client()
    r.delete("today", "yesterday", "both", "flags", "mask", "out")
    expect(r.pfadd("today", *range(1000)), 1)
    expect(r.pfadd("yesterday", *range(500, 1500)), 1)
    expect(r.pfmerge("both", "today", "yesterday"), True)
    assert abs(r.pfcount("today") - 1000) < 30 and abs(r.pfcount("both") - 1500) < 45
    expect([r.setbit("flags", offset, 1) for offset in (7, 100, 1000)], [0, 0, 0])
    expect((r.bitcount("flags"), r.bitpos("flags", 1), r.getbit("flags", 100)), (3, 7, 1))
    r.setbit("mask", 100, 1)
    expect(r.bitop("AND", "out", "flags", "mask"), 126)
    expect(r.bitcount("out"), 1)
    expect(r.bitfield("field").set("u8", 0, 200).incrby("u8", 0, 100).execute(), [0, 44])


@check
def sorting_by_other_keys(server):
    r = server.client(decode_responses=True)
    r.delete("ids", "sorted")
    r.rpush("ids", 3, 1, 2)
    for number, weight in ((1, 30), (2, 20), (3, 10)):
        r.set(f"weight_{number}", weight)
        r.hset(f"item_{number}", "name", f"n{number}")
    expect(r.sort("ids"), ["1", "2", "3"])
    expect(r.sort("ids", by="weight_*", get=["#", "item_*->name"]), ["3", "n3", "2", "n2", "1", "n1"])
    expect(r.sort("ids", desc=True, store="sorted"), 3)
    expect(r.lrange("sorted", 0, -1), ["3", "2", "1"])


@check
def types_are_named_copied_renamed_and_deleted(server):
    r = server.client(decode_responses=True)
    r.flushdb()
    r.rpush("list", *range(1000))
    r.hset("hash", mapping={"a": 1})
    r.sadd("set", 1, "x")
    r.zadd("zset", {"m": 1})
    r.xadd("stream", {"a": 1})
    kinds = ["list", "hash", "set", "zset", "stream"]
    expect([r.type(kind) for kind in kinds], kinds)
    for kind in kinds:
        expect(r.copy(kind, f"copy:{kind}"), True)
        expect(r.type(f"copy:{kind}"), kind)
        expect(r.rename(kind, f"new:{kind}"), True)
        expect(sorted(r.scan_iter(match="*" + kind, _type=kind)), [f"copy:{kind}", f"new:{kind}"])
        assert r.memory_usage(f"new:{kind}") > 0
        expect(r.unlink(f"copy:{kind}", f"new:{kind}"), 2)
    expect(r.dbsize(), 0)


if __name__ == "__main__":
    sys.exit(main(CHECKS, __file__))
