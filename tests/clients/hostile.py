#!/usr/bin/env python3
"""A hostile network client, and beside it a well-behaved one that must not notice.

    hostile.py HOST PORT [--seconds N] [--password PASSWORD] [--seed N]

The hostile side sends half frames, lengths that lie, garbage, endless lines, random commands; it never reads, sends a byte
a second, connects and leaves a thousand times a second. Meanwhile another process asks PING, SET and GET on a connection of
its own, and each answer must be right and there within a second. Prints one line a check, the server's memory before and
after, and closes with `N passed, N failed`. Only the standard library; the load is bounded in time, connections and bytes.
"""

import argparse
import contextlib
import multiprocessing
import random
import socket
import struct
import sys
import threading
import time

ANSWER_SECONDS_MAX = 1.0
# What buffers and keys of the hostile side may leave behind, and what claims without bytes behind them may cost.
LEFT_BYTES_MAX = 32 << 20
CLAIMED_RSS_BYTES_MAX = 128 << 20
UNREAD_BYTES = 256 << 20
CONNECTS_A_SECOND = 1000
CONNECTS_MAX = 10_000
# Commands that end, block, reconfigure or take over the server: a client that may send them needs no hostility.
LEFT_ALONE = set(
    """
    shutdown debug flushall flushdb swapdb replicaof slaveof config client save bgsave bgrewriteaof failover
    cluster module migrate acl sync psync replconf monitor auth hello reset quit wait waitaof script function eval
    evalsha latency sentinel subscribe psubscribe ssubscribe pfselftest commandlog select blpop brpop blmove
    blmpop brpoplpush bzpopmin bzpopmax bzmpop xread xreadgroup
    """.split()
)


