"""Known differences: one rule each, with the row of `docs/compatibility.md` that allows it.

A rule says as exactly as it can which commands and which pairs of replies it covers, so that it hides nothing else.
`row` is the beginning of that row's first cell (the test that reads the page is in `check`). A rule that never fires in
a long run is reported: either the difference is gone, or the grammar does not reach it any more.
"""

import pathlib
import re

from judge import same_description
from pools import KEYS
from wire import Failure, Many

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"


FIELD_EXPIRY = "HEXPIRE HEXPIREAT HPEXPIRE HPEXPIREAT HTTL HPTTL HEXPIRETIME HPEXPIRETIME HPERSIST HGETDEL HGETEX HSETEX"
INFO_OF_8_8 = {b"idmp-duration", b"idmp-maxsize", b"pids-tracked", b"iids-tracked", b"iids-added", b"iids-duplicates", b"nacked-count"}
GEO = "GEORADIUS GEORADIUSBYMEMBER GEORADIUS_RO GEORADIUSBYMEMBER_RO GEOSEARCH GEOSEARCHSTORE"
SCORED = "ZADD ZINCRBY ZUNION ZINTER ZUNIONSTORE ZINTERSTORE GEOADD " + GEO
NUMBERS = "ZSCORE ZMSCORE ZINCRBY ZADD ZRANGE ZRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZUNION ZINTER ZDIFF ZPOPMIN ZPOPMAX ZMPOP BZPOPMIN BZPOPMAX BZMPOP ZRANK ZREVRANK ZSCAN"
SCORE_RANGES = "ZCOUNT ZRANGE ZRANGESTORE ZRANGEBYSCORE ZREVRANGEBYSCORE ZREMRANGEBYSCORE"
OLD_ENCODINGS = [(b"listpack", b"hashtable"), (b"listpack", b"intset"), (b"listpack", b"quicklist")]


class Rule:
    """`peers`: kinds of server it holds for, with `<` and `>=` of versions. `covers(args, ours, theirs)` gets the
    command's words and two parsed replies. `leaves_them_apart`: after it the keys of the command hold different things."""

    def __init__(self, row, peers, names, covers, leaves_them_apart=False):
        self.row = row
        self.peers = peers
        self.names = {name.encode() for name in names.split()}
        self.covers = covers
        self.leaves_them_apart = leaves_them_apart
        self.fired = 0

    def holds_for(self, server):
        for peer in self.peers.split():
            kind, sign, version = re.fullmatch(r"([a-z]+)(?:(<|>=)([0-9.]+))?", peer).groups()
            if kind != server.kind:
                continue
            wanted = tuple(map(int, version.split("."))) if version else ()
            if not sign or (server.version < wanted if sign == "<" else server.version >= wanted):
                return True
        return False


# --- what rules are made of ----------------------------------------------------------------------------------------


def failed(reply, text=""):
    return isinstance(reply, Failure) and re.search(text.encode(), reply) is not None


def errors(ours="", theirs=""):
    """Two errors, each with its text."""
    return lambda args, a, b: failed(a, ours) and failed(b, theirs)


def only_we_fail(text):
    return lambda args, a, b: failed(a, text) and not isinstance(b, Failure)


def we_look_earlier(text):
    """Ours is an error about arguments, theirs comes of the key: a reply, or that it has another type."""
    return lambda args, a, b: failed(a, text) and (not isinstance(b, Failure) or failed(b, "WRONGTYPE"))


def only_they_fail(text):
    return lambda args, a, b: failed(b, text) and not isinstance(a, Failure)


def both(ours, theirs):
    """Two bulk strings."""
    return lambda args, a, b: (a, b) == (ours, theirs)


def with_word(pattern, covers):
    """One of the command's words matches."""
    compiled = re.compile(pattern.encode(), re.IGNORECASE)
    return lambda args, a, b: any(compiled.fullmatch(arg) for arg in args[1:]) and covers(args, a, b)


def near_numbers(slack):
    """Equal but for the text of numbers, which may differ by that part of them."""

    def same(args, ours, theirs):
        if isinstance(ours, Many) and isinstance(theirs, Many):
            return ours.kind == theirs.kind and len(ours.items) == len(theirs.items) and all(same(args, a, b) for a, b in zip(ours.items, theirs.items))
        if ours == theirs:
            return True
        try:
            a, b = float(ours.lstrip(b",")), float(theirs.lstrip(b","))
        except (AttributeError, ValueError):
            return False
        return type(ours) is type(theirs) and abs(a - b) <= slack * max(1.0, abs(a))

    return same


