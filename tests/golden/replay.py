#!/usr/bin/env python3
"""Replays golden transcripts (*.txt in this folder) against a running server.

What lives here: the reader of the transcript format (README.md describes it), a small RESP2/RESP3 client, the matcher
of expected against actual replies, and the loop that gives every block a server "as started".

Why a script beside the Rust runner: the transcripts claim what Valkey and Redis answer. This proves the claim against
the real thing; the Rust runner then holds Weir to the same text.

What must stay true: no dependency outside the standard library, and one reader of the format per language. A rule that
is added here is added to README.md and to the Rust runner, or it does not exist.

    replay.py HOST:PORT [--peer valkey9|redis8] [--record] [--only WORDS] [FILE...]

--record fills in the replies of commands that have none yet and rewrites the file. Read what it recorded.
--only replays the blocks whose title contains WORDS.
The server must run with `--enable-debug-command yes --save "" --appendonly no`. ALL ITS DATA IS DELETED.
"""

import argparse
import pathlib
import re
import select
import socket
import sys
import time

REPLY_TIMEOUT_S = 5.0
SILENCE_S = 0.06  # how long nothing has to arrive before `(none)` holds
PASSWORD = "golden"  # the one password that transcripts may leave behind in requirepass

HEADER = re.compile(r"^(?:(unordered)( pairs)? )?([*%~>|])(\d+)$")
NAMED_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\"}


class TranscriptError(Exception):
    """The transcript itself is malformed."""


class Closed(Exception):
    """The server closed the connection."""


# --- replies -----------------------------------------------------------------------------------------------------


class Node:
    """One reply or part of one: a leaf with its rendered line, or an aggregate with its header and children."""

    def __init__(self, line, children=None, order="fixed"):
        self.line = line
        self.children = children
        self.order = order  # of an expected aggregate: fixed, any, pairs

    def lines(self, indent=0):
        prefix = {"fixed": "", "any": "unordered ", "pairs": "unordered pairs "}[self.order]
        out = [" " * indent + prefix + self.line]
        for child in self.children or []:
            out += child.lines(indent + 2)
        return out


def quote(data):
    """Bytes as the quoted text of a transcript: printable ASCII as it is, the rest escaped."""
    shown = (NAMED_ESCAPES.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data)
    return '"' + "".join(shown) + '"'


def plain(data):
    """A simple string or error, which is one line by protocol; odd bytes and a space at the end are escaped."""
    shown = "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in data)
    return shown[:-1] + "\\x20" if shown.endswith(" ") else shown


def matches(expected, actual):
    if expected.children is None and expected.line == "...":
        return True
    if expected.children is None and expected.line.startswith("~ "):
        return actual.children is None and re.fullmatch(expected.line[2:], actual.line) is not None
    if expected.line != actual.line or (expected.children is None) != (actual.children is None):
        return False
    if expected.children is None:
        return True
    width = 2 if expected.order == "pairs" or (expected.order == "any" and expected.line[0] == "%") else 1
    wanted = [expected.children[i : i + width] for i in range(0, len(expected.children), width)]
    found = [actual.children[i : i + width] for i in range(0, len(actual.children), width)]
    for group in wanted:
        # Fixed order looks only at the head; free order takes the first element left that matches.
        candidates = found[:1] if expected.order == "fixed" else found
        hit = next((f for f in candidates if len(f) == len(group) and all(map(matches, group, f))), None)
        if hit is None:
            return False
        found.remove(hit)
    return not found


# --- client ------------------------------------------------------------------------------------------------------


class Client:
    def __init__(self, host, port):
        self.sock = socket.create_connection((host, port), timeout=REPLY_TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, args):
        self.send_raw(b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args))

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # the reply that is expected next tells that the connection is closed

    def call(self, *args):
        self.send([a.encode() for a in args])
        return self.reply()

    def silent_for(self, seconds):
        return not self.buffer and not select.select([self.sock], [], [], seconds)[0]

    def reply(self):
        line = self._line()
        kind, rest = chr(line[0]), line[1:]
        if kind in "+-":
            return Node(kind + plain(rest))
        if kind in ":,(#":
            return Node(kind + rest.decode())
        if kind == "_" or line == b"$-1":
            return Node("(nil)")
        if line == b"*-1":
            return Node("(nil array)")
        if kind == "$":
            return Node(quote(self._exactly(int(rest))))
        if kind == "=":
            body = self._exactly(int(rest))
            return Node("=" + body[:4].decode() + quote(body[4:]))
        if kind in "*%~>|":
            count = int(rest) * (2 if kind in "%|" else 1)
            node = Node(kind + rest.decode(), [self.reply() for _ in range(count)])
            if kind == "|":
                node.children.append(self.reply())  # an attribute is carried with the reply it describes
            return node
        raise TranscriptError(f"not RESP: {line!r}")

    def _more(self):
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed()
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _exactly(self, size):
        while len(self.buffer) < size + 2:
            self._more()
        body, self.buffer = self.buffer[:size], self.buffer[size + 2 :]
        return body


