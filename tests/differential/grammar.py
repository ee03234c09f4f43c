"""Commands from a grammar: how lines of a family's text become random commands.

A family (folder `families`) is a text; every line is a command with a weight in front (1 if there is none):

    4 HSET hash ( field value )+
      HRANDFIELD hash [ count [ WITHVALUES ] ]
      ZADD zset < [ NX | XX ] [ GT | LT ] [ CH ] > ( score member )+
      HTTL hash FIELDS #( field )

    CAPITALS, digits, signs   the word itself; so is 'small with a quote in front
    small letters             a draw from the pool of that name (`pools.py`)
    ( a | b )                 one of them
    [ a | b ]                 one of them, or nothing
    ( a b )+                  one to four times
    #( a b )                  a number, and that many times; now and then the number is wrong
    < a b c >                 in any order
    ?name                     at the head of an alternative: only if the peer has the feature (`features.py`)

Some of the commands are then spoilt: a word is dropped, doubled, exchanged, replaced by an odd one. What would not end
or would need memory without bounds on both servers alike is thrown away (`harmless`).

Everything is set apart by spaces.

What must stay true: the same seed gives the same commands.
"""

import re

from pools import LEX_KEYS, ODD, POOLS, WORDS

class GrammarError(Exception):
    """A line of a family is malformed."""


def _sequence(parts):
    def emit(rng, out):
        for part in parts:
            part(rng, out)

    return parts[0] if len(parts) == 1 else emit


def _choice(alternatives):
    def emit(rng, out):
        alternatives[int(rng.random() * len(alternatives))](rng, out)

    return alternatives[0] if len(alternatives) == 1 else emit


def _optional(inner):
    def emit(rng, out):
        if rng.random() < 0.35:
            inner(rng, out)

    return emit


def _repeated(inner):
    def emit(rng, out):
        inner(rng, out)
        while rng.random() < 0.4:
            inner(rng, out)

    return emit


def _counted(inner):
    def emit(rng, out):
        count = 1 + int(rng.random() ** 2 * 4)
        said = b"%d" % count
        if rng.random() < 0.06:
            said = rng.choice((b"%d" % (count + 1), b"%d" % (count - 1), b"0", b"-1", b"x", b"", b"4294967296"))
        out.append(said)
        for _ in range(count):
            inner(rng, out)

    return emit


def _shuffled(parts):
    def emit(rng, out):
        order = list(parts)
        rng.shuffle(order)
        for part in order:
            part(rng, out)

    return emit


def _leaf(word):
    if re.fullmatch(r"[a-z][a-z0-9_]*", word):
        if word not in POOLS:
            raise GrammarError(f"no pool {word!r}")
        draw = POOLS[word]
        return lambda rng, out: out.append(draw(rng))
    literal = word.removeprefix("'").encode()
    return lambda rng, out: out.append(literal)


class _Reader:
    def __init__(self, tokens, features):
        self.tokens = tokens
        self.at = 0
        self.features = features

    def alternatives(self, closers):
        """Alternatives up to one of `closers`, which is taken, too; each a list of parts."""
        found, parts, wanted = [], [], True
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token in closers or token == "|":
                if wanted:
                    found.append(parts)
                parts, wanted = [], True
                if token != "|":
                    return found, token
            elif token.startswith("?"):
                if token[1:] not in self.features:
                    raise GrammarError(f"no feature {token[1:]!r}")
                wanted = wanted and self.features[token[1:]]
            else:
                parts.append(self.part(token))
        if closers != (None,):
            raise GrammarError(f"{closers} is missing")
        found.append(parts)
        return found, None

    def part(self, token):
        nothing = lambda rng, out: None
        if token == "[":
            found, _ = self.alternatives(("]",))
            return _optional(_choice([_sequence(parts) for parts in found if parts])) if found else nothing
        if token == "<":
            found, _ = self.alternatives((">",))
            return _shuffled(found[0])
        if token in ("(", "#("):
            found, closer = self.alternatives((")", ")+"))
            inner = _choice([_sequence(parts) for parts in found])
            if token == "#(":
                return _counted(inner)
            return _repeated(inner) if closer == ")+" else inner
        return _leaf(token)


def read_family(text, features):
    """A family's text as a list of (weight, command name, emit)."""
    commands = []
    for line in text.splitlines():
        tokens = line.split()
        if not tokens:
            continue
        weight = 1.0
        if re.fullmatch(r"[0-9.]+", tokens[0]):
            weight = float(tokens.pop(0))
        try:
            found, _ = _Reader(tokens, features).alternatives((None,))
        except GrammarError as error:
            raise GrammarError(f"{line.strip()}: {error}") from None
        commands.append((weight, tokens[0], _sequence(found[0])))
    return commands


# --- spoiling ----------------------------------------------------------------------------------------------------


# Commands that give members of one score that score again; spoilt they might give another.
KEEP_SCORES_EQUAL = {b"ZADD", b"ZRANGESTORE"}


def _cased(rng, word):
    return word.lower() if rng.random() < 0.5 else bytes(b ^ 32 if rng.random() < 0.5 and chr(b).isalpha() else b for b in word)