def without(names, judge):
    """Ours has fields besides; the rest is judged."""

    def strip(value):
        if not isinstance(value, Many):
            return value
        items = [strip(item) for item in value.items]
        if value.kind == "%" or (len(items) % 2 == 0 and any(name in names for name in items[::2] if isinstance(name, bytes))):
            items = [part for name, item in zip(items[::2], items[1::2]) if name not in names for part in (name, item)]
        return Many(value.kind, items)

    return lambda args, a, b: judge(strip(a), strip(b))


def lag_alone(args, ours, theirs):
    """XINFO of which only the lag of groups differs."""
    return without(INFO_OF_8_8 | {b"lag"}, same_description)(args, ours, theirs)


def negative_offset(args, ours, theirs):
    words = [arg.upper() for arg in args]
    offset = next((b for a, b in zip(words, words[1:]) if a == b"LIMIT"), b"0")
    return offset.startswith(b"-") and (ours == 0 or isinstance(ours, Many) and not ours.items)


def same_scores_scanned(args, ours, theirs):
    """Two whole walks with the same members and scores, in different order and digits."""
    try:
        pairs = [{member: float(score) for member, score in reply.items[1].pairs()} for reply in (ours, theirs)]
        return pairs[0] == pairs[1] and ours.items[0] == theirs.items[0] == b"0"
    except (AttributeError, ValueError):
        return False


HEXADECIMAL = "[-+]?0x.*"

