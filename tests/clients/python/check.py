#!/usr/bin/env python3
"""What a user's first hour with redis-py does: strings, keys, expiry, the connection and the server's own commands.

    check.py HOST PORT [--password PASSWORD]

Runs the same checks over RESP2, RESP3 and the client's own default, prints one line a check and closes with
`N passed, N failed`. It flushes databases 9 and 10 of the server it is given. Against any server that speaks the protocol
the result must be the same: a check that fails on Redis or Valkey is a wrong check.
"""

import argparse
import asyncio
import socket
import sys
import threading
import time
import traceback

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError
from redis.retry import Retry

DATABASE = 9
OTHER_DATABASE = 10
CHECKS = []


def check(function):
    """Registers a check; its name is the function's."""
    CHECKS.append(function)
    return function


class Server:
    """Where the server is, and clients for it that speak `protocol` (None: what the client chooses by itself)."""

    def __init__(self, host, port, password, protocol):
        self.host, self.port, self.password, self.protocol = host, port, password, protocol
        self.clients = []

    def url(self, database=DATABASE, password=None):
        secret = password if password is not None else self.password
        login = f":{secret}@" if secret else ""
        version = f"?protocol={self.protocol}" if self.protocol else ""
        return f"redis://{login}{self.host}:{self.port}/{database}{version}"

    def client(self, database=DATABASE, **options):
        client = redis.Redis.from_url(self.url(database), **options)
        self.clients.append(client)
        return client

    def close(self):
        for client in self.clients:
            client.close()
        self.clients = []


def expect(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def expect_error(kind, text, function, *arguments, **options):
    """The call must raise `kind` with `text` in its message."""
    try:
        got = function(*arguments, **options)
    except kind as error:
        assert text in str(error), f"the error says {str(error)!r}, not {text!r}"
        return
    raise AssertionError(f"no error, but {got!r}")


def text(value):
    """A name as a string, whichever of the two the client makes of it."""
    return value.decode() if isinstance(value, bytes) else value


def pairs(reply):
    """A map, which RESP2 carries as a flat list."""
    items = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2])
    return {text(key): value for key, value in items}


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


# --- Connection --------------------------------------------------------------------------------------------------------


@check
def connects_by_url_and_answers_ping(server):
    r = server.client()
    expect(r.ping(), True)
    expect(r.echo("hello"), b"hello")


@check
def hello_names_the_server_and_the_protocol(server):
    r = server.client(single_connection_client=True)
    version = server.protocol or 2
    reply = pairs(r.execute_command("HELLO", version))
    expect((reply["proto"], text(reply["role"])), (version, "master"))
    assert reply["id"] > 0, reply
    assert {"server", "version", "mode", "modules"} <= set(reply), reply
    expect_error(ResponseError, "NOPROTO", r.execute_command, "HELLO", 9)


@check
def authentication_is_asked_for_and_checked(server):
    if server.password:
        once = {"retry": Retry(NoBackoff(), 0)}
        open_client = redis.Redis(host=server.host, port=server.port, protocol=server.protocol or 2, **once)
        expect_error(AuthenticationError, "uthentica", open_client.get, "x")
        wrong = redis.Redis.from_url(server.url(password="not-" + server.password), **once)
        expect_error(AuthenticationError, "invalid username-password pair", wrong.ping)
        named = redis.Redis(host=server.host, port=server.port, username="default", password=server.password)
        expect(named.ping(), True)
        for client in (open_client, wrong, named):
            client.close()
    else:
        call = server.client().execute_command
        expect_error(AuthenticationError, "without any password configured", call, "AUTH", "something")


@check
def databases_are_apart(server):
    nine, ten = server.client(), server.client(OTHER_DATABASE)
    ten.flushdb()
    nine.set("where", "nine")
    expect(ten.get("where"), None)
    expect(nine.move("where", OTHER_DATABASE), True)
    expect(nine.exists("where"), 0)
    expect(ten.get("where"), b"nine")
    expect(ten.dbsize(), 1)
    ten.flushdb()
    expect(ten.dbsize(), 0)


