"""Pools: what the words of a grammar in small letters stand for.

Few names, so that commands meet the same keys, fields and members again and again; and beside ordinary values those at
which programs break: the ends of number ranges, numbers in forms that may or may not be read, empty and binary strings,
strings at both sides of a limit of small encodings.
"""

KEYS = {
    "str": [b"s1", b"s2", b"s3"],
    "hll": [b"p1", b"p2", b"p3"],
    "hash": [b"h1", b"h2", b"h3"],
    "list": [b"l1", b"l2", b"l3"],
    "set": [b"e1", b"e2", b"e3", b"e4"],
    "zset": [b"z1", b"z2", b"z3", b"z4"],
    "geo": [b"g1", b"g2"],
    "stream": [b"x1", b"x2", b"x3"],
}
ALL_KEYS = [key for keys in KEYS.values() for key in keys] + [b"", b"k\x00\xff"]
# Sorted sets whose members all have one score: only there the order by bytes is defined. Nothing else draws them.
LEX_KEYS = [b"y1", b"y2"]
ALL_KEYS += LEX_KEYS
KEY_SET = frozenset(ALL_KEYS)
OTHER_KEYS = [key for key in ALL_KEYS if key not in LEX_KEYS]

INT_EDGES = [b"%d" % n for edge in (1 << 31, 1 << 32, 1 << 63, 1 << 64) for n in (edge - 1, edge, edge + 1)]
INT_EDGES += [b"-" + n for n in INT_EDGES] + [b"9223372036854775806", b"-9223372036854775807"]
INT_FORMS = [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"1e3", b"0x10", b"a", b"--1", b"1\x00", b"1_0", b"- 1"]
FLOAT_EDGES = [b"inf", b"-inf", b"+inf", b"INF", b"Infinity", b"-Infinity", b"nan", b"-nan", b"1e308", b"-1e308", b"1.7976931348623157e308",
               b"2e308", b"-2e308", b"5e-324", b"1e-400", b"2.2250738585072014e-308", b"-0", b"0.0", b"-0.0", b"9007199254740993", b"1e17", b"1e21", b"123456789012345678901234567890"]
FLOAT_FORMS = [b"", b" 1", b"1 ", b"+1", b"1.", b".5", b"1e", b"e5", b"0x1p3", b"1,5", b"a", b"1.5.2", b"infin", b"nan(1)", b"1\x00"]
FLOATS = [b"0", b"1", b"-1", b"2", b"3", b"5", b"10", b"0.5", b"-1.5", b"0.1", b"0.2", b"3.14", b"1e2", b"100", b"-7", b"1e-7", b"12345.678", b"3.0", b"1e15", b"1e16"]

LONG = [b"y" * 15, b"x" * 16, b"x" * 17, b"v" * 63, b"v" * 64, b"w" * 65, b"z" * 300]
TEXTS = [b"a", b"b", b"c", b"d", b"foo", b"bar", b"", b"hello", b"A", b"a b", b"\x00\xff\r\n", b"\xc3\xa9", b"#", b"*"]
INT_TEXTS = [b"0", b"1", b"2", b"3", b"10", b"-5", b"127", b"128", b"-129", b"4095", b"4096", b"32767", b"32768", b"-32769", b"65536", b"8388608", b"2147483647",
             b"2147483648", b"-2147483649", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"007", b"-0", b"1.5"]
MEMBERS = [b"a", b"b", b"c", b"d", b"e", b"f", b"1", b"2", b"3", b"foo"]

# Words for places where they do not belong.
WORDS = [b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR", b"COUNT", b"LIMIT", b"WITHSCORES", b"FIELDS", b"STORE", b"GET", b"EX", b"PX", b"KEEPTTL", b"MATCH",
         b"BYSCORE", b"BYLEX", b"REV", b"ANY", b"ASC", b"WEIGHTS", b"AGGREGATE", b"MAXLEN", b"STREAMS", b"FOO", b"", b"0", b"1", b"-1", b"a", b"~", b"="]
