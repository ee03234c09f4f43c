#!/usr/bin/env python3
"""Bytes of resident memory that an idle connection takes, of several servers side by side.

    idle_connections.py weir=target/release/weir valkey=valkey-server redis=redis-server

Opens `--n` connections, sends one command over each, leaves them idle for `--settle` seconds (servers take buffers back from
idle clients after a while), and divides what the server's resident memory has grown by. The memory that the kernel takes
for the sockets is not the server's and the same for all, so it is not in there. Both ends are on this machine: the limit on
open files must allow both, and is raised as far as the system lets this process raise it.
"""

import argparse
import resource
import time
from measured_server import Connection, Failed, Server, command_bytes, figure, named_commands, print_table, run

FIRST_COMMANDS = {"PING": command_bytes("PING"), "SET": command_bytes("SET", "key", "value")}
FILES_BESIDE = 200


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=BINARY", help="the first is compared with the others")
    parser.add_argument("--n", type=int, default=10_000, help="connections")
    parser.add_argument("--settle", type=float, default=10, help="seconds to leave them idle")
    options = parser.parse_args()
    allow_open_files(options.n + FILES_BESIDE)
    servers = named_commands(options.servers)
    names = [name for name, _ in servers]
    header = ["after one", "counted by", *names, *([f"{names[0]}/best other"] if names[1:] else [])]
    rows = []
    for first, request in FIRST_COMMANDS.items():
        sizes = [bytes_a_connection(name, command, request, options) for name, command in servers]
        for at, counted in enumerate(("RSS", "used_memory")):
            own, *others = (size[at] for size in sizes)
            row = [first, counted, *(f"{size[at]:.0f}" for size in sizes)]
            rows.append(row + [f"{own / min(others):.2f}"] if others else row)
    print_table(f"Bytes a connection, of {options.n} idle ones", header, rows)


def bytes_a_connection(name, command, request, options):
    with Server(name, command, options=["--maxclients", str(options.n + 100)]) as server:
        with server.connect() as observer:
            # What a first connection brings with it is not the connections' doing.
            observer.call("SET", "key", "value")
            time.sleep(0.5)
            rss, used = server.rss_bytes(), figure(observer, "memory", "used_memory")
            connections = []
            try:
                for _ in range(options.n):
                    connection = Connection(server.port)
                    connections.append(connection)
                    connection.socket.sendall(request)
                    if connection.socket.recv(100)[:1] != b"+":
                        raise Failed(f"{name} refuses connection {len(connections)}")
                time.sleep(options.settle)
                if figure(observer, "clients", "connected_clients") < options.n:
                    raise Failed(f"{name} has closed idle connections")
                return tuple(
                    (after - before) / options.n
                    for before, after in ((rss, server.rss_bytes()), (used, figure(observer, "memory", "used_memory")))
                )
            finally:
                for connection in connections:
                    connection.close()


def allow_open_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (ValueError, PermissionError):
        raise Failed(f"{count} open files are needed, the system allows {hard}") from None


run(main)