@check
def client_names_ids_and_library_show_in_the_list(server):
    r = server.client(single_connection_client=True)
    expect(r.client_setname("first-hour"), True)
    expect(text(r.client_getname()), "first-hour")
    own = r.client_id()
    assert isinstance(own, int) and own > 0
    r.execute_command("CLIENT", "SETINFO", "LIB-NAME", "first-hour-lib")
    r.execute_command("CLIENT", "SETINFO", "LIB-VER", "1.2.3")
    rows = [row for row in r.client_list() if int(row["id"]) == own]
    expect(len(rows), 1)
    expect((rows[0]["name"], rows[0]["lib-name"], rows[0]["lib-ver"]), ("first-hour", "first-hour-lib", "1.2.3"))
    expect(rows[0]["db"], str(DATABASE))
    expect(int(r.client_info()["id"]), own)
    expect(len(r.client_list(client_id=[own])), 1)
    expect_error(ResponseError, "", r.client_setname, "with space")
    later = server.client(single_connection_client=True)
    assert later.client_id() > own


@check
def killed_clients_reconnect_by_themselves(server):
    victim, killer = server.client(single_connection_client=True), server.client()
    victim.set("survives", 1)
    before = victim.client_id()
    expect(killer.client_kill_filter(_id=str(before)), 1)
    wait_until(lambda: not [row for row in killer.client_list() if int(row["id"]) == before])
    try:
        expect(victim.get("survives"), b"1")
    except ConnectionError:
        # The client may learn of the end only by its next command; the one after that finds a new connection.
        expect(victim.get("survives"), b"1")
    assert victim.client_id() != before
    expect(killer.client_kill_filter(_id="999999999"), 0)
    expect_error(ResponseError, "No such client", killer.client_kill, "127.0.0.1:1")


@check
def reset_and_quit_end_what_the_connection_was(server):
    r = server.client(single_connection_client=True)
    r.client_setname("to-be-reset")
    expect(text(r.execute_command("RESET")), "RESET")
    # The connection is as new: no name, RESP2, the first database, and not logged in where a password is asked for.
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        connection.sendall(b"PING\r\nQUIT\r\nPING\r\n")
        said = b""
        while block := connection.recv(1024):
            said += block
    wanted = b"-NOAUTH Authentication required.\r\n+OK\r\n" if server.password else b"+PONG\r\n+OK\r\n"
    expect(said, wanted)


# --- Strings -----------------------------------------------------------------------------------------------------------


@check
def set_takes_its_options(server):
    r = server.client()
    expect(r.set("k", "one"), True)
    expect(r.get("k"), b"one")
    expect(r.set("k", "two", nx=True), None)
    expect(r.set("fresh", "two", xx=True), None)
    expect(r.set("k", "two", xx=True), True)
    expect(r.set("k", "three", get=True), b"two")
    expect(r.set("never", "x", get=True), None)
    expect(r.set("k", "four", ex=100), True)
    assert 90 < r.ttl("k") <= 100
    expect(r.set("k", "five", keepttl=True), True)
    assert 90 < r.ttl("k") <= 100
    r.set("k", "six")
    expect(r.ttl("k"), -1)
    r.set("k", "seven", px=50_000)
    assert 40_000 < r.pttl("k") <= 50_000
    at = int(time.time()) + 1000
    r.set("k", "eight", exat=at)
    expect(r.expiretime("k"), at)
    r.set("k", "nine", pxat=at * 1000 + 7)
    expect(r.pexpiretime("k"), at * 1000 + 7)
    for words in (("SETEX", "k", 10, "ten"), ("PSETEX", "k", 10_000, "ten")):
        assert r.execute_command(*words)
    expect(r.setnx("k", "no"), False)
    expect_error(ResponseError, "syntax error", r.execute_command, "SET", "k", "v", "EX", "1", "PX", "1")
    expect_error(ResponseError, "invalid expire time in 'set' command", r.set, "k", "v", ex=0)