ODD = INT_EDGES + INT_FORMS + FLOAT_EDGES + FLOAT_FORMS + LONG + OTHER_KEYS + [b"(1", b"[a", b"(", b"[", b"+", b"-", b"$", b">", b"*", b"0-0", b"1-1"]


def _of(*weighted):
    """A draw from several lists, each with a weight."""
    lists = [(values, weight) for values, weight in weighted if values]
    total = sum(weight for _, weight in lists)
    steps, sum_ = [], 0.0
    for values, weight in lists:
        sum_ += weight / total
        steps.append((sum_, values, len(values)))
    steps[-1] = (2.0, *steps[-1][1:])

    def draw(rng):
        at = rng.random()
        for limit, values, size in steps:
            if at < limit:
                return values[int(rng.random() * size)]

    return draw


def _key(family):
    return _of((KEYS[family], 92), (OTHER_KEYS, 8))


def _numbers(low, high):
    return [b"%d" % n for n in range(low, high + 1)]


def _many_texts(rng):
    return b"m%d" % int(rng.random() * 60)


def _field(rng):
    at = rng.random()
    if at < 0.62:
        return MEMBERS[int(rng.random() * 10)]
    if at < 0.80:
        return _many_texts(rng)
    return _odd_text(rng)


_odd_text = _of((TEXTS, 4), (INT_TEXTS, 4), (LONG, 1))
_small = _of((_numbers(0, 20), 3), (_numbers(-200, 200), 2), (INT_TEXTS, 2))


def _int_member(rng):
    return _small(rng) if rng.random() < 0.9 else _field(rng)


def _seconds_ahead(rng):
    """Far enough that it does not come during the test, and hardly ever the same moment twice."""
    return b"%d" % (10_000 + int(rng.random() * 3_000_000))


def _ms_ahead(rng):
    return b"%d" % (10_000_000 + int(rng.random() * 3_000_000_000))


def _mix(usual, *others):
    """Mostly `usual`; each of the others with its share."""

    def draw(rng):
        at = rng.random()
        for share, other in others:
            if at < share:
                return other(rng)
            at -= share
        return usual(rng)

    return draw


_edge = _of((INT_EDGES, 3), (INT_FORMS, 2))
_bad_time = _of(([b"0", b"-1", b"-100"], 6), (INT_EDGES, 2), (INT_FORMS, 1), ([b"9223372036854775", b"9223372036854776", b"-9223372036854776"], 2))
_score = _mix(_of((_numbers(0, 6), 5), (FLOATS, 3)), (0.05, _of((FLOAT_EDGES, 3), (FLOAT_FORMS, 1))))


def _border(rng):
    text = _score(rng)
    at = rng.random()
    if at < 0.25:
        return b"(" + text
    if at < 0.40:
        return b"-inf"
    if at < 0.55:
        return b"+inf"
    return text


def _lex(rng):
    at = rng.random()
    if at < 0.2:
        return b"-"
    if at < 0.4:
        return b"+"
    if at < 0.96:
        return (b"[" if rng.random() < 0.6 else b"(") + _field(rng)
    return rng.choice((b"", b"a", b"[", b"(", b"++", b"--", b"+a", b"inf"))


def _entry_id(rng):
    return b"%d-%d" % (int(rng.random() * 25), int(rng.random() * 3))


_id_edges = _of(([b"0", b"0-0", b"0-1", b"1", b"5", b"12", b"7-*", b"0-*", b"20-*", b"30"], 5),
                ([b"18446744073709551615-18446744073709551615", b"18446744073709551615-0", b"18446744073709551615", b"18446744073709551615-*",
                  b"18446744073709551614-18446744073709551615", b"5-18446744073709551615", b"18446744073709551616", b"1-18446744073709551616"], 2),
                ([b"", b"-", b"+", b"a", b"1-", b"-1", b"1-a", b"1-1-1", b" 1-1", b"1 -1", b"$", b">", b"01-1", b"+1-1", b"0x1-1", b"*-*", b"*-1", b"1.5"], 1))