# --- transcripts -------------------------------------------------------------------------------------------------


class Step:
    """One line that acts: verb is `>` send, `>>` send raw bytes, `@` switch client, `+` wait, `<` expect."""

    def __init__(self, verb, text, line_number, expected=None):
        self.verb = verb
        self.text = text
        self.line_number = line_number
        self.expected = expected
        self.last_line = line_number  # of the lines this step occupies in the file


class Block:
    def __init__(self, title, peers, line_number):
        self.title = title
        self.peers = peers
        self.line_number = line_number
        self.steps = []


def split_args(text):
    """Splits a command line by the quoting rules of inline commands. The text is Latin-1: one character, one byte."""
    args, i, n = [], 0, len(text)
    named = {"n": 10, "r": 13, "t": 9, "b": 8, "a": 7}
    while True:
        while i < n and text[i] == " ":
            i += 1
        if i == n:
            return args
        arg, mode = bytearray(), None
        while True:
            if i == n:
                if mode:
                    raise TranscriptError(f"unbalanced quotes: {text}")
                break
            c = text[i]
            if mode == '"' and c == "\\" and re.match(r"x[0-9a-fA-F]{2}", text[i + 1 : i + 4]):
                arg.append(int(text[i + 2 : i + 4], 16))
                i += 3
            elif mode == '"' and c == "\\" and i + 1 < n:
                i += 1
                arg.append(named.get(text[i], ord(text[i])))
            elif mode == "'" and text[i : i + 2] == "\\'":
                i += 1
                arg.append(ord("'"))
            elif mode and c == mode:
                if i + 1 < n and text[i + 1] != " ":
                    raise TranscriptError(f"closing quote must be followed by a space: {text}")
                mode = None
            elif not mode and c in "\"'":
                mode = c
            elif not mode and c == " ":
                break
            else:
                arg.append(ord(c))
            i += 1
        args.append(bytes(arg))


def parse_expected(lines, at):
    """Reads one expected reply from the lines of `<`; returns it with the index of the first line after it."""
    text = lines[at][1].removeprefix("< ")
    return parse_element(lines, at, text, 0)


def parse_element(lines, at, text, level):
    number = lines[at][0]
    header = HEADER.match(text)
    at += 1
    if not header:
        return Node(text), at
    unordered, pairs, kind, count = header.groups()
    order = "pairs" if pairs else "any" if unordered else "fixed"
    wanted = int(count) * (2 if kind in "%|" else 1) + (kind == "|")
    children, indent = [], "< " + "  " * (level + 1)
    while len(children) < wanted:
        if at >= len(lines) or not lines[at][1].startswith(indent) or lines[at][1][len(indent) :][:1] in ("", " "):
            raise TranscriptError(f"line {number}: {text} has {len(children)} of {wanted} elements")
        child, at = parse_element(lines, at, lines[at][1][len(indent) :], level + 1)
        children.append(child)
    return Node(kind + count, children, order), at


def parse_transcript(text):
    """All blocks of a file, in order."""
    lines = [(n, l.rstrip("\n")) for n, l in enumerate(text.split("\n"), 1)]
    lines = [(n, l) for n, l in lines if l.strip() and not l.startswith("#")]
    blocks, file_peers, at = [], None, 0
    while at < len(lines):
        number, line = lines[at]
        verb, _, rest = line.partition(" ")
        if verb == "%peers":
            if blocks and not blocks[-1].steps:
                blocks[-1].peers = rest.split()
            else:
                file_peers = rest.split()
        elif verb == "%weir":
            pass  # for the runner of Weir: which blocks it does not follow, and why
        elif verb == "==":
            if file_peers is None:
                raise TranscriptError(f"line {number}: no %peers before the first block")
            blocks.append(Block(rest, file_peers, number))
        elif not blocks:
            raise TranscriptError(f"line {number}: before the first block: {line}")
        elif verb == "<":
            expected, after = parse_expected(lines, at)
            blocks[-1].steps.append(Step("<", rest, number, expected))
            at = after
            blocks[-1].steps[-1].last_line = lines[at - 1][0]
            continue
        elif verb in (">", ">>", "@", "+"):
            blocks[-1].steps.append(Step(verb, rest, number))
        else:
            raise TranscriptError(f"line {number}: {line}")
        at += 1
    return blocks


# --- replay ------------------------------------------------------------------------------------------------------


