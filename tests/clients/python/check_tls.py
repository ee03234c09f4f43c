#!/usr/bin/env python3
"""redis-py over TLS: what its users do, with and without a certificate of their own.

    check_tls.py HOST PORT TLS_PORT FOLDER

FOLDER holds `ca.crt`, `server.crt`, `server.key`, and `alice.crt` with `alice.key`, whose common name is alice. The server has both
ports, `tls-auth-clients optional` and `tls-auth-clients-user CN`. Prints one line a check and closes with
`N passed, N failed`. It flushes database 9.
"""

import argparse
import asyncio
import os
import ssl
import sys
import threading
import time

import redis
import redis.asyncio
from redis.exceptions import ConnectionError, ResponseError

DATABASE = 9
CHECKS = []


def check(function):
    """Registers a check; its name is the function's."""
    CHECKS.append(function)
    return function


class Server:
    """Where the server is, and clients for it."""

    def __init__(self, options):
        self.host, self.port, self.tls_port, self.folder = options.host, options.port, options.tls_port, options.folder

    def file(self, name):
        return os.path.join(self.folder, name)

    def options(self, own=None, **more):
        """What a TLS client is made with; `own` names its certificate."""
        options = dict(host=self.host, port=self.tls_port, db=DATABASE, ssl=True, ssl_ca_certs=self.file("ca.crt"))
        if own:
            options.update(ssl_certfile=self.file(f"{own}.crt"), ssl_keyfile=self.file(f"{own}.key"))
        return {**options, **more}

    def client(self, own=None, **more):
        return redis.Redis(**self.options(own, **more))

    def plain(self):
        return redis.Redis(self.host, self.port, db=DATABASE)


def expect(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


@check
def both_ports_serve_the_same_data(server):
    with server.client() as client, server.plain() as plain:
        client.set("by", "tls")
        expect(plain.get("by"), b"tls")
        plain.set("by", "plain")
        expect(client.get("by"), b"plain")


@check
def both_protocols_and_both_versions_of_tls_work(server):
    for protocol in (2, 3):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with server.client(protocol=protocol, ssl_min_version=version) as client:
                expect(client.ping(), True)
                expect(client.hset("h", mapping={"a": 1}) in (0, 1), True)
                expect(client.hgetall("h"), {b"a": b"1"})


@check
def values_of_all_sizes_come_back_as_they_were(server):
    with server.client() as client:
        for size in (0, 1, 16_383, 16_384, 16_385, 100_000, 5_000_000):
            value = os.urandom(size)
            client.set("value", value)
            expect(client.get("value") == value, True)


@check
def long_pipelines_and_transactions_work(server):
    with server.client() as client:
        client.delete("n")
        with client.pipeline(transaction=False) as pipe:
            for _ in range(20_000):
                pipe.incr("n")
            expect(pipe.execute()[-1], 20_000)
        with client.pipeline(transaction=True) as pipe:
            expect(pipe.set("n", 1).incr("n").execute(), [True, 2])


@check
def messages_come_while_nothing_is_asked(server):
    with server.client() as client, client.pubsub() as subscriber:
        subscriber.subscribe("news")
        expect(subscriber.get_message(timeout=60)["type"], "subscribe")
        client.publish("news", "x" * 50_000)
        expect(len(subscriber.get_message(timeout=60)["data"]), 50_000)


@check
def a_blocking_command_is_answered_when_there_is_data(server):
    with server.client() as waiting, server.plain() as plain:
        waiting.delete("queue")
        timer = threading.Timer(0.2, lambda: plain.rpush("queue", "job"))
        timer.start()
        expect(waiting.blpop("queue", timeout=60), (b"queue", b"job"))
        timer.join()


@check
def many_clients_connect_at_once_by_asyncio(server):
    async def run():
        clients = [redis.asyncio.Redis(**server.options()) for _ in range(40)]
        expect(await asyncio.gather(*(client.ping() for client in clients)), [True] * 40)
        for client in clients:
            await client.aclose()

    asyncio.run(run())


@check
def a_certificate_is_checked_against_its_authority(server):
    try:
        server.client(ssl_ca_certs=server.file("alice.crt")).ping()
    except ConnectionError as error:
        assert "certificate" in str(error).lower(), str(error)
        return
    raise AssertionError("a server that nobody vouches for was trusted")


@check
def who_shows_a_certificate_is_the_user_whom_it_names(server):
    with server.plain() as plain:
        plain.acl_setuser("alice", enabled=True, nopass=True, categories=["+@all"], keys=["*"], channels=["*"])
        with server.client("alice") as alice, server.client() as stranger:
            expect(alice.acl_whoami(), "alice")
            expect(stranger.acl_whoami(), "default")
        plain.acl_deluser("alice")
        with server.client("alice") as nobody:
            expect(nobody.acl_whoami(), "default")
        entry = plain.acl_log()[0]
        expect((entry["reason"], entry["username"]), ("tls-cert", "alice"))


@check
def plain_bytes_on_the_tls_port_are_no_client(server):
    try:
        redis.Redis(server.host, server.tls_port, socket_timeout=60).ping()
    except (ConnectionError, ResponseError):
        return
    raise AssertionError("a plain client was served on the TLS port")


def main():
    parser = argparse.ArgumentParser(description="Checks a server with redis-py over TLS.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("tls_port", type=int)
    parser.add_argument("folder")
    server = Server(parser.parse_args())
    server.plain().flushdb()
    passed = failed = 0
    for function in CHECKS:
        name = f"python TLS: {function.__name__.replace('_', ' ')}"
        began = time.monotonic()
        try:
            function(server)
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
        else:
            passed += 1
            print(f"ok      {name} ({time.monotonic() - began:.2f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