@check
def counters_count(server):
    r = server.client()
    r.delete("n")
    expect(r.incr("n"), 1)
    expect(r.incrby("n", 41), 42)
    expect(r.decr("n"), 41)
    expect(r.decrby("n", 1), 40)
    expect(r.incrbyfloat("n", 0.5), 40.5)
    expect(r.get("n"), b"40.5")
    r.set("n", 2**63 - 1)
    expect_error(ResponseError, "increment or decrement would overflow", r.incr, "n")
    r.set("n", "word")
    expect_error(ResponseError, "value is not an integer or out of range", r.incr, "n")
    expect_error(ResponseError, "value is not a valid float", r.incrbyfloat, "n", 1.0)


@check
def strings_are_cut_and_joined(server):
    r = server.client()
    r.delete("s")
    expect(r.append("s", "Hello"), 5)
    expect(r.append("s", " World"), 11)
    expect(r.strlen("s"), 11)
    expect(r.getrange("s", -5, -1), b"World")
    expect(r.setrange("s", 6, "Redis"), 11)
    expect(r.get("s"), b"Hello Redis")
    expect(r.getset("s", "new"), b"Hello Redis")
    expect(r.getex("s", ex=50), b"new")
    assert 0 < r.ttl("s") <= 50
    expect(r.getex("s", persist=True), b"new")
    expect(r.ttl("s"), -1)
    expect(r.getdel("s"), b"new")
    expect(r.get("s"), None)


@check
def many_keys_at_once(server):
    r = server.client()
    r.flushdb()
    expect(r.mset({f"m{i}": i for i in range(100)}), True)
    expect(r.mget([f"m{i}" for i in range(100)] + ["none"]), [str(i).encode() for i in range(100)] + [None])
    expect(r.msetnx({"m1": 0, "other": 0}), False)
    expect(r.exists("other"), 0)
    expect(r.msetnx({"o1": 0, "o2": 0}), True)
    expect(r.delete("o1", "o2", "o3"), 2)
    expect(r.unlink("m1", "m2"), 2)
    expect(r.exists("m3", "m3", "m1"), 2)
    expect(r.touch("m3", "m4", "m1"), 2)
    expect(r.dbsize(), 98)


@check
def longest_common_subsequence(server):
    r = server.client()
    r.mset({"a": "ohmytext", "b": "mynewtext"})
    expect(r.lcs("a", "b"), b"mytext")
    expect(r.lcs("a", "b", len=True), 6)
    reply = r.execute_command("LCS", "a", "b", "IDX", "WITHMATCHLEN", "MINMATCHLEN", 4)
    expect(pairs(reply), {"matches": [[[4, 7], [5, 8], 4]], "len": 6})


@check
def values_and_keys_are_binary_safe(server):
    r = server.client()
    every = bytes(range(256))
    for key in (every, b"\r\n", b"\x00", b" ", b"$5\r\nhello\r\n", "ключ".encode()):
        r.set(key, every * 3)
        expect(r.get(key), every * 3)
        expect(r.delete(key), 1)
    r.set("empty", b"")
    expect(r.get("empty"), b"")
    r.set(b"", b"the empty key")
    expect(r.get(b""), b"the empty key")
    r.delete(b"")


@check
def a_megabyte_goes_there_and_back(server):
    r = server.client()
    block = bytes(i * 7 % 251 for i in range(1 << 10)) * 1024
    r.set("big", block)
    expect(r.strlen("big"), 1 << 20)
    assert r.get("big") == block
    assert r.mget(["big"] * 8) == [block] * 8
    expect(r.append("big", b"!"), (1 << 20) + 1)
    expect(r.getrange("big", 1 << 20, -1), b"!")
    r.delete("big")


@check
def answers_are_decoded_on_request(server):
    r = server.client(decode_responses=True)
    r.set("t", "zażółć gęślą jaźń")
    expect(r.get("t"), "zażółć gęślą jaźń")
    expect(r.type("t"), "string")
    expect(list(r.scan_iter(match="t")), ["t"])
    assert r.info("server")["redis_version"]
    assert r.config_get("maxmemory")["maxmemory"].isdigit()


# --- Keys and expiry ---------------------------------------------------------------------------------------------------