def _rising_id(rng):
    """Mostly above what the stream has: the counter belongs to the random source, so that a seed gives the same ids."""
    rng.clock = getattr(rng, "clock", 0) + (1 if rng.random() < 0.5 else 0)
    if rng.random() < 0.3:
        return b"%d-*" % rng.clock
    return b"%d-%d" % (rng.clock, int(rng.random() * 4))


def _any_id(rng):
    """An id that is likely to be in a stream."""
    clock = getattr(rng, "clock", 0)
    at = max(0, clock - int(rng.random() ** 2 * 40))
    return b"%d-%d" % (at, int(rng.random() * 4)) if rng.random() < 0.75 else b"%d" % at


def _range_id(rng):
    at = rng.random()
    if at < 0.25:
        return b"-"
    if at < 0.5:
        return b"+"
    if at < 0.6:
        return b"(" + _any_id(rng)
    return _any_id(rng) if at < 0.94 else _id_edges(rng)


def _real(low, high, digits):
    def draw(rng):
        return b"%.*f" % (digits, low + rng.random() * (high - low))

    return draw


_places = [b"0", b"1", b"-1", b"2", b"13.361389", b"15.087269", b"38.115556", b"37.502669", b"-0.1275", b"51.5", b"2.35", b"48.85", b"0.5", b"0.25", b"85", b"-85"]


def _bit_type(rng):
    at = rng.random()
    if at < 0.95:
        sign = b"u" if rng.random() < 0.5 else b"i"
        return sign + b"%d" % rng.choice((1, 2, 3, 5, 8, 13, 16, 31, 32, 33, 63) if sign == b"u" else (1, 2, 3, 5, 8, 13, 16, 32, 63, 64))
    return rng.choice((b"u64", b"i65", b"u0", b"i0", b"", b"u", b"x8", b"8", b"u-1", b"i08", b"u8 "))


def _bit_field_offset(rng):
    n = int(rng.random() * 70)
    return (b"#%d" if rng.random() < 0.3 else b"%d") % (n if rng.random() < 0.93 else n - 35)


