#!/usr/bin/env python3
"""Runs every example of pages of docs/ and compares what comes back with what stands there.

    check_docs.py HOST PORT [--password PASSWORD] PAGE ...

Prints one line an example and closes with `N passed, N failed`. It flushes all databases of the server it is given.

Two kinds of fenced blocks are run, `redis-cli` (with `redis-cli -3` for version 3 of the protocol) and `python`; blocks of
other kinds are not. In the first a line that begins with `> ` is a command, and what follows is what redis-cli shows of its
reply; what the server sends by itself stands behind the reply to the command that it came after. In a python block, lines
that begin with `#> ` are what the program has printed. `redis.Redis()` there is a client of the server under test.

All blocks below one heading of the second level belong together: they run in order, with the same clients and variables,
on a server without data. A line of three dots stands for any lines but errors. An id (`1780000000000-0`), an epoch (sixteen digits, 45 first) or a time in
milliseconds in the page is another one in reality: the first time that an id or an epoch is expected the real one takes its place, also in
the commands behind it.
"""

import argparse
import contextlib
import io
import os
import re
import shlex
import socket
import sys
import types

import redis

REPLY_SECONDS_MAX = 60.0
PUSH_SECONDS_MAX = 60.0
ID = re.compile(r"\b1[78]\d{11}-\d+|\b45\d{14}\b")
TIME = re.compile(r"\b1[78]\d{11}\b(?!-\d)")


class Wrong(Exception):
    """An example does not do what the page says."""


class Block:
    """A fenced block: its kind, its lines, the line of the page where it begins, and the section it is in."""

    def __init__(self, kind, number, section):
        self.kind, self.number, self.section = kind, number, section
        self.lines = []


def blocks_of(path):
    """All fenced blocks of a page."""
    blocks, section, block = [], "", None
    with open(path, encoding="utf-8") as page:
        for number, line in enumerate(page, 1):
            line = line.rstrip("\n")
            if block is not None:
                if line == "```":
                    blocks.append(block)
                    block = None
                else:
                    block.lines.append(line)
            elif line.startswith("```"):
                block = Block(line[3:].strip(), number, section)
            elif line.startswith("## "):
                section = line[3:]
    assert block is None, f"the block at line {block.number} has no end"
    return blocks


class Names:
    """Which ids and epochs of the server stand for those of the page."""

    def __init__(self):
        self.real = {}

    def in_command(self, text):
        return ID.sub(lambda found: self.real.get(found.group(), found.group()), text)

    def matches(self, expected, got):
        """Whether a line is what the page says; ids that were not known are from now on."""
        parts, ids, at = [], [], 0
        for found in sorted([*ID.finditer(expected), *TIME.finditer(expected)], key=lambda found: found.start()):
            parts.append(re.escape(expected[at : found.start()]))
            text = found.group()
            if TIME.fullmatch(text):
                parts.append(r"\d{13}")
            elif text in self.real:
                parts.append(re.escape(self.real[text]))
            elif text in ids:
                parts.append(f"(?P=id{ids.index(text)})")
            else:
                real = r"\d{13}-\d+" if "-" in text else r"\d{1,16}"
                parts.append(f"(?P<id{len(ids)}>{real})")
                ids.append(text)
            at = found.end()
        parts.append(re.escape(expected[at:]))
        match = re.fullmatch("".join(parts), got)
        if match is None:
            return False
        for number, text in enumerate(ids):
            self.real[text] = match.group(f"id{number}")
        return True

    def compare(self, expected, got, where):
        """Whether lines are what the page says; a line `...` stands for any number of them that are no errors."""
        at, is_open = 0, False
        for line in expected:
            if line == "...":
                is_open = True
                continue
            # Behind dots, the first line that is as expected.
            while is_open and at < len(got) and not got[at].startswith("(error)") and not self.matches(line, got[at]):
                at += 1
            if at >= len(got) or not self.matches(line, got[at]):
                shown = got[at] if at < len(got) else "nothing more"
                raise Wrong(f"{where}: expected\n    {line}\n  got\n    {shown}\n  of\n    " + "\n    ".join(got))
            at, is_open = at + 1, False
        if is_open and not any(line.startswith("(error)") for line in got[at:]):
            return
        if at < len(got):
            raise Wrong(f"{where}: more than expected:\n    " + "\n    ".join(got[at:]))


class Error:
    """An error reply."""

    def __init__(self, text):
        self.text = text


class Status(str):
    """A simple string."""


class Push(list):
    """What the server sends by itself."""