@check
def keys_expire_and_persist(server):
    r = server.client()
    r.delete("e", "none")
    expect((r.ttl("none"), r.pttl("none"), r.expire("none", 10)), (-2, -2, False))
    r.set("e", "v")
    expect(r.ttl("e"), -1)
    expect(r.expire("e", 100), True)
    assert 90 < r.ttl("e") <= 100
    expect(r.expire("e", 50, nx=True), False)
    expect(r.expire("e", 50, gt=True), False)
    expect(r.expire("e", 50, lt=True), True)
    expect(r.expire("e", 60, xx=True), True)
    expect(r.persist("e"), True)
    expect(r.persist("e"), False)
    at = int(time.time()) + 500
    expect(r.expireat("e", at), True)
    expect(r.expiretime("e"), at)
    expect(r.pexpireat("e", at * 1000 + 3), True)
    expect(r.pexpiretime("e"), at * 1000 + 3)
    r.pexpire("e", 40)
    wait_until(lambda: r.get("e") is None)
    expect(r.exists("e"), 0)
    r.set("e", "v")
    expect(r.expire("e", -1), True)
    expect(r.exists("e"), 0)
    expect_error(
        ResponseError, "GT and LT options at the same time are not compatible", r.expire, "none", 1, gt=True, lt=True
    )


@check
def expired_keys_leave_without_being_asked_for(server):
    r = server.client()
    r.flushdb()
    for i in range(200):
        r.set(f"gone{i}", i, px=30)
    r.set("stays", 1)
    wait_until(lambda: r.dbsize() == 1)


@check
def scan_meets_every_key(server):
    r = server.client()
    r.flushdb()
    r.mset({f"scan:{i}": i for i in range(1000)})
    r.set("else", 1)
    wanted = {f"scan:{i}".encode() for i in range(1000)}
    expect(set(r.scan_iter(match="scan:*", count=37)), wanted)
    expect(set(r.scan_iter()), wanted | {b"else"})
    expect(set(r.scan_iter(_type="string")), wanted | {b"else"})
    expect(list(r.scan_iter(_type="hash")), [])
    expect(set(r.keys("scan:?")), {f"scan:{i}".encode() for i in range(10)})
    expect(set(r.keys("scan:[1-3]")), {b"scan:1", b"scan:2", b"scan:3"})
    assert r.randomkey() in wanted | {b"else"}
    expect_error(ResponseError, "invalid cursor", r.execute_command, "SCAN", "abc")


@check
def keys_are_renamed_copied_and_typed(server):
    r = server.client()
    r.flushdb()
    r.set("from", "v", ex=100)
    expect(r.rename("from", "to"), True)
    assert 90 < r.ttl("to") <= 100
    expect_error(ResponseError, "no such key", r.rename, "from", "to")
    r.set("third", 3)
    expect(r.renamenx("to", "third"), False)
    expect(r.copy("to", "fourth"), True)
    assert 90 < r.ttl("fourth") <= 100
    expect(r.copy("to", "third"), False)
    expect(r.copy("to", "third", replace=True), True)
    expect(r.get("third"), b"v")
    expect(r.copy("to", "to", destination_db=OTHER_DATABASE), True)
    server.client(OTHER_DATABASE).flushdb()
    expect(r.type("to"), b"string")
    expect(r.type("nothing"), b"none")


@check
def encodings_are_named(server):
    r = server.client()
    r.set("int", 12345)
    r.set("short", "abc")
    r.set("long", "x" * 1000)
    expect(r.object("ENCODING", "int"), b"int")
    expect(r.object("ENCODING", "short"), b"embstr")
    expect(r.object("ENCODING", "long"), b"raw")
    expect(r.object("ENCODING", "nothing"), None)
    assert r.object("REFCOUNT", "long") >= 1
    assert 0 <= r.object("IDLETIME", "long") < 60
    assert r.memory_usage("long") >= 1000
    expect(r.memory_usage("nothing"), None)


# --- Pipelines and many connections ------------------------------------------------------------------------------------


@check
def a_pipeline_of_ten_thousand_commands(server):
    r = server.client()
    pipe = r.pipeline(transaction=False)
    for i in range(5000):
        pipe.set(f"p{i}", i)
        pipe.get(f"p{i}")
    replies = pipe.execute()
    expect(len(replies), 10_000)
    expect(replies[1::2], [str(i).encode() for i in range(5000)])


