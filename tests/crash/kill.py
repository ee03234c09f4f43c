#!/usr/bin/env python3
"""Kills a server that keeps an append-only file, at random instants and again and again, and compares what it comes back with.

Writers change keys of their own through one connection each, in pipelines, and know what the data must be after each
request. So after a kill and a restart the data of a writer must be what they were after some request: not before the last
one that was acknowledged (`always`), or that was acknowledged long enough before the kill (`everysec`), and not behind the
last one that was sent. Transactions and scripts are one request: half of one is never there.

    kill.py --server PATH [--rounds N] [--fsync always|everysec] [--seed S] [--writers N] [--folder PATH]

Meanwhile the file is rewritten, by command and by itself, so that many kills fall into a rewrite; some fall into the
loading of the data. Exits with 0 if every restart loaded and nothing was lost that may not be.
"""

import argparse
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# What everysec promises: the file is forced to disk every second, and what waits for that is written at the latest when
# two have gone by.
EVERYSEC_LOSS_S = 2.0
START_DEADLINE_S = 120.0
PIPELINE_MAX = 16
END = b"\r\n"


class Gone(Exception):
    """The server has closed the connection."""


class Failure(bytes):
    """An error reply."""


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(str(path))
        self.buffer = b""

    def send(self, requests):
        parts = []
        for args in requests:
            parts.append(b"*%d\r\n" % len(args))
            parts += [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
        try:
            self.socket.sendall(b"".join(parts))
        except OSError as error:
            raise Gone from error

    def more(self):
        try:
            data = self.socket.recv(1 << 16)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.buffer += data

    def line(self):
        while (end := self.buffer.find(END)) < 0:
            self.more()
        line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
        return line

    def reply(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            while len(self.buffer) < size + 2:
                self.more()
            value, self.buffer = self.buffer[:size], self.buffer[size + 2 :]
            return value
        if kind == b"*":
            return None if int(rest) < 0 else [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == b":" else Failure(rest) if kind == b"-" else rest

    def call(self, *args):
        self.send([[arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]])
        return self.reply()

    def close(self):
        self.socket.close()


class Server:
    """The program, running in a folder that stays from one run to the next."""

    def __init__(self, program, folder, fsync):
        self.program, self.folder, self.path = program, folder, folder / "socket"
        (folder / "conf").write_text(
            f'port 0\nunixsocket {self.path}\nsave ""\nappendonly yes\nappendfsync {fsync}\ndir {folder}\n'
            "auto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size 256kb\nenable-debug-command yes\n"
        )
        self.process = None

    def start(self):
        self.path.unlink(missing_ok=True)
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([self.program, self.folder / "conf"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

    def ready(self):
        """Waits until all data are there, and gives a connection."""
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(f"the server does not start again:\n{self.log_tail()}")
            try:
                connection = Connection(self.path)
                if not isinstance(connection.call("GET", "x"), Failure):
                    return connection
                connection.close()
            except (OSError, Gone):
                pass
            time.sleep(0.002)
        raise SystemExit(f"the server is not there after {START_DEADLINE_S:.0f} s:\n{self.log_tail()}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def waited_s(self):
        """How long its threads together could have gone on so far while others had the processors."""
        waited_ns = 0
        for figures in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            try:
                waited_ns += int(figures.read_text().split()[1])
            except (OSError, IndexError, ValueError):
                # The thread has ended, or the system does not say.
                pass
        return waited_ns / 1e9

    def log_tail(self):
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-30:])


class Model:
    """What a writer's keys must hold."""

    def __init__(self, name):
        self.name, self.keys = name, {}
        self.stream = 0

    def key(self, short):
        return b"%b:%b" % (self.name, short)

    def drop_empty(self, key):
        if not self.keys.get(key, (None, True))[1]:
            del self.keys[key]

    def apply(self, request, reply):
        """One command. `reply`: what was answered, `None` if that is not known."""
        name, key, *args = request
        kinds = {b"RPUSH": list, b"SADD": set, b"ZADD": dict, b"HSET": dict, b"XADD": list, b"HINCRBY": dict, b"ZINCRBY": dict}
        old = self.keys.get(key)
        if name in kinds and old is None:
            old = self.keys[key] = (name, kinds[name]())
        value = old[1] if old else None
        if name == b"SET":
            self.keys[key] = (name, args[0])
        elif name == b"APPEND":
            self.keys[key] = (b"SET", (value or b"") + args[0])
        elif name == b"INCR":
            self.keys[key] = (b"SET", b"%d" % (int(value or b"0") + 1))
        elif name in (b"DEL", b"UNLINK", b"GETDEL"):
            self.keys.pop(key, None)
        elif name == b"RENAME":
            self.keys[args[0]] = self.keys.pop(key)
        elif name == b"RPUSH":
            value.extend(args)
        elif name == b"LPOP":
            if value:
                value.pop(0)
        elif name == b"LTRIM":
            if value:
                del value[int(args[1]) + 1 :]
        elif name == b"SADD":
            value.update(args)
        elif name == b"SREM":
            (value or set()).difference_update(args)
        elif name == b"SPOP":
            if value:
                value.discard(reply if reply is not None else UNKNOWN)
                if reply is None:
                    value.add(UNKNOWN)
        elif name == b"ZADD":
            value[args[1]] = int(args[0])
        elif name == b"ZINCRBY":
            value[args[1]] = value.get(args[1], 0) + int(args[0])
        elif name == b"HSET":
            value.update(zip(args[::2], args[1::2]))
        elif name == b"HINCRBY":
            value[args[0]] = b"%d" % (int(value.get(args[0], b"0")) + int(args[1]))
        elif name == b"HDEL":
            for field in args:
                (value or {}).pop(field, None)
        elif name == b"XADD":
            # MAXLEN = n id field value
            value.append((args[3], args[4], args[5]))
            del value[: -int(args[2])]
        else:
            raise ValueError(name)
        if name not in (b"XADD", b"SET", b"APPEND"):
            self.drop_empty(key)

    def differs(self, seen):
        """A key that holds something else; what is left of a SPOP that nobody knows the result of may be any of it."""
        for key in self.keys.keys() | seen.keys():
            ours, theirs = self.keys.get(key, (None, None))[1], seen.get(key)
            if isinstance(ours, set) and UNKNOWN in ours:
                known = ours - {UNKNOWN}
                if (theirs or set()) < known and len(theirs or ()) == len(known) - 1:
                    continue
            if ours != theirs:
                return key
        return None

    def adopt(self, seen):
        """Takes over what there is where it was open."""
        for key, (name, value) in list(self.keys.items()):
            if isinstance(value, set) and UNKNOWN in value:
                self.keys[key] = (name, seen.get(key, set()))
                self.drop_empty(key)


UNKNOWN = object()


class Writer(threading.Thread):
    """One connection: requests, each a list of commands that are one, and what of them was acknowledged."""

    def __init__(self, model, path, seed):
        super().__init__(daemon=True)
        self.model, self.path, self.random = model, path, random.Random(seed)
        self.sent, self.acknowledged, self.wrong, self.number = [], [], None, 0

    def request(self):
        """Commands that are executed as one, and the same as the model applies them."""
        pick, number = self.random, self.model.key
        self.number += 1
        word = lambda: b"%d:%d" % (self.number, pick.getrandbits(32))
        long = lambda: os.urandom(pick.choice((10, 10, 100, 3_000, 30_000)))
        text, other = number(b"s%d" % pick.randrange(3)), number(b"o")
        simple = [
            lambda: [b"SET", text, long()],
            lambda: [b"SET", text, word()],
            lambda: [b"APPEND", number(b"a"), word()],
            lambda: [b"INCR", number(b"c")],
            lambda: [b"RPUSH", number(b"l"), word(), word()],
            lambda: [b"LPOP", number(b"l")],
            lambda: [b"LTRIM", number(b"l"), b"0", b"40"],
            lambda: [b"SADD", number(b"t"), b"%d" % pick.randrange(100)],
            lambda: [b"SREM", number(b"t"), b"%d" % pick.randrange(100)],
            lambda: [b"ZADD", number(b"z"), b"%d" % pick.randrange(9), b"%d" % pick.randrange(50)],
            lambda: [b"ZINCRBY", number(b"z"), b"2", b"%d" % pick.randrange(50)],
            lambda: [b"HSET", number(b"h"), b"%d" % pick.randrange(50), word(), b"f", word()],
            lambda: [b"HINCRBY", number(b"n"), b"%d" % pick.randrange(5), b"3"],
            lambda: [b"HDEL", number(b"h"), b"%d" % pick.randrange(50)],
            lambda: [b"DEL", pick.choice((text, number(b"a")))],
            lambda: [b"UNLINK", pick.choice((number(b"h"), number(b"z"), number(b"l")))],
            lambda: [b"GETDEL", text],
            self.entry,
        ]
        chance = pick.random()
        if chance < 0.08:
            commands = [pick.choice(simple)() for _ in range(pick.randrange(1, 5))]
            return [[b"MULTI"], *commands, [b"EXEC"]], commands
        if chance < 0.14:
            commands = [[b"INCR", number(b"c")], [b"RPUSH", number(b"l"), word()], [b"SET", other, word()]]
            script = b"for i = 1, #ARGV do redis.call(unpack(cmsgpack.unpack(ARGV[i]))) end return 'done'"
            return [[b"EVAL", script, b"0", *map(packed, commands)]], commands
        if chance < 0.18:
            return [[b"SPOP", number(b"t")]], [[b"SPOP", number(b"t")]]
        command = pick.choice(simple)()
        return [command], [command]

    def entry(self):
        self.model.stream += 1
        return [b"XADD", self.model.key(b"x"), b"MAXLEN", b"=", b"30", b"%d-1" % self.model.stream, b"f", b"%d" % self.number]

    def run(self):
        try:
            connection = Connection(self.path)
            while True:
                # What is picked at random is waited for, so that at most one result is not known.
                batch = []
                for _ in range(self.random.randrange(1, PIPELINE_MAX)):
                    batch.append(self.request())
                    if batch[-1][0][0][0] == b"SPOP":
                        break
                self.sent += [commands for _, commands in batch]
                connection.send([command for wire, _ in batch for command in wire])
                for wire, _ in batch:
                    replies = [connection.reply() for _ in wire]
                    if any(isinstance(reply, Failure) for reply in replies):
                        self.wrong = (wire, replies)
                        return
                    self.acknowledged.append((time.monotonic(), replies[-1]))
        except (Gone, OSError):
            pass


def packed(command):
    """Words as MessagePack."""
    return bytes([0x90 + len(command)]) + b"".join(b"\xda" + len(word).to_bytes(2, "big") + word for word in command)


def contents(connection, model):
    """What a writer's keys hold."""
    names = [b"s0", b"s1", b"s2", b"o", b"a", b"c", b"l", b"t", b"z", b"h", b"n", b"x"]
    reads = {b"l": [b"LRANGE", 0, -1], b"t": [b"SMEMBERS"], b"z": [b"ZRANGE", 0, -1, b"WITHSCORES"], b"h": [b"HGETALL"]}
    reads |= {b"n": [b"HGETALL"], b"x": [b"XRANGE", b"-", b"+"]}
    seen = {}
    for name in names:
        command, *rest = reads.get(name, [b"GET"])
        value = connection.call(command, model.key(name), *rest)
        if name == b"t":
            value = set(value)
        elif name == b"z":
            value = {member: int(score) for member, score in zip(value[::2], value[1::2])}
        elif name in (b"h", b"n"):
            value = dict(zip(value[::2], value[1::2]))
        elif name == b"x":
            value = [(entry, *pairs) for entry, pairs in value]
        if value or (value is not None and command == b"GET"):
            seen[model.key(name)] = value
    return seen


def check(writer, seen, killed, allowed_s):
    """After which request the data are as they are. Gives how many requests that is, and how old the first lost one was."""
    model = writer.model
    known = len(writer.acknowledged)
    needed = sum(1 for moment, _ in writer.acknowledged if moment <= killed - allowed_s) if allowed_s else known
    differing = None
    for count in range(len(writer.sent) + 1):
        if count >= needed:
            differing = model.differs(seen)
            if differing is None:
                model.adopt(seen)
                lost_s = killed - writer.acknowledged[count][0] if count < known else 0.0
                return count, lost_s
        if count < len(writer.sent):
            reply = writer.acknowledged[count][1] if count < known else None
            for command in writer.sent[count]:
                model.apply(command, reply)
    raise SystemExit(
        f"writer {model.name.decode()}: {known} requests were acknowledged ({needed} of them for good) of {len(writer.sent)} sent,"
        f" and after none of those the data are what they are now: {differing} holds {str(seen.get(differing))[:300]}, after all of"
        f" them it would be {str(model.keys.get(differing))[:300]}"
    )


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", required=True, type=pathlib.Path, help="the program to be killed")
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--fsync", choices=("always", "everysec"), default="always")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--writers", type=int, default=5)
    options.add_argument("--folder", type=pathlib.Path, help="where the server keeps its data; kept if something is wrong")
    given = options.parse_args()
    chance = random.Random(given.seed)
    folder = given.folder or pathlib.Path(tempfile.mkdtemp(prefix="crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(given.server.resolve(), folder, given.fsync)
    models = [Model(b"w%d" % number) for number in range(given.writers)]
    allowed_s = EVERYSEC_LOSS_S if given.fsync == "everysec" else 0.0
    requests, unacknowledged, lost, longest_lost_s, in_loading = 0, 0, 0, 0.0, 0
    began = time.monotonic()
    server.start()
    try:
        control = server.ready()
        for number in range(given.rounds):
            waited_s = server.waited_s()
            writers = [Writer(model, server.path, chance.getrandbits(64)) for model in models]
            for writer in writers:
                writer.start()
            # Short ones find what is torn, long ones what everysec has forced to disk.
            wait_s = chance.choice((0.02, 0.05, 0.1, 0.2, 0.3, 0.5)) * chance.random() if chance.random() < 0.95 else 3.0
            rewrites = chance.random() < 0.35
            if rewrites:
                time.sleep(wait_s * chance.random())
                control.call("BGREWRITEAOF")
            time.sleep(wait_s)
            # A machine that is busy with something else keeps a server from its promise for as long.
            late_s = server.waited_s() - waited_s if given.fsync == "everysec" else 0.0
            killed = time.monotonic()
            server.kill()
            control.close()
            for writer in writers:
                writer.join()
                if writer.wrong:
                    raise SystemExit(f"round {number}: {str(writer.wrong)[:1000]}")
            server.start()
            while chance.random() < 0.15:
                # Killed while it loads, or just behind that.
                time.sleep(0.02 * chance.random())
                server.kill()
                server.start()
                in_loading += 1
            control = server.ready()
            for writer in writers:
                count, lost_s = check(writer, contents(control, writer.model), killed, allowed_s + late_s)
                requests += len(writer.acknowledged)
                unacknowledged += max(0, count - len(writer.acknowledged))
                lost += max(0, len(writer.acknowledged) - count)
                longest_lost_s = max(longest_lost_s, lost_s)
            if (number + 1) % 100 == 0 or number + 1 == given.rounds:
                print(
                    f"{given.fsync}: {number + 1} kills, {in_loading} more while loading, {requests} requests acknowledged,"
                    f" {lost} of them lost, at most {longest_lost_s * 1000:.0f} ms old; {unacknowledged} there that were not"
                    f" acknowledged; {time.monotonic() - began:.0f} s",
                    flush=True,
                )
    except BaseException:
        print(f"seed {given.seed}; the server's folder is {folder}", file=sys.stderr)
        raise
    finally:
        server.kill()
    if not given.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