class Conversation:
    """A connection like redis-cli's."""

    def __init__(self, options, protocol):
        self.socket = socket.create_connection((options.host, options.port), REPLY_SECONDS_MAX)
        self.stream = self.socket.makefile("rb")
        if options.password:
            self.call(["AUTH", options.password])
        if protocol == 3:
            self.call(["HELLO", "3"])

    def call(self, words):
        """The reply to a command, behind what was pushed before it."""
        request = b"*%d\r\n" % len(words)
        for word in words:
            word = word.encode()
            request += b"$%d\r\n%b\r\n" % (len(word), word)
        self.socket.sendall(request)
        values = [self.read()]
        if words[0].upper().endswith("SUBSCRIBE"):
            # Its reply is a push in version 3 of the protocol.
            return values
        while isinstance(values[-1], Push):
            values.append(self.read())
        return values

    def pushed(self):
        """The next message that the server sends by itself."""
        self.socket.settimeout(PUSH_SECONDS_MAX)
        try:
            return self.read()
        finally:
            self.socket.settimeout(REPLY_SECONDS_MAX)

    def read(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise Wrong("the server has closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return Status(rest)
        if kind == b"-":
            return Error(rest)
        if kind == b":":
            return int(rest)
        if kind == b"_" or (kind in b"$*" and rest == "-1"):
            return None
        if kind == b"$":
            return self.stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind == b">":
            return Push(self.read() for _ in range(int(rest)))
        if kind == b"%":
            return {Pair(self.read()): self.read() for _ in range(int(rest))}
        if kind == b"#":
            return rest == "t"
        if kind == b",":
            return float(rest)
        raise Wrong(f"a reply of an unknown kind: {line!r}")


class Pair:
    """The name of a pair in a map, which may be any value."""

    def __init__(self, value):
        self.value = value


def shown(value, indent=""):
    """A reply as redis-cli shows it, line by line; lines behind the first are indented."""
    if isinstance(value, Error):
        return [f"(error) {value.text}"]
    if isinstance(value, Status):
        return [str(value)]
    if isinstance(value, bool):
        return ["(true)" if value else "(false)"]
    if isinstance(value, int):
        return [f"(integer) {value}"]
    if isinstance(value, float):
        return [f"(double) {value:g}"]
    if value is None:
        return ["(nil)"]
    if isinstance(value, bytes):
        return [quoted(value)]
    if not value:
        return ["(empty hash)" if isinstance(value, dict) else "(empty array)"]
    lines = []
    width = len(str(len(value)))
    elements = value.items() if isinstance(value, dict) else value
    for number, element in enumerate(elements, 1):
        if isinstance(value, dict):
            head = f"{number:>{width}}# {' '.join(shown(element[0].value))} => "
            element = element[1]
        else:
            head = f"{number:>{width}}) "
        inner = indent + " " * (width + 2)
        first, *rest = shown(element, inner)
        lines.append((indent if lines else "") + head + first)
        lines.extend(rest)
    return lines


def quoted(value):
    """Bytes between quotes, with what cannot be read escaped."""
    escapes = {34: '\\"', 92: "\\\\", 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}
    return '"' + "".join(escapes.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in value) + '"'


class Section:
    """What the blocks of a section share."""

    def __init__(self, options, page):
        self.options, self.page = options, page
        self.names = Names()
        self.conversations = {}
        self.module = types.SimpleNamespace(**{name: getattr(redis, name) for name in dir(redis) if not name.startswith("__")})
        self.module.Redis = self.client
        self.variables = {"__name__": "example"}
        self.clients = []

    def client(self, **options):
        at = {"host": self.options.host, "port": self.options.port, "password": self.options.password}
        self.clients.append(redis.Redis(**{**at, **options}))
        return self.clients[-1]

    def close(self):
        for client in self.clients:
            client.close()
        for conversation in self.conversations.values():
            conversation.socket.close()

    def run(self, block):
        if block.kind == "python":
            self.run_python(block)
        else:
            self.run_commands(block, 3 if block.kind.endswith("-3") else 2)

    def run_commands(self, block, protocol):
        if protocol not in self.conversations:
            self.conversations[protocol] = Conversation(self.options, protocol)
        conversation = self.conversations[protocol]
        steps = []
        for number, line in enumerate(block.lines, block.number + 1):
            if line.startswith("> "):
                steps.append((number, line[2:], []))
            elif line and steps:
                steps[-1][2].append(line)
        for number, command, expected in steps:
            got = []
            for value in conversation.call(shlex.split(self.names.in_command(command))):
                got.extend(shown(value))
            while len(got) < len(expected) and "..." not in expected:
                try:
                    got.extend(shown(conversation.pushed()))
                except TimeoutError:
                    break
            self.names.compare(expected, got, f"line {number}: {command}")

    def run_python(self, block):
        expected = [line[3:] for line in block.lines if line.startswith("#> ")]
        program = self.names.in_command("\n".join(block.lines))
        printed = io.StringIO()
        modules, sys.modules["redis"] = sys.modules["redis"], self.module
        try:
            with contextlib.redirect_stdout(printed):
                # The page is a part of this repository.
                exec(compile("\n" * block.number + program, self.page, "exec"), self.variables)
        finally:
            sys.modules["redis"] = modules
        self.names.compare(expected, printed.getvalue().splitlines(), f"line {block.number}")


def check(options, page):
    """Runs all blocks of a page; how many were right and how many wrong."""
    blocks = [block for block in blocks_of(page) if block.kind in ("redis-cli", "redis-cli -3", "python")]
    passed = failed = 0
    section, name = None, None
    for block in blocks:
        if block.section != name:
            if section is not None:
                section.close()
            section, name = Section(options, page), block.section
            section.client().flushall()
        where = f"docs: {os.path.basename(page)}: {block.section}: {block.kind} at line {block.number}"
        try:
            section.run(block)
        except Exception as error:
            failed += 1
            print(f"FAILED  {where}: {error if isinstance(error, Wrong) else repr(error)}", flush=True)
        else:
            passed += 1
            print(f"ok      {where}", flush=True)
    if section is not None:
        section.client().flushall()
        section.close()
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="Runs the examples of pages of docs/.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("pages", nargs="+", metavar="PAGE")
    parser.add_argument("--password")
    options = parser.parse_intermixed_args()
    passed = failed = 0
    for page in options.pages:
        right, wrong = check(options, page)
        # A page without examples is not the one that was meant.
        passed, failed = passed + right, failed + wrong + (right + wrong == 0)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
