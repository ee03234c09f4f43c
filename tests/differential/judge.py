"""Whether two replies to one command mean the same.

Most replies must be equal to the byte. The exceptions are properties of the commands, the same for every pair of
servers, and each is as narrow as its command allows:

  order      members of sets and fields of hashes have none; results of geo queries have none unless one is asked for
             of ranges of bytes in sorted sets of different scores nothing is defined but that there is a reply
  chance     SRANDMEMBER and its like: same form and number, no member that was not there, none twice if so promised
  cursors    how much a SCAN returns at a time is the server's affair; two complete pages must hold the same
  time       what is left until a deadline, or has passed since a moment, may differ by what the test itself takes

What differs between servers on purpose is not here but in `rules.py`.
"""

from pools import KEYS, LEX_KEYS
from wire import Failure, Many, Null, Number, Text, parse

SLACK_S = 4
SLACK_MS = 4000


def _key(value):
    """Something to sort any replies by."""
    if isinstance(value, Many):
        return (value.kind, *map(_key, value.items))
    return (type(value).__name__, repr(value))


def _sorted(items):
    return sorted(items, key=_key)


def same_elements(ours, theirs):
    """Equal up to the order of elements (of a map: of its pairs)."""
    if not (isinstance(ours, Many) and isinstance(theirs, Many)) or ours.kind != theirs.kind:
        return ours == theirs
    if ours.kind == "%":
        return same_pairs(ours, theirs)
    return len(ours.items) == len(theirs.items) and _sorted(ours.items) == _sorted(theirs.items)


def same_pairs(ours, theirs):
    """Equal up to the order of pairs, whether a map or a flat array says them."""
    if not (isinstance(ours, Many) and isinstance(theirs, Many)) or ours.kind != theirs.kind:
        return ours == theirs
    if len(ours.items) != len(theirs.items):
        return False
    return sorted(((_key(k), _key(v)) for k, v in ours.pairs())) == sorted(((_key(k), _key(v)) for k, v in theirs.pairs()))


def same_but_for_zeros(ours, theirs):
    """Equal up to the order of texts with a byte zero, which servers compare as far as that byte only."""
    with_zero = any(isinstance(leaf, bytes) and b"\0" in leaf for leaf in _leaves(ours))
    return ours == theirs or (with_zero and same_form(ours, theirs))


def same_form(ours, theirs):
    """Of one type; aggregates of as many elements of the same forms."""
    if type(ours) is not type(theirs) or isinstance(ours, (Failure, Text, Null)):
        return ours == theirs
    if isinstance(ours, Many):
        return ours.kind == theirs.kind and len(ours.items) == len(theirs.items) and all(map(same_form, ours.items, theirs.items))
    return True


def same_count(ours, theirs):
    """Aggregates of as many elements, whatever they are; everything else equal."""
    if isinstance(ours, Many) and isinstance(theirs, Many):
        return ours.kind == theirs.kind and len(ours.items) == len(theirs.items)
    return ours == theirs


def near(slack):
    def same(ours, theirs):
        """Equal, or both numbers of moments not far from each other. Negative numbers are codes."""
        if isinstance(ours, Many) and isinstance(theirs, Many):
            return ours.kind == theirs.kind and len(ours.items) == len(theirs.items) and all(map(same, ours.items, theirs.items))
        if isinstance(ours, int) and isinstance(theirs, int) and ours >= 0 and theirs >= 0:
            return abs(ours - theirs) <= slack
        return ours == theirs

    return same


# --- chance --------------------------------------------------------------------------------------------------------


def _leaves(value):
    if isinstance(value, Many):
        for item in value.items:
            yield from _leaves(item)
    else:
        yield value


def picked(args, reply, members):
    """Whether what was picked at random could have been. `members`: what the key held, or None if that is not known."""
    if members is None:
        return True
    picks = list(_leaves(reply)) if isinstance(reply, Many) else [reply]
    if isinstance(reply, Many) and len(args) > 3:
        # With values: name and value in turns, flat or paired.
        picks = picks[::2]
    picks = [pick for pick in picks if not isinstance(pick, (Null, Failure))]
    if any(pick not in members for pick in picks):
        return False
    count = args[2] if len(args) > 2 else b"1"
    return count.startswith(b"-") or len(set(picks)) == len(picks)


# --- cursors -------------------------------------------------------------------------------------------------------


def same_page(paired):
    def same(ours, theirs):
        if not (isinstance(ours, Many) and isinstance(theirs, Many)):
            return ours == theirs
        forms = [(page.kind, len(page.items), type(page.items[0]), getattr(page.items[1], "kind", None)) for page in (ours, theirs)]
        if forms[0] != forms[1]:
            return False
        if ours.items[0] == b"0" and theirs.items[0] == b"0":
            return (same_pairs if paired else same_elements)(ours.items[1], theirs.items[1])
        return True

    return same


def same_distances(ours, theirs):
    """Rows of members and distances: the distances in their order; of members as far away any may come first."""
    rows = [[row.items[1] if isinstance(row, Many) else row for row in reply.items] for reply in (ours, theirs) if isinstance(reply, Many)]
    return same_form(ours, theirs) and (len(rows) < 2 or rows[0] == rows[1])


# --- streams -------------------------------------------------------------------------------------------------------

