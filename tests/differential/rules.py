"""Known differences: one rule each, with the row of `docs/compatibility.md` that allows it.

A rule says as exactly as it can which commands and which pairs of replies it covers, so that it hides nothing else.
`row` is the beginning of that row's first cell (the test that reads the page is in `check`). A rule that never fires in
a long run is reported: either the difference is gone, or the grammar does not reach it any more.
"""

import pathlib
import re

from wire import Failure, Many

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"


class Rule:
    """`peers`: kinds of server it holds for. `covers(args, ours, theirs)` gets the command's words and two parsed
    replies. `leaves_them_apart`: after it the keys of the command hold different things."""

    def __init__(self, row, peers, names, covers, leaves_them_apart=False):
        self.row = row
        self.peers = peers.split()
        self.names = {name.encode() for name in names.split()}
        self.covers = covers
        self.leaves_them_apart = leaves_them_apart
        self.fired = 0


def errors(ours, theirs):
    """Two errors with texts that match."""
    return lambda args, a, b: failed(a, ours) and failed(b, theirs)


def failed(reply, text):
    return isinstance(reply, Failure) and re.search(text.encode(), reply) is not None


def bulks(ours, theirs):
    return lambda args, a, b: (a, b) == (ours, theirs)


RULES = [
    Rule("`OBJECT ENCODING` of a string of 45 bytes or somewhat more", "valkey", "OBJECT", bulks(b"raw", b"embstr")),
    Rule(
        "`SCAN .. TYPE` with a name that is no type",
        "redis",
        "SCAN",
        lambda args, a, b: failed(a, "unknown type name") and isinstance(b, Many),
    ),
]


class Rules:
    """The rules that hold for a pair of servers."""

    def __init__(self, ours, theirs):
        self.rules = [rule for rule in RULES if theirs.kind in rule.peers]

    def match(self, args, ours, theirs):
        name = args[0].upper()
        for rule in self.rules:
            if (name in rule.names or not rule.names) and rule.covers(args, ours, theirs):
                rule.fired += 1
                return rule
        return None

    def idle(self):
        return [rule for rule in self.rules if not rule.fired]


def check():
    """Rows that the page does not have."""
    page = PAGE.read_text()
    return [rule.row for rule in RULES if f"| {rule.row}" not in page]