class Server:
    """The server under test, brought back to its state at start before every block."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.config = None

    def connect(self):
        return Client(self.host, self.port)

    def reset(self):
        """Leaves no data, no settings, no statistics and no other clients behind, and no connection of its own."""
        admin = self.connect()
        if admin.call("PING").line.startswith("-NOAUTH"):
            admin.call("AUTH", PASSWORD)
        admin.call("CLIENT", "UNPAUSE")
        admin.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        admin.call("FLUSHALL")
        admin.call("FUNCTION", "FLUSH")
        admin.call("SCRIPT", "FLUSH")
        found = [n.line[1:-1] for n in admin.call("CONFIG", "GET", "*").children]
        config = dict(zip(found[::2], found[1::2]))
        self.config = self.config or config
        for name, value in self.config.items():
            if config.get(name) != value:
                admin.call("CONFIG", "SET", name, value)
        users = [split_args(user.line)[0] for user in admin.call("ACL", "USERS").children]
        if users != [b"default"]:
            admin.send([b"ACL", b"DELUSER"] + [user for user in users if user != b"default"])
            admin.reply()
        admin.call("ACL", "LOG", "RESET")
        admin.call("SLOWLOG", "RESET")
        for kind in ("slow", "large-request", "large-reply"):
            admin.call("COMMANDLOG", "RESET", kind)
        admin.call("LATENCY", "RESET")
        admin.call("CONFIG", "RESETSTAT")  # late, because a server may not know one of the commands above
        deadline = time.monotonic() + REPLY_TIMEOUT_S
        while admin.call("CLIENT", "LIST").line.count(" addr=") > 1 and time.monotonic() < deadline:
            time.sleep(0.002)
        admin.call("QUIT")
        try:
            admin.reply()
        except Closed:
            pass
        admin.sock.close()


def run_block(server, block, record):
    """Replays one block. Returns the failure as text, or None. `record` collects (line, reply lines) if not None."""
    server.reset()
    clients, name = {}, "a"
    try:
        clients[name] = server.connect()
        for i, step in enumerate(block.steps):
            following = block.steps[i + 1] if i + 1 < len(block.steps) else None
            if step.verb == "@":
                name = step.text
                if name not in clients:
                    clients[name] = server.connect()
            elif step.verb == "+":
                time.sleep(int(step.text) / 1000)
            elif step.verb in (">", ">>"):
                args = split_args(step.text)
                if step.verb == ">>":
                    clients[name].send_raw(b"".join(args))
                else:
                    clients[name].send(args)
                if following is None or following.verb != "<":
                    if record is None:
                        return f"line {step.line_number}: no reply given for: {step.text}"
                    record.append((step.line_number, read_for_record(clients[name])))
            else:
                failure = expect(clients[name], step.expected)
                if failure:
                    return f"line {step.line_number}: {failure}"
        for key, client in clients.items():
            if not client.silent_for(0.001):
                try:
                    return f"client {key} got more than the block says: " + "\n".join(client.reply().lines())
                except Closed:
                    pass
    except socket.timeout:
        return "no reply in time"
    finally:
        for client in clients.values():
            client.sock.close()
    return None


def expect(client, expected):
    """Reads one reply and compares. Returns the difference as text, or None."""
    if expected.line == "(none)":
        return None if client.silent_for(SILENCE_S) else "expected no reply, got: " + client.reply().line
    try:
        actual = client.reply()
    except Closed:
        return None if expected.line == "(closed)" else f"connection closed, expected: {expected.line}"
    except socket.timeout:
        return f"no reply in time, expected: {expected.line}"
    if expected.line == "(closed)" or not matches(expected, actual):
        return "\n  expected\n    " + "\n    ".join(expected.lines()) + "\n  got\n    " + "\n    ".join(actual.lines())
    return None


def read_for_record(client):
    if client.silent_for(0.3):
        return ["(none)"]
    try:
        return client.reply().lines()
    except Closed:
        return ["(closed)"]


def main():
    parser = argparse.ArgumentParser(description="Replays golden transcripts against a real server; deletes its data.")
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--peer", choices=["valkey9", "redis8"], help="replay only the blocks that name this peer")
    parser.add_argument("--record", action="store_true", help="fill in the replies that are missing")
    parser.add_argument("--only", default="", help="replay only the blocks whose title contains this")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_intermixed_args()
    host, _, port = options.address.rpartition(":")
    server = Server(host, int(port))
    files = options.files or sorted(pathlib.Path(__file__).parent.glob("*.txt"))
    passed = failed = 0
    for path in files:
        text = path.read_text(encoding="latin-1")
        recorded = []
        for block in parse_transcript(text):
            if (options.peer and options.peer not in block.peers) or options.only not in block.title:
                continue
            failure = run_block(server, block, recorded if options.record else None)
            if failure:
                failed += 1
                print(f"{path.name}:{block.line_number}: {block.title}\n  {failure}")
            else:
                passed += 1
        if recorded:
            lines = text.split("\n")
            for number, reply in reversed(recorded):
                lines[number:number] = ["< " + l for l in reply]
            path.write_text("\n".join(lines), encoding="latin-1")
    server.reset()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