TIMES = {b"idle", b"inactive", b"seen-time", b"active-time"}


def same_description(ours, theirs, under=b""):
    """XINFO: times may differ a little. They stand under their names; in lists of pending entries the last but one
    number of an entry is one."""
    if not (isinstance(ours, Many) and isinstance(theirs, Many)):
        return ours == theirs
    if ours.kind != theirs.kind or len(ours.items) != len(theirs.items):
        return False
    named = ours.kind == "%" or (len(ours.items) % 2 == 0 and ours.items and ours.items[0] in (b"length", b"name"))
    for at, (a, b) in enumerate(zip(ours.items, theirs.items)):
        name = ours.items[at - 1] if named and at % 2 else under
        if under in (b"pel", b"pending") and at == len(ours.items) - 2 and isinstance(a, int) and isinstance(b, int):
            same = abs(a - b) <= SLACK_MS
        elif name in TIMES and isinstance(a, int) and isinstance(b, int) and a >= 0 and b >= 0:
            same = abs(a - b) <= SLACK_MS
        else:
            same = same_description(a, b, name)
        if not same:
            return False
    return True


def same_pending(ours, theirs):
    """XPENDING in its long form: id, consumer, time since delivery, deliveries."""
    if not (isinstance(ours, Many) and isinstance(theirs, Many)) or len(ours.items) != len(theirs.items):
        return ours == theirs
    for a, b in zip(ours.items, theirs.items):
        if not (isinstance(a, Many) and isinstance(b, Many) and len(a.items) == len(b.items) == 4):
            if a != b:
                return False
        elif [a.items[at] for at in (0, 1, 3)] != [b.items[at] for at in (0, 1, 3)] or abs(a.items[2] - b.items[2]) > SLACK_MS:
            return False
    return True


# --- which command is judged how -------------------------------------------------------------------------------------

BY_NAME = {
    **dict.fromkeys((b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"HKEYS", b"HVALS", b"KEYS"), same_elements),
    b"HGETALL": same_pairs,
    **dict.fromkeys((b"TTL", b"EXPIRETIME", b"HTTL", b"HEXPIRETIME"), near(SLACK_S)),
    **dict.fromkeys((b"PTTL", b"PEXPIRETIME", b"HPTTL", b"HPEXPIRETIME"), near(SLACK_MS)),
    **dict.fromkeys((b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER", b"SPOP", b"RANDOMKEY"), same_form),
    b"XPENDING": same_pending,
    b"XINFO": same_description,
}
SCANS = {b"SCAN": 1, b"SSCAN": 2, b"HSCAN": 2, b"ZSCAN": 2}  # where the cursor stands
BY_BYTES = {b"ZRANGEBYLEX", b"ZREVRANGEBYLEX", b"ZLEXCOUNT"}
GEO_QUERIES = {b"GEORADIUS", b"GEORADIUS_RO", b"GEORADIUSBYMEMBER", b"GEORADIUSBYMEMBER_RO", b"GEOSEARCH"}
PICKS = {b"SRANDMEMBER": b"SMEMBERS", b"HRANDFIELD": b"HKEYS", b"ZRANDMEMBER": b"ZRANGE"}


def judge_of(args):
    """The function that compares two replies to this command; None where they must be equal."""
    name = args[0].upper()
    found = BY_NAME.get(name)
    if found:
        return found
    if name in SCANS:
        if args[SCANS[name] :][:1] != [b"0"]:
            # What is left of a walk that nobody began.
            return lambda ours, theirs: type(ours) is type(theirs) and not isinstance(ours, Failure)
        words = {arg.upper() for arg in args[3:]}
        return same_page(name in (b"HSCAN", b"ZSCAN") and not words & {b"NOVALUES", b"NOSCORES"})
    if name == b"OBJECT" and args[1:2] and args[1].upper() == b"IDLETIME":
        # Told by a clock that may stand still for a while.
        return near(60)
    if args[1:] and args[1] not in LEX_KEYS and (name in BY_BYTES or name == b"ZRANGE" and any(arg.upper() == b"BYLEX" for arg in args)):
        # Where scores differ, the place of a range of bytes depends on how the search goes.
        return lambda ours, theirs: type(ours) is type(theirs) and not isinstance(ours, Failure)
    if name in GEO_QUERIES:
        words = {arg.upper() for arg in args}
        if b"ANY" in words or args[1:] and args[1] not in KEYS["geo"]:
            # In what was not meant as an index many members lie at one place.
            return same_form
        if not words & {b"ASC", b"DESC", b"COUNT"}:
            return same_elements
        if b"WITHDIST" in words:
            return same_distances
        return same_form if b"COUNT" in words else same_elements
    if name in (b"SORT", b"SORT_RO"):
        words = [arg.upper() for arg in args]
        unsorted = any(word == b"BY" and (b"*" not in args[at + 1] or b"ALPHA" in words) for at, word in enumerate(words[:-1]))
        if unsorted and b"STORE" not in words:
            return same_count if b"LIMIT" in words else same_elements
        if b"ALPHA" in words and b"STORE" not in words:
            return same_but_for_zeros
    return None


def agree(args, ours, theirs):
    """Whether the frames of two replies to one command agree."""
    if ours == theirs:
        return True
    judge = judge_of(args)
    return judge is not None and judge(parse(ours), parse(theirs))