class Peer:
    """One connection, by hand: what it sends is what the check says, byte by byte."""

    def __init__(self, target, log_in=True, timeout=60.0):
        self.socket = socket.create_connection((target.host, target.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        if log_in and target.password:
            self.call("AUTH", target.password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends all of `data`; a server that hung up meanwhile is no error here."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def fill(self):
        block = self.socket.recv(1 << 16)
        if not block:
            raise ConnectionError("the server hung up")
        self.received += block

    def line(self):
        while b"\r\n" not in self.received:
            self.fill()
        line, self.received = self.received.split(b"\r\n", 1)
        return line

    def reply(self):
        """One RESP2 reply as Python values; an error comes back as the exception, not raised."""
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RuntimeError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            while len(self.received) < size + 2:
                self.fill()
            value, self.received = self.received[:size], self.received[size + 2 :]
            return value
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        raise RuntimeError(f"no reply starts with {line[:40]!r}")

    def call(self, *words):
        self.socket.sendall(frame(*words))
        return self.reply()

    def rest(self, seconds):
        """All that comes until the server closes, at most for `seconds`. Returns (bytes, whether it closed)."""
        end, got = time.monotonic() + seconds, self.received
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                block = self.socket.recv(1 << 16)
            except socket.timeout:
                break
            except ConnectionError:
                return got, True
            if not block:
                return got, True
            got = (got + block)[-(1 << 20) :]
        return got, False


class Target:
    def __init__(self, host, port, password):
        self.host, self.port, self.password = host, port, password

    def info(self):
        with Peer(self) as peer:
            text = peer.call("INFO")
        lines = (line.split(":", 1) for line in text.decode("utf-8", "replace").splitlines() if ":" in line)
        return {name: value for name, value in lines}


def frame(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


# --- The witness -------------------------------------------------------------------------------------------------------


def waited_seconds(who):
    """How long a thread of this machine could have gone on so far while others had the processors; 0 where nobody says so."""
    try:
        with open(f"/proc/{who}/schedstat", encoding="ascii") as figures:
            return int(figures.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def witness(target, server_pid, stop, result):
    """Asks until told to stop; puts (questions, slowest answer in seconds, problems) into `result`.

    What an answer takes because the machine is busy with something else is not the server's doing and does not count.
    """
    asked, slowest, problems = 0, 0.0, []

    def waited():
        return waited_seconds("thread-self") + (waited_seconds(server_pid) if server_pid else 0.0)

    try:
        with Peer(target, timeout=120) as peer:
            while not stop.is_set():
                value = f"{asked}:{'v' * (asked % 500)}".encode()
                for words, wanted in (
                    (("PING",), b"PONG"),
                    (("SET", "witness", value), b"OK"),
                    (("GET", "witness"), value),
                ):
                    began, before = time.monotonic(), waited()
                    got = peer.call(*words)
                    took = max(0.0, time.monotonic() - began - (waited() - before))
                    slowest = max(slowest, took)
                    if got != wanted:
                        problems.append(f"{words[0]} answered {got!r:.60}")
                    if took > ANSWER_SECONDS_MAX:
                        problems.append(f"{words[0]} took {took:.2f} s")
                asked += 1
                time.sleep(0.005)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
    result.put((asked * 3, slowest, problems))


# --- The hostile side --------------------------------------------------------------------------------------------------

LONG = b"1" * (64 * 1024 + 16)
PROTOCOL_ERRORS = (
    ("a multibulk length over the limit", b"*2147483648\r\n", b"invalid multibulk length"),
    ("a multibulk length of twenty digits", b"*99999999999999999999\r\n", b"invalid multibulk length"),
    ("a multibulk length that is no number", b"*abc\r\n", b"invalid multibulk length"),
    ("a bulk length of -5", b"*1\r\n$-5\r\n", b"invalid bulk length"),
    ("a bulk length of 999999999999", b"*1\r\n$999999999999\r\n", b"invalid bulk length"),
    ("a bulk length of 5000000000", b"*1\r\n$5000000000\r\n", b"invalid bulk length"),
    ("a bulk length that is no number", b"*1\r\n$abc\r\n", b"invalid bulk length"),
    ("an empty bulk length", b"*1\r\n$\r\n", b"invalid bulk length"),
    ("a bulk length with a plus", b"*1\r\n$+4\r\nPING\r\n", b"invalid bulk length"),
    ("no bulk where one is due", b"*1\r\nfoo\r\n", b"expected '$', got 'f'"),
    ("a line of 64 KB without an end", LONG, b"too big inline request"),
    ("a multibulk length of 64 KB", b"*" + LONG, b"too big mbulk count string"),
    ("a bulk length of 64 KB", b"*1\r\n$" + LONG, b"too big bulk count string"),
    ("quotes that do not balance", b'SET "x y\r\n', b"unbalanced quotes"),
)
HARMLESS = (
    ("a multibulk length of -2", b"*-2\r\n"),
    ("a multibulk length of 0", b"*0\r\n"),
    ("empty lines", b"\r\n\r\n\n"),
)


def lies_are_answered(target):
    for name, data, words in PROTOCOL_ERRORS:
        with Peer(target) as peer:
            peer.send(data)
            got, closed = peer.rest(60)
            assert b"-ERR Protocol error" in got and words in got, f"{name}: answered {got[:80]!r}"
            assert closed, f"{name}: the connection stays open"
    for name, data in HARMLESS:
        with Peer(target) as peer:
            peer.send(data)
            got = peer.call("PING")
            assert got == b"PONG", f"{name}: answered {got!r}"


def strangers_may_claim_little(target):
    """Before they log in, clients may not even claim big requests."""
    if not target.password:
        return
    for data, words in (
        (b"*100\r\n", b"unauthenticated multibulk length"),
        (b"*1\r\n$100000\r\n", b"unauthenticated bulk length"),
    ):
        with Peer(target, log_in=False) as peer:
            peer.send(data)
            got, closed = peer.rest(60)
            assert words in got and closed, f"{data!r}: answered {got[:80]!r}, closed: {closed}"
    with Peer(target, log_in=False) as peer:
        got = peer.call("GET", "witness")
        assert isinstance(got, RuntimeError) and "NOAUTH" in str(got), got


def claims_cost_nothing(target):
    """Lengths within the limits, with nothing behind them."""
    before = int(target.info()["used_memory_rss"])
    with contextlib.ExitStack() as open_peers:
        for number in range(60):
            peer = open_peers.enter_context(Peer(target))
            if number % 3 == 0:
                peer.send(b"*1048577\r\n$3\r\nSET\r\n")
            elif number % 3 == 1:
                peer.send(b"*3\r\n$3\r\nSET\r\n$5\r\nclaim\r\n$100000000\r\nabc")
            else:
                peer.send(b"*1000000\r\n")
        time.sleep(0.3)
        grown = int(target.info()["used_memory_rss"]) - before
    assert grown < CLAIMED_RSS_BYTES_MAX, f"60 claims without bytes cost {grown >> 20} MB"


def half_frames_are_dropped(target):
    whole = frame("SET", "half", "x" * 100)
    for cut in range(1, len(whole)):
        with Peer(target) as peer:
            peer.send(whole[:cut])
    with Peer(target) as peer:
        got = peer.call("EXISTS", "half")
        assert got == 0, "a half frame was carried out"
    # Byte by byte it is a whole one.
    with Peer(target) as peer:
        for byte in whole:
            peer.send(bytes([byte]))
        assert peer.reply() == b"OK"
        assert peer.call("DEL", "half") == 1


def garbage_is_survived(target, dice):
    for _ in range(8):
        with Peer(target) as peer:
            feeder = threading.Thread(target=peer.send, args=(dice.randbytes(1 << 20),), daemon=True)
            feeder.start()
            peer.rest(0.5)
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)
            feeder.join()


def unread_replies_are_bounded(target):
    """A client that asks for much and never reads: it is cut off, or the server keeps what it asked for within bounds."""
    with Peer(target) as peer:
        assert peer.call("SET", "unread", b"u" * (1 << 20)) == b"OK"
    peak = 0
    with Peer(target, timeout=0.2) as peer:
        for _ in range(UNREAD_BYTES >> 20):
            try:
                peer.socket.sendall(frame("GET", "unread"))
            except (socket.timeout, ConnectionError):
                break
        time.sleep(0.5)
        peak = int(target.info()["used_memory_rss"])
    with Peer(target) as peer:
        assert peer.call("DEL", "unread") == 1
    return f"resident at the peak {peak >> 20} MB"


def a_byte_a_second_is_waited_for(target):
    with Peer(target, timeout=60) as peer:
        for byte in b"PING\r\n":
            peer.send(bytes([byte]))
            time.sleep(1)
        assert peer.reply() == b"PONG"


def connections_come_and_go(target, dice, seconds):
    began, made = time.monotonic(), 0
    while made < min(CONNECTS_MAX, seconds * CONNECTS_A_SECOND) and time.monotonic() - began < seconds * 4:
        peer = socket.create_connection((target.host, target.port), timeout=60)
        # Half of them leave with a reset.
        if made % 2:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if made % 3 == 0:
            peer.send(dice.choice((b"PING\r\n", b"*1\r\n$4\r\nPI", b"\x00\xff", b"*1\r\n")))
        peer.close()
        made += 1
        ahead = began + made / CONNECTS_A_SECOND - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    took = time.monotonic() - began
    return f"{made} connections in {took:.1f} s"


def random_word(dice):
    kind = dice.randrange(6)
    if kind == 0:
        return dice.randbytes(dice.randrange(64))
    if kind == 1:
        return str(dice.choice((-(2**63), 2**63 - 1, 2**63, -1, 0, 1, 7, 1000, 99_999))).encode()
    if kind == 2:
        return dice.choice(
            (b"NX", b"XX", b"GET", b"EX", b"PX", b"MATCH", b"COUNT", b"TYPE", b"STORE", b"LIMIT", b"REPLACE", b"IDX")
        )
    if kind == 3:
        return dice.choice((b"1.5", b"nan", b"inf", b"-inf", b"1e400", b"", b"*", b"[a-", b"\\", b"(1", b"+", b"0x10"))
    return b"fuzz:%d" % dice.randrange(20)


def random_commands_are_answered(target, dice, seconds):
    with Peer(target) as peer:
        names = [name.decode().split("|") for name in peer.call("COMMAND", "LIST")]
    names = [name for name in names if name[0] not in LEFT_ALONE] + [["nosuchcommand"], ["object"]]
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        with Peer(target) as peer:
            for _ in range(20):
                batch = [
                    frame(*dice.choice(names), *(random_word(dice) for _ in range(dice.randrange(7))))
                    for _ in range(50)
                ]
                # How many replies come is unknown (UNSUBSCRIBE has one a channel, MULTI may be open): an echo ends them.
                peer.socket.sendall(b"".join(batch) + frame("DISCARD") + frame("ECHO", "end of batch"))
                while peer.reply() != b"end of batch":
                    pass
                sent += len(batch)
                if time.monotonic() > end:
                    break
    with Peer(target) as peer:
        for number in range(20):
            peer.call("DEL", f"fuzz:{number}")
        # What remains was made under random names.
        cursor = b"0"
        while True:
            cursor, keys = peer.call("SCAN", cursor, "COUNT", 1000)
            for key in keys:
                if key != b"witness":
                    peer.call("DEL", key)
            if cursor == b"0":
                break
    return f"{sent} commands"


def random_bytes_after_good_ones(target, dice, seconds):
    """Good frames with one byte changed."""
    good = frame("SET", "mutant", "value") + frame("GET", "mutant") + frame("INCR", "mutant") + frame("PING")
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        with Peer(target) as peer:
            data = bytearray(good)
            for _ in range(dice.randrange(1, 4)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            peer.send(bytes(data))
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_WR)
            peer.rest(0.5)
            # A reset leaves no port behind that waits for a minute: there are thousands of these.
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sent += 1
    with Peer(target) as peer:
        peer.call("DEL", "mutant")
    return f"{sent} connections"


# ----------------------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description="A hostile network client; the server must not mind.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=int, default=20, help="about how long to go on (default 20, at least 10)")
    parser.add_argument("--password")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's random choices")
    options = parser.parse_args()
    target = Target(options.host, options.port, options.password)
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    dice = random.Random(seed)
    share = max(1, (options.seconds - 7) // 3)
    print(f"seed {seed}", flush=True)

    attacks = (
        (lies_are_answered, (target,)),
        (strangers_may_claim_little, (target,)),
        (claims_cost_nothing, (target,)),
        (half_frames_are_dropped, (target,)),
        (garbage_is_survived, (target, dice)),
        (unread_replies_are_bounded, (target,)),
        (connections_come_and_go, (target, dice, share)),
        (random_commands_are_answered, (target, dice, share)),
        (random_bytes_after_good_ones, (target, dice, share)),
    )
    passed = failed = 0

    def report(name, problem, note=""):
        nonlocal passed, failed
        name = name.replace("_", " ")
        if problem:
            failed += 1
            print(f"FAILED  hostile: {name}: {problem}", flush=True)
        else:
            passed += 1
            print(f"ok      hostile: {name}{f' ({note})' if note else ''}", flush=True)

    def carry_out(attack, arguments):
        try:
            report(attack.__name__, None, attack(*arguments) or "")
        except Exception as error:
            report(attack.__name__, f"{type(error).__name__}: {error}")

    before = target.info()
    stop, result = multiprocessing.Event(), multiprocessing.Queue()
    server_pid = before["process_id"] if target.host in ("127.0.0.1", "::1", "localhost") else None
    watching = multiprocessing.Process(target=witness, args=(target, server_pid, stop, result), daemon=True)
    watching.start()
    # The slowest of them goes on beside the others.
    dripping = threading.Thread(target=carry_out, args=(a_byte_a_second_is_waited_for, (target,)))
    dripping.start()
    for attack, arguments in attacks:
        carry_out(attack, arguments)
    dripping.join()
    stop.set()
    try:
        asked, slowest, problems = result.get(timeout=180)
    except Exception:
        asked, slowest, problems = 0, 0.0, ["the witness gave no account"]
    watching.join(timeout=10)
    problem = f"{len(problems)} of {asked} answers: {'; '.join(problems[:3])}" if problems else None
    report(
        "a witness has every answer right and within a second",
        problem,
        f"{asked} answers, slowest {slowest * 1000:.0f} ms",
    )

    try:
        with Peer(target) as peer:
            peer.call("DEL", "witness")
        # Closed connections' buffers are freed within a few turns of the server's clock.
        end = time.monotonic() + 60
        while True:
            after = target.info()
            left = int(after["used_memory"]) - int(before["used_memory"])
            if left < LEFT_BYTES_MAX or time.monotonic() > end:
                break
            time.sleep(0.1)
        same = after["run_id"] == before["run_id"]
        report("the server is the same process", None if same else "its run_id changed")
        report("memory is given back", f"{left >> 20} MB more are in use" if left >= LEFT_BYTES_MAX else None)
        resident = [int(info["used_memory_rss"]) >> 20 for info in (before, after)]
        print(f"resident memory: {resident[0]} MB before, {resident[1]} MB after")
    except Exception as error:
        report("the server is the same process", f"{type(error).__name__}: {error}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