POOLS = {
    **{family: _key(family) for family in KEYS},
    "any": _of((OTHER_KEYS, 1)),
    "lexset": _of((LEX_KEYS, 1)),
    # texts
    "text": _of((TEXTS, 5), (INT_TEXTS, 3), (LONG, 2)),
    "value": _of((TEXTS, 4), (INT_TEXTS, 4), (MEMBERS, 3), (LONG, 1)),
    "field": _field,
    "member": _field,
    "intmember": _int_member,
    "element": _of((MEMBERS, 6), (TEXTS, 2), (INT_TEXTS, 3), (LONG, 1)),
    "glob": _of(([b"*", b"a*", b"*1*", b"?", b"[a-c]", b"[^a]*", b"m?", b"m1*", b"foo", b"", b"\\*", b"[", b"[a-", b"**", b"h?"], 1)),
    "word": _of((WORDS, 1)),
    "hllelement": lambda rng: b"u%d" % int(rng.random() ** 3 * 3000),
    # numbers
    "int": _mix(_of((_numbers(-10, 10), 5), (INT_TEXTS, 2)), (0.08, _edge)),
    "delta": _mix(_of((_numbers(-10, 10), 6), ([b"1000", b"-1000"], 1)), (0.08, _edge)),
    "index": _mix(_of((_numbers(-5, 8), 8), ([b"100", b"-100", b"40", b"-40"], 1)), (0.04, _edge)),
    "count": _mix(_of((_numbers(1, 6), 8), ([b"0", b"20", b"100"], 1)), (0.03, _of(([b"-1", b"-2", b"-5"], 2), (INT_EDGES, 1), (INT_FORMS, 1)))),
    "signedcount": _mix(_of((_numbers(-6, 6), 8), ([b"20", b"-20", b"100"], 1)), (0.03, _edge)),
    "float": _mix(_of((FLOATS, 1)), (0.10, _of((FLOAT_EDGES, 2), (FLOAT_FORMS, 1)))),
    "score": _score,
    "border": _border,
    "lex": _lex,
    "weight": _mix(_of(([b"1", b"2", b"0", b"-1", b"0.5", b"3", b"10"], 1)), (0.05, _of((FLOAT_EDGES, 2), (FLOAT_FORMS, 1)))),
    # time
    "seconds": _mix(_seconds_ahead, (0.12, _bad_time)),
    "milliseconds": _mix(_ms_ahead, (0.12, _bad_time)),
    "unixseconds": _mix(_of(([b"4000000000", b"4000000001", b"5000000000"], 1)), (0.1, _of(([b"1", b"1000000000"], 3), (INT_EDGES, 1), (INT_FORMS, 1), ([b"0", b"-1", b"9223372036854775", b"9223372036854776"], 1)))),
    "unixms": _mix(_of(([b"4000000000000", b"4000000000001", b"5000000000000"], 1)), (0.1, _of(([b"1", b"1000000000000"], 3), (INT_EDGES, 1), (INT_FORMS, 1), ([b"0", b"-1"], 1)))),
    "timeout": _of(([b"0.001", b"0.002", b"1e-3", b"0.0001"], 6), ([b"-1", b"-0.1", b"a", b"", b"inf", b"-inf", b"nan", b"1e300", b"9223372036854775807", b" 1", b"9223372036854775.9"], 1)),
    "blockms": _of(([b"1", b"2"], 6), ([b"-1", b"a", b"", b"9223372036854775808", b"1.5"], 1)),
    "idlems": _of(([b"0"], 6), ([b"1000000000", b"9223372036854775807"], 2), ([b"-1", b"a", b"", b"9223372036854775808", b"1.5"], 1)),
    "pasttime": _of(([b"1000", b"1700000000000"], 6), ([b"-1", b"a", b"0"], 1)),
    # bits
    "bit": _of(([b"0", b"1"], 20), ([b"2", b"-1", b"", b"a"], 1)),
    "bitoffset": _of((_numbers(0, 40), 8), ([b"100", b"1000", b"8191"], 2), ([b"4294967296", b"-1", b"a", b"", b"18446744073709551616"], 1)),
    "bittype": _bit_type,
    "fieldoffset": _bit_field_offset,
    # streams
    "newid": _mix(_rising_id, (0.03, _id_edges), (0.02, _entry_id)),
    "id": _mix(_any_id, (0.05, _id_edges)),
    "next": lambda rng: b">",
    "rangeid": _range_id,
    "group": _of(([b"G1", b"G2"], 12), ([b"G3", b"", b"g1"], 1)),
    "consumer": _of(([b"c1", b"c2", b"c3"], 12), ([b"", b"c4"], 1)),
    # places
    "longitude": _mix(_real(-2, 2, 3), (0.3, _of((_places, 1))), (0.04, _of(([b"180", b"-180", b"180.1", b"-181", b"nan", b"inf", b"a", b""], 1)))),
    "latitude": _mix(_real(-2, 2, 3), (0.3, _of((_places, 1))), (0.04, _of(([b"85.05112878", b"-85.05112878", b"85.06", b"90", b"nan", b"inf", b"a", b""], 1)))),
    "radius": _mix(_of(([b"100", b"200", b"50", b"500", b"1000", b"10", b"1", b"0", b"5000", b"20000"], 1)), (0.04, _of(([b"-1", b"nan", b"inf", b"a", b"", b"1e10"], 1)))),
    "unit": _of(([b"km", b"m", b"mi", b"ft", b"KM"], 20), ([b"", b"mm", b"k"], 1)),
}