RULES = [
    # keys and strings
    Rule("`OBJECT ENCODING` of a string of 45 bytes or somewhat more", "valkey", "OBJECT", both(b"raw", b"embstr")),
    Rule("`SCAN .. TYPE` with a name that is no type", "redis", "SCAN", lambda args, a, b: failed(a, "unknown type name")),
    Rule("`GETEX` on a missing key with an expiry that is no positive number", "redis", "GETEX", we_look_earlier("invalid expire|not an integer")),
    Rule("`DBSIZE` after `SET`", "redis valkey", "DBSIZE", lambda args, a, b: isinstance(a, int) and isinstance(b, int) and a < b),
    Rule("`SORT` by elements that are empty", "redis", "SORT SORT_RO", only_we_fail("can't be converted into double"), leaves_them_apart=True),
    # lists
    Rule("`LSET l 4294967296 v`", "redis valkey", "LSET", only_we_fail("index out of range"), leaves_them_apart=True),
    # bitmaps
    Rule("`BITCOUNT key start` without an end", "redis", "BITCOUNT", lambda args, a, b: len(args) == 3 and failed(b, "syntax error")),
    Rule("`BITCOUNT k 0 a foo`: both end and unit are wrong", "redis", "BITCOUNT", errors("syntax error", "not an integer")),
    Rule("`BITFIELD .. GET SET u32 ..`", "redis", "BITFIELD BITFIELD_RO", errors("syntax error", "Invalid bitfield type")),
    # hashes
    Rule("wrong arguments of `HEXPIRE`", "redis", FIELD_EXPIRY, errors()),
    Rule("wrong arguments of `HEXPIRE`", "redis", FIELD_EXPIRY, only_they_fail("Mandatory argument FIELDS|Only one of"), leaves_them_apart=True),
    Rule("`HEXPIRE` and its like with a moment beyond", "redis", FIELD_EXPIRY, only_they_fail("invalid expire time"), leaves_them_apart=True),
    Rule("`HSETEX .. NX`, `XX`", "redis", "HSETEX", with_word("nx|xx", only_they_fail("unknown argument")), leaves_them_apart=True),
    Rule("`OBJECT ENCODING` of a hash whose fields have deadlines", "redis", "OBJECT", lambda args, a, b: b == b"listpackex" or (a, b) == (b"listpack", b"hashtable")),
    Rule("`SPOP` of most of a big set", "valkey redis", "OBJECT", lambda args, a, b: a == b"hashtable" and b in (b"listpack", b"intset") and args[2] in KEYS["set"]),
    # sorted sets and places
    Rule(
        "hexadecimal scores, weights and coordinates",
        "redis",
        SCORED,
        with_word(HEXADECIMAL, lambda args, a, b: failed(a, "not a (valid )?float|need numeric")),
        leaves_them_apart=True,
    ),
    Rule("text of a double", "valkey redis", NUMBERS, near_numbers(0.0)),
    Rule("`ZRANGE k 0 9 BYSCORE LIMIT -1 5` and its like", "redis valkey", "ZRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZRANGEBYLEX ZREVRANGEBYLEX ZRANGESTORE", negative_offset, leaves_them_apart=True),
    Rule("`OBJECT ENCODING` after `ZADD .. XX`", "redis", "OBJECT", both(b"skiplist", b"listpack")),
    Rule("`OBJECT ENCODING` after `ZADD .. XX`", "redis", "ZSCAN", same_scores_scanned),
    Rule("geo query from a member that is not there", "redis", GEO, errors("member .* does not exist", "could not decode requested zset member")),
    Rule("`GEOSEARCH` without exactly one shape", "redis", GEO, errors("exactly one of BYRADIUS, BYBOX and BYPOLYGON", "exactly one of BYRADIUS and BYBOX")),
    Rule("coordinates in replies", "redis", "GEOPOS " + GEO, near_numbers(1e-12)),
    # lists
    Rule("`LSET l 4294967296 v`", "valkey redis", "LSET", only_we_fail("index out of range"), leaves_them_apart=True),
    # streams
    Rule("`XINFO GROUPS`, `XINFO STREAM FULL`: `lag`", "valkey redis", "XINFO", lag_alone),
    Rule("`radix-tree-keys`, `radix-tree-nodes`", "valkey redis", "XINFO", without({b"radix-tree-keys", b"radix-tree-nodes", b"lag"}, same_description), leaves_them_apart=True),
    Rule("counts of streams beyond 2^63 - 1", "valkey redis", "XINFO", without({b"entries-added", b"entries-read", b"lag"}, same_description)),
    Rule("`XREAD` with `+` where the last entry was deleted", "valkey", "XREAD", lambda args, a, b: b"+" in args and isinstance(a, Many)),
    Rule("`XREAD` and `XREADGROUP` with an odd number of words", "redis", "XREAD", errors("Unbalanced 'xread'", "Unbalanced 'xread'")),
    # older versions
    Rule("`OBJECT ENCODING` of a small list", "redis<7.2", "OBJECT", lambda args, a, b: (a, b) in OLD_ENCODINGS),
    Rule("`ZRANK`, `ZREVRANK` with `WITHSCORE`", "redis<7.2", "ZRANK ZREVRANK", lambda args, a, b: failed(b, "wrong number of arguments")),
    Rule("`XREAD STREAMS k +`", "redis<7.4", "XREAD", lambda args, a, b: b"+" in args and failed(b, "Invalid stream ID")),
    Rule("texts of errors:", "redis<7.2", "XREAD XREADGROUP", errors("Unbalanced", "Unbalanced")),
    Rule("texts of errors:", "redis<7.2", "BLPOP BRPOP BLMOVE BRPOPLPUSH BLMPOP BZPOPMIN BZPOPMAX BZMPOP", errors("timeout", "timeout")),
    Rule("`BITCOUNT`, `BITPOS` on a missing key", "redis<7.2", "BITCOUNT BITPOS", we_look_earlier("not an integer|syntax error|must be 1 or 0")),
    Rule("cursors that are negative", "redis<7.4", "SCAN SSCAN HSCAN ZSCAN", lambda args, a, b: failed(a, "invalid cursor") or failed(b, "invalid cursor")),
    Rule("`LREM`, `LPOS .. RANK`", "redis<7.2", "LREM LPOS", we_look_earlier("value is out of range"), leaves_them_apart=True),
    Rule("scores of ranges that begin", "redis<8.0", SCORE_RANGES, we_look_earlier("min or max is not a float"), leaves_them_apart=True),
    Rule("`SORT` after a number", "redis", "SORT SORT_RO", only_they_fail("can't be converted into double"), leaves_them_apart=True),
    Rule("`XSETID` to an id below", "redis<7.2", "XSETID", lambda args, a, b: failed(a, "max_deleted_entry_id"), leaves_them_apart=True),
    Rule("`XCLAIM`, `XAUTOCLAIM`, `XREADGROUP`", "redis<7.2", "XGROUP", lambda args, a, b: isinstance(a, int) and isinstance(b, int)),
    Rule("`XINFO`: when consumers", "redis<7.2", "XINFO", lambda args, a, b: isinstance(a, Many) and isinstance(b, Many)),
]


class Rules:
    """The rules that hold beside a peer."""

    def __init__(self, peer):
        self.rules = [rule for rule in RULES if rule.holds_for(peer)]

    def match(self, args, ours, theirs):
        name = args[0].upper()
        for rule in self.rules:
            if name in rule.names and rule.covers(args, ours, theirs):
                rule.fired += 1
                return rule
        return None

    def idle(self):
        return [rule for rule in self.rules if not rule.fired]


def check():
    """Rows that the page does not have."""
    page = PAGE.read_text()
    return [rule.row for rule in RULES if f"| {rule.row}" not in page]