@check
def an_error_in_a_pipeline_stays_where_it_is(server):
    r = server.client()
    pipe = r.pipeline(transaction=False)
    pipe.set("word", "abc").incr("word").get("word").execute_command("NOSUCHCOMMAND", "a").ping()
    replies = pipe.execute(raise_on_error=False)
    expect(replies[0], True)
    assert isinstance(replies[1], ResponseError) and "value is not an integer" in str(replies[1]), replies[1]
    expect(replies[2], b"abc")
    assert isinstance(replies[3], ResponseError) and "unknown command" in str(replies[3]), replies[3]
    expect(replies[4], True)


@check
def twenty_threads_share_a_pool(server):
    pool = redis.BlockingConnectionPool.from_url(server.url(), max_connections=20)
    r = redis.Redis(connection_pool=pool)
    r.set("shared", 0)
    problems = []

    def work(number):
        try:
            for i in range(200):
                r.incr("shared")
                r.set(f"thread:{number}", i)
                expect(r.get(f"thread:{number}"), str(i).encode())
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(problems, [])
    expect(r.get("shared"), b"4000")
    pool.disconnect()


@check
def fifty_tasks_share_an_event_loop(server):
    async def work(r, number):
        for i in range(50):
            await r.incr("tasks")
            await r.set(f"task:{number}", i)
            expect(await r.get(f"task:{number}"), str(i).encode())

    async def whole():
        r = redis.asyncio.Redis.from_url(server.url(), max_connections=100)
        await r.set("tasks", 0)
        await asyncio.gather(*(work(r, number) for number in range(50)))
        expect(await r.get("tasks"), b"2500")
        await r.aclose()

    asyncio.run(whole())


# --- The server --------------------------------------------------------------------------------------------------------


@check
def errors_are_exceptions_with_the_known_words(server):
    r = server.client()
    r.set("word", "abc")
    expect_error(ResponseError, "value is not an integer or out of range", r.incr, "word")
    expect_error(
        ResponseError,
        "unknown command 'NOSUCHCOMMAND', with args beginning with: 'a' 'b'",
        r.execute_command,
        "NOSUCHCOMMAND",
        "a",
        "b",
    )
    expect_error(ResponseError, "wrong number of arguments for 'get' command", r.execute_command, "GET")
    expect_error(
        ResponseError, "wrong number of arguments for 'client|kill' command", r.execute_command, "CLIENT", "KILL"
    )
    expect_error(ResponseError, "unknown subcommand 'NOSUCH'", r.execute_command, "CLIENT", "NOSUCH")
    expect_error(ResponseError, "DB index is out of range", r.execute_command, "SELECT", 100_000)
    expect_error(ResponseError, "bit offset is not an integer", r.execute_command, "SETBIT", "word", -1, 1)
    expect(r.ping(), True)


@check
def info_parses(server):
    r = server.client()
    r.set("one", 1)
    info = r.info()
    for field in (
        "redis_version",
        "run_id",
        "uptime_in_seconds",
        "connected_clients",
        "used_memory",
        "used_memory_human",
        "total_commands_processed",
        "keyspace_hits",
        "role",
        "used_cpu_sys",
        "process_id",
        "tcp_port",
    ):
        assert field in info, f"INFO has no {field}"
    expect(info["tcp_port"], server.port)
    assert isinstance(info["used_memory"], int) and info["used_memory"] > 0
    expect(info[f"db{DATABASE}"]["keys"], r.dbsize())
    expect(set(r.info("memory")) & {"redis_version"}, set())
    assert "cmdstat_set" in r.info("commandstats")
    before = r.info("stats")["total_commands_processed"]
    r.ping()
    assert r.info("stats")["total_commands_processed"] >= before + 2