def spoil(rng, args):
    """The command with something changed that its grammar does not foresee."""
    if args[0] in KEEP_SCORES_EQUAL and any(key in args for key in LEX_KEYS):
        return args
    args = list(args)
    at = 1 + int(rng.random() * (len(args) - 1)) if len(args) > 1 else 0
    kind = rng.random()
    if kind < 0.15 and len(args) > 1:
        del args[at]
    elif kind < 0.25 and len(args) > 1:
        args.insert(at, args[at])
    elif kind < 0.40 and len(args) > 2:
        other = 1 + int(rng.random() * (len(args) - 1))
        args[at], args[other] = args[other], args[at]
    elif kind < 0.55:
        args.insert(at if at else 1, rng.choice(WORDS))
    elif kind < 0.65:
        args.append(rng.choice(WORDS))
    elif kind < 0.72:
        del args[max(1, at) :]
    elif kind < 0.80:
        args = [args[0]] + [_cased(rng, arg) if arg.isalpha() and arg.isupper() else arg for arg in args[1:]]
    elif kind < 0.84:
        args[0] = _cased(rng, args[0])
    elif len(args) > 1:
        args[at] = rng.choice(ODD)
    return args


# --- what neither server should be asked ---------------------------------------------------------------------------


def _numbers(args):
    for arg in args:
        if re.fullmatch(rb"#?-?[0-9]+", arg):
            yield int(arg.lstrip(b"#"))


def _seconds(arg):
    """A timeout; None if it may be one of a form that is not understood here."""
    try:
        return float(arg)
    except ValueError:
        return None if b"x" in arg.lower() else -1.0


LAST_IS_TIMEOUT = {b"BLPOP", b"BRPOP", b"BZPOPMIN", b"BZPOPMAX", b"BLMOVE", b"BRPOPLPUSH"}
FIRST_IS_TIMEOUT = {b"BLMPOP", b"BZMPOP"}
BLOCK_MS_MAX = 3
FOR_EVER_S = 9.2e15  # what is longer does not fit and is refused
SPAN_MIN = 10_000  # of seconds or milliseconds until a deadline


def harmless(args):
    """Whether the command ends soon and needs no memory to speak of, on servers that know no better than to do it."""
    name = args[0].upper()
    if name in (b"ZREMRANGEBYLEX", b"ZRANGESTORE") and len(args) > 2:
        # What lies between two members is defined only where all scores are equal.
        by_bytes = name == b"ZREMRANGEBYLEX" or any(arg.upper() == b"BYLEX" for arg in args)
        if by_bytes and args[1 + (name == b"ZRANGESTORE")] not in LEX_KEYS:
            return False
    if name in (b"EXPIRE", b"PEXPIRE", b"SETEX", b"PSETEX", b"HEXPIRE", b"HPEXPIRE"):
        spans = args[2:3]
    else:
        spans = [b for a, b in zip(args, args[1:]) if a.upper() in (b"EX", b"PX")]
    if any(0 < n < SPAN_MIN for n in _numbers(spans)):
        # It would end while the test runs.
        return False
    if name == b"XADD" and b"*" in args:
        # An id from the clock.
        return False
    if args[1:2] == [b"FIELDS"]:
        # Valkey takes a key of this name for the word.
        return False
    if name == b"SORT":
        # Of elements that weigh the same by other keys' texts any may come first.
        words = {arg.upper() for arg in args[2:]}
        if {b"BY", b"ALPHA", b"STORE"} <= words:
            return False
    if name in (b"SETRANGE", b"SETBIT"):
        # A string is at most 512 MB: what lies between a little and that would be allocated.
        return not any(1 << 14 < n < 1 << 32 and (name == b"SETBIT" or n <= 1 << 29) for n in _numbers(args[2:3]))
    if name in (b"BITFIELD", b"BITFIELD_RO"):
        # An offset with # counts in widths of up to 64 bits. Beyond 2^32 bits it is refused.
        if b"SAT" in args and any(n < -(1 << 62) for n in _numbers(args)):
            # Redis and Valkey take so small a number for a large one.
            return False
        offsets = [b for a, b in zip(args, args[2:]) if a.upper() in (b"GET", b"SET", b"INCRBY")]
        return not any(1 << 12 < n < 1 << 33 for n in _numbers(offsets))
    if name in (b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"):
        # A negative count asks for that many, of a set of any size.
        return not any(-(1 << 63) < n < -100 for n in _numbers(args[2:3]))
    if name == b"XAUTOCLAIM":
        return not any(1 << 12 < n < 1 << 60 for n in _numbers(args[6:]))
    if name in LAST_IS_TIMEOUT or name in FIRST_IS_TIMEOUT:
        if len(args) < 2:
            return True
        timeout = _seconds(args[-1] if name in LAST_IS_TIMEOUT else args[1])
        # What rounds to no milliseconds waits for ever.
        return timeout is not None and not -0.001 < timeout < 0.0001 and not BLOCK_MS_MAX / 1000 < timeout < FOR_EVER_S
    if name in (b"XREAD", b"XREADGROUP"):
        words = [arg.upper() for arg in args]
        for at, word in enumerate(words[:-1]):
            if word == b"BLOCK" and any(n == 0 or BLOCK_MS_MAX < n < 1 << 63 for n in _numbers(args[at + 1 : at + 2])):
                return False
    return True