@check
def configuration_is_read_and_changed(server):
    r = server.client()
    old = r.config_get("maxmemory-policy")["maxmemory-policy"]
    try:
        expect(r.config_set("maxmemory-policy", "allkeys-lru"), True)
        expect(r.config_get("maxmemory-policy"), {"maxmemory-policy": "allkeys-lru"})
    finally:
        r.config_set("maxmemory-policy", old)
    several = r.config_get("maxmemory*", "port")
    assert {"maxmemory", "maxmemory-policy", "maxmemory-samples", "port"} <= set(several), several
    assert len(r.config_get("*")) > 100
    expect(r.config_get("no-such-setting"), {})
    expect_error(ResponseError, "CONFIG SET failed", r.config_set, "maxmemory-policy", "nonsense")
    expect_error(ResponseError, "Unknown option", r.config_set, "no-such-setting", "1")
    old = r.config_get("maxmemory")["maxmemory"]
    r.config_set("maxmemory", "100mb")
    expect(r.config_get("maxmemory")["maxmemory"], str(100 << 20))
    r.config_set("maxmemory", old)
    expect(r.config_resetstat(), True)


@check
def the_command_table_describes_itself(server):
    r = server.client()
    assert r.command_count() >= 60
    listed = r.command()
    row = listed["get"]
    expect(
        (row["name"], row["arity"], row["first_key_pos"], row["last_key_pos"], row["step_count"]), ("get", 2, 1, 1, 1)
    )
    assert {"readonly", "fast"} <= set(map(text, row["flags"])), row
    assert len(listed) == r.command_count()
    expect([text(row[0]) for row in r.execute_command("COMMAND INFO", "get", "set")], ["get", "set"])
    docs = pairs(pairs(r.execute_command("COMMAND DOCS", "set"))["set"])
    assert {"summary", "since", "group", "complexity", "arguments"} <= set(docs), docs
    assert "keepttl" in repr(docs["arguments"]).lower(), docs["arguments"]
    expect(list(map(text, r.command_getkeys("MSET", "a", 1, "b", 2))), ["a", "b"])
    assert {"get", "set", "client"} <= set(map(text, r.command_list()))


@check
def the_slow_log_keeps_slow_commands(server):
    r = server.client()
    old = r.config_get("slowlog-log-slower-than")["slowlog-log-slower-than"]
    try:
        r.config_set("slowlog-log-slower-than", 0)
        r.slowlog_reset()
        r.set("slow", "down")
        entries = [entry for entry in r.slowlog_get(10) if entry["command"] == b"SET slow down"]
        expect(len(entries), 1)
        assert entries[0]["duration"] >= 0 and entries[0]["start_time"] > 1_600_000_000
        assert r.slowlog_len() >= 2
    finally:
        r.config_set("slowlog-log-slower-than", old)


@check
def a_monitor_sees_commands(server):
    watcher, r = server.client(), server.client()
    with watcher.monitor() as monitor:
        r.set("seen", "by monitor")
        for _ in range(50):
            seen = monitor.next_command()
            if seen["command"].startswith("SET seen"):
                break
        expect(seen["command"], "SET seen by monitor")
        expect(seen["db"], DATABASE)


@check
def the_clock_is_right(server):
    seconds, microseconds = server.client().time()
    assert abs(seconds - time.time()) < 60 and 0 <= microseconds < 1_000_000


# ----------------------------------------------------------------------------------------------------------------------


def main(checks, file):
    """Runs the checks of a file and says how they ended."""
    parser = argparse.ArgumentParser(description="Checks a server with redis-py.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--password")
    options = parser.parse_args()
    passed = failed = 0
    for protocol, label in ((2, "RESP2"), (3, "RESP3"), (None, "default")):
        server = Server(options.host, options.port, options.password, protocol)
        server.client().flushdb()
        for function in checks:
            name = f"python {label}: {function.__name__.replace('_', ' ')}"
            began = time.monotonic()
            try:
                function(server)
            except Exception as error:
                failed += 1
                frame = [
                    f
                    for f in traceback.extract_tb(error.__traceback__)
                    if f.filename == file and f.name == function.__name__
                ]
                where = f"line {frame[-1].lineno}: " if frame else ""
                print(f"FAILED  {name}: {where}{type(error).__name__}: {error}", flush=True)
            else:
                passed += 1
                print(f"ok      {name} ({time.monotonic() - began:.2f} s)", flush=True)
            server.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(CHECKS, __file__))
