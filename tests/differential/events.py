#!/usr/bin/env python3
"""Keyspace events of every write command, Weir's beside those of a peer (Valkey or Redis). README.md is the guide.

    events.py --ours PATH --peer PATH [--only WORD] [--show]

A scenario is a line: commands separated by ` ; `, and before ` | `, if that is there, commands that only prepare keys. Each
runs in an emptied database, on a connection that speaks RESP3 and subscribes to all events itself, so that events arrive
behind the reply of the command that raised them. Compared is, command by command, what arrives: which events, of which
keys, in which order, on both kinds of channels. `WAIT ms` lets time pass and then takes what expiry has raised;
`TRANSACTION a , b` is MULTI, a, b, EXEC.

What must stay true: a difference is either fixed or covered by a row of `docs/compatibility.md`, which KNOWN names.
"""

import argparse
import pathlib
import re
import shlex
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from servers import Server
from wire import Failure, Lost, Many, frames, line_of, parse, request

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
WANTED = b"KEAmn"
# How much later than expected what time raises may come.
LATE_S = 20.0

SCENARIOS = r"""
# strings
SET k v
SET k v | SET k w
RPUSH k a | SET k v
SET k v NX
SET k v | SET k w NX
SET k v XX
SET k v | SET k w XX
SET k v EX 100
SET k v PX 100000
SET k v EXAT 99999999999
SET k v PXAT 99999999999999
SET k v EXAT 1
SET k v | SET k w PXAT 1
SET k v EX 100 | SET k w KEEPTTL
SET k v GET
SET k v | SET k w GET
SET k v | SET k w IFEQ v
SET k v | SET k w IFEQ x
SETNX k v ; SETNX k w
SETEX k 100 v
PSETEX k 100000 v
GETSET k v ; GETSET k w
GETDEL k
SET k v | GETDEL k
GETEX k
SET k v | GETEX k
SET k v | GETEX k EX 100
SET k v | GETEX k PX 100000
SET k v | GETEX k EXAT 99999999999
SET k v | GETEX k EXAT 1
SET k v | GETEX k PXAT 1
SET k v | GETEX k PERSIST
SET k v EX 100 | GETEX k PERSIST
GET k
MGET a b
SET a 1 | MGET a b
STRLEN k
GETRANGE k 0 1
SUBSTR k 0 1
GETBIT k 1
APPEND k v ; APPEND k w
APPEND k ""
SET k v | APPEND k ""
SETRANGE k 3 v
SETRANGE k 3 ""
SET k v | SETRANGE k 0 w
SET k v | SETRANGE k 0 ""
INCR k ; DECR k ; INCRBY k 5 ; DECRBY k 5 ; INCRBYFLOAT k 1.5
INCRBYFLOAT k 1.5
MSET a 1 b 2
SET a 1 | MSET a 1 b 2 a 3
MSETNX a 1 b 2
SET b 1 | MSETNX a 1 b 2
MSETEX 2 a 1 b 2
MSETEX 2 a 1 b 2 EX 100
MSETEX 2 a 1 b 2 EXAT 1
SET a 1 | MSETEX 2 a 1 b 2 NX
SET a 1 | MSETEX 2 a 1 b 2 XX
SET a 1 | MSETEX 1 a 1 XX PX 10000
DELIFEQ k v
SET k v | DELIFEQ k w
SET k v | DELIFEQ k v
LCS a b
SET a ab ; LCS a b
# bits
SETBIT k 1 1 ; SETBIT k 1 1 ; SETBIT k 100 0
SETBIT k 1 0
BITFIELD k SET u8 0 5
BITFIELD k SET u8 0 0
BITFIELD k GET u8 0
BITFIELD_RO k GET u8 0
BITFIELD k INCRBY u8 0 5 GET u8 0 SET u8 8 1
SET k v | BITFIELD k INCRBY u8 0 0
BITFIELD k OVERFLOW FAIL INCRBY u2 0 5
BITOP AND d a b
SET a x | BITOP OR d a b
SET d x | BITOP AND d a b
SET a x ; SET d y | BITOP NOT d a
BITCOUNT k
BITPOS k 1
# hyperloglog
PFADD k
PFADD k ; PFADD k
PFADD k a ; PFADD k a ; PFADD k b
PFMERGE d
PFMERGE d a b
PFADD a x | PFMERGE d a b ; PFMERGE d a
PFADD d x | PFMERGE d
PFCOUNT k
PFADD a x ; PFADD b y | PFCOUNT a b c
PFADD a x | PFCOUNT a ; PFCOUNT a
# keys
DEL k
SET k v | DEL k k j
SET a 1 ; SET b 1 | DEL a b c
SET a 1 ; SET b 1 | UNLINK a b c
EXISTS k
SET a 1 | EXISTS a b
TYPE k
TOUCH a b
TTL k ; PTTL k ; EXPIRETIME k ; PEXPIRETIME k
OBJECT ENCODING k
SET k v | OBJECT FREQ k
DUMP k
EXPIRE k 100
SET k v | EXPIRE k 100
SET k v | PEXPIRE k 100000
SET k v | EXPIREAT k 99999999999
SET k v | PEXPIREAT k 99999999999999
SET k v | EXPIRE k -1
SET k v | PEXPIREAT k 1
SET k v EX 100 | EXPIRE k 50 NX ; EXPIRE k 50 GT ; EXPIRE k 50 LT ; EXPIRE k 200 XX
PERSIST k
SET k v | PERSIST k
SET k v EX 100 | PERSIST k ; PERSIST k
RENAME a b
SET a 1 | RENAME a b
SET a 1 ; SET b 2 | RENAME a b
SET a 1 | RENAME a a
SET a 1 | RENAMENX a b
SET a 1 ; SET b 2 | RENAMENX a b
SET a 1 EX 100 ; RPUSH b x | RENAME a b
COPY a b
SET a 1 | COPY a b
SET a 1 ; SET b 1 | COPY a b
SET a 1 ; SET b 1 | COPY a b REPLACE
SET a 1 EX 100 | COPY a b DB 1
SET a 1 | COPY a a DB 1 ; COPY a a DB 1 REPLACE
MOVE k 1
SET k v | MOVE k 1
SET k v EX 100 | MOVE k 1
SET k v ; MOVE k 1 ; SET k v | MOVE k 1
RESTORE k 0 "\x00\x01v\x0b\x00\x0b\xcc\x40\x8f\xc5\x80\xe7\x86"
SET k v | RANDOMKEY
SET a 1 | FLUSHDB
SET a 1 | FLUSHALL
SET a 1 | FLUSHDB ASYNC
SET a 1 | SWAPDB 0 1
SET a 1 | SCAN 0
KEYS *
SORT k
SORT k STORE d
RPUSH k 2 1 ; SORT k STORE d
RPUSH k 2 1 ; SET d x | SORT k STORE d
SET d x | SORT k STORE d
SADD k 2 1 | SORT k BY w_* GET g_* STORE d
# lists
LPUSH k a ; LPUSH k b c
RPUSH k a ; RPUSH k b c
LPUSHX k a
RPUSH k a | LPUSHX k b ; RPUSHX k c
LPOP k
RPUSH k a b c | LPOP k ; RPOP k ; LPOP k
RPUSH k a b c | LPOP k 2 ; LPOP k 2
RPUSH k a b c | RPOP k 0 ; RPOP k 3
RPUSH k a b c | LMPOP 2 j k LEFT ; LMPOP 2 j k RIGHT COUNT 5
LMPOP 2 j k LEFT
LLEN k
LRANGE k 0 -1
LINDEX k 0
LPOS k a
LSET k 0 a
RPUSH k a | LSET k 0 b
RPUSH k a | LINSERT k BEFORE a b ; LINSERT k AFTER x b
LINSERT k BEFORE a b
RPUSH k a b a | LREM k 0 a ; LREM k 0 x ; LREM k 0 b
LREM k 0 a
RPUSH k a b c | LTRIM k 0 5 ; LTRIM k 1 1 ; LTRIM k 5 9
LTRIM k 0 1
RPOPLPUSH a b
RPUSH a 1 2 | RPOPLPUSH a b ; RPOPLPUSH a b
RPUSH a 1 2 | RPOPLPUSH a a
RPUSH a 1 | RPOPLPUSH a a
RPUSH a 1 2 | LMOVE a b LEFT RIGHT ; LMOVE a b RIGHT LEFT
RPUSH a 1 2 | LMOVE a a LEFT RIGHT
LMOVE a b LEFT RIGHT
RPUSH a 1 | BLPOP a 0
RPUSH a 1 2 | BRPOP x a 0
RPUSH a 1 2 | BLMOVE a b LEFT RIGHT 0
RPUSH a 1 2 | BRPOPLPUSH a b 0
RPUSH a 1 2 3 | BLMPOP 0 2 x a LEFT COUNT 2
# sets
SADD k a ; SADD k a ; SADD k b c
SREM k a
SADD k a b | SREM k x ; SREM k a ; SREM k b a
SMOVE a b x
SADD a x y | SMOVE a b x ; SMOVE a b x ; SMOVE a b y
SADD a x ; SADD b x | SMOVE a b x
SADD a x | SMOVE a a x
SPOP k
SADD k a | SPOP k
SADD k a b | SPOP k 0 ; SPOP k 2
SADD k a | SPOP k 5
SPOP k 5
SADD k a b c d e f g h | SPOP k 7
SRANDMEMBER k
SRANDMEMBER k 3
SMEMBERS k
SCARD k
SISMEMBER k a
SMISMEMBER k a b
SINTER a b
SADD a x | SINTER a b
SUNION a b
SDIFF a b
SINTERCARD 2 a b
SINTERSTORE d a b
SADD d x | SINTERSTORE d a b
SADD d x ; SADD a y ; SADD b y | SINTERSTORE d a b
SADD a y ; SADD b z | SINTERSTORE d a b
SADD a y | SUNIONSTORE d a b ; SUNIONSTORE d a b
SET d x ; SADD a y | SUNIONSTORE d a b
SUNIONSTORE d a b
SADD d x | SUNIONSTORE d a b
SADD a y z | SDIFFSTORE d a b ; SDIFFSTORE d b a
SSCAN k 0
# sorted sets
ZADD k 1 a ; ZADD k 1 a ; ZADD k 2 a ; ZADD k 1 b 2 c
ZADD k XX 1 a
ZADD k NX 1 a ; ZADD k NX 2 a
ZADD k GT 1 a ; ZADD k GT 0 a ; ZADD k CH GT 2 a
ZADD k INCR 1 a ; ZADD k XX INCR 1 a ; ZADD k XX INCR 1 b
ZINCRBY k 1 a ; ZINCRBY k 0 a
ZREM k a
ZADD k 1 a 2 b | ZREM k x ; ZREM k a ; ZREM k b
ZADD k 1 a 2 b 3 c | ZREMRANGEBYSCORE k 9 9 ; ZREMRANGEBYSCORE k 1 1 ; ZREMRANGEBYSCORE k 1 9
ZADD k 0 a 0 b 0 c | ZREMRANGEBYLEX k [x [y ; ZREMRANGEBYLEX k [a [a ; ZREMRANGEBYLEX k - +
ZADD k 1 a 2 b 3 c | ZREMRANGEBYRANK k 9 9 ; ZREMRANGEBYRANK k 0 0 ; ZREMRANGEBYRANK k 0 -1
ZREMRANGEBYRANK k 0 1
ZPOPMIN k
ZADD k 1 a 2 b 3 c | ZPOPMIN k ; ZPOPMAX k ; ZPOPMIN k
ZADD k 1 a 2 b 3 c | ZPOPMIN k 0 ; ZPOPMIN k 2 ; ZPOPMAX k 5
ZADD k 1 a 2 b 3 c | ZMPOP 2 x k MIN ; ZMPOP 1 k MAX COUNT 5
ZMPOP 1 k MIN
ZADD k 1 a 2 b 3 c | BZPOPMIN k 0 ; BZPOPMAX x k 0 ; BZMPOP 0 1 k MIN COUNT 9
ZCARD k
ZSCORE k a
ZMSCORE k a
ZRANK k a
ZCOUNT k 0 1
ZLEXCOUNT k - +
ZRANGE k 0 -1
ZRANGEBYSCORE k 0 1
ZRANGEBYLEX k - +
ZREVRANGE k 0 1
ZREVRANGEBYSCORE k 1 0
ZRANDMEMBER k
ZRANDMEMBER k 2
ZSCAN k 0
ZRANGESTORE d k 0 -1
ZADD d 1 x | ZRANGESTORE d k 0 -1
ZADD k 1 a | ZRANGESTORE d k 0 -1 ; ZRANGESTORE d k 0 -1 ; ZRANGESTORE d k 5 9
ZADD k 1 a ; SET d x | ZRANGESTORE d k 0 5 BYSCORE
ZUNIONSTORE d 2 a b
ZADD d 1 x | ZUNIONSTORE d 2 a b
ZADD a 1 x | ZUNIONSTORE d 2 a b ; ZUNIONSTORE d 2 a b
ZADD a 1 x ; ZADD b 1 x ; SET d v | ZINTERSTORE d 2 a b
ZADD a 1 x ; ZADD d 1 y | ZINTERSTORE d 2 a b
ZADD a 1 x ; ZADD b 1 y | ZDIFFSTORE d 2 a b ; ZDIFFSTORE d 2 a a
ZUNION 2 a b
ZINTER 2 a b
ZDIFF 2 a b
ZINTERCARD 2 a b
# geo
GEOADD k 13.361389 38.115556 P ; GEOADD k 13.361389 38.115556 P ; GEOADD k CH XX 13.4 38.1 P
GEOADD k XX 13.4 38.1 P
GEOPOS k P
GEODIST k a b
GEOHASH k P
GEOSEARCH k FROMLONLAT 13 38 BYRADIUS 100 km
GEOADD k 13.361389 38.115556 P | GEOSEARCHSTORE d k FROMLONLAT 13 38 BYRADIUS 100 km ; GEOSEARCHSTORE d k FROMLONLAT 13 38 BYRADIUS 100 km STOREDIST ; GEOSEARCHSTORE d k FROMLONLAT 0 0 BYRADIUS 1 km
GEOSEARCHSTORE d k FROMLONLAT 13 38 BYRADIUS 100 km
ZADD d 1 x | GEOSEARCHSTORE d k FROMLONLAT 13 38 BYRADIUS 100 km
GEOADD k 13.361389 38.115556 P | GEORADIUS k 13 38 100 km STORE d ; GEORADIUS k 0 0 1 km STORE d
GEORADIUS k 13 38 100 km STORE d
ZADD d 1 x | GEORADIUS k 13 38 100 km STORE d
GEOADD k 13.361389 38.115556 P | GEORADIUSBYMEMBER k P 100 km STOREDIST d
# hashes
HSET k f v ; HSET k f v ; HSET k f w g x
HMSET k f v ; HMSET k f v
HSETNX k f v ; HSETNX k f w
HGET k f
HMGET k f
HGETALL k
HKEYS k
HVALS k
HLEN k
HSTRLEN k f
HEXISTS k f
HRANDFIELD k
HRANDFIELD k 2
HSCAN k 0
HDEL k f
HSET k f v g w | HDEL k x ; HDEL k f ; HDEL k g
HINCRBY k f 1 ; HINCRBY k f 0
HINCRBYFLOAT k f 1.5 ; HINCRBYFLOAT k f 0
HEXPIRE k 100 FIELDS 1 f
HSET k f v | HEXPIRE k 100 FIELDS 2 f x ; HEXPIRE k 50 GT FIELDS 1 f ; HEXPIRE k 200 XX FIELDS 1 f
HSET k f v g w | HPEXPIRE k 100000 FIELDS 2 f g
HSET k f v g w | HEXPIREAT k 9999999999 FIELDS 1 f
HSET k f v g w | HPEXPIREAT k 9999999999999 FIELDS 1 f
HSET k f v g w | HEXPIRE k 0 FIELDS 1 f
HSET k f v g w | HPEXPIREAT k 1 FIELDS 1 f ; HPEXPIREAT k 1 FIELDS 1 g
HSET k f v | HPEXPIREAT k 1 FIELDS 2 f x
HSET k f v | HPERSIST k FIELDS 1 f
HSET k f v ; HEXPIRE k 100 FIELDS 1 f | HPERSIST k FIELDS 2 f x ; HPERSIST k FIELDS 1 f
HTTL k FIELDS 1 f
HEXPIRETIME k FIELDS 1 f
HGETDEL k FIELDS 1 f
HSET k f v g w | HGETDEL k FIELDS 1 x ; HGETDEL k FIELDS 1 f ; HGETDEL k FIELDS 2 g x
HGETEX k FIELDS 1 f
HSET k f v | HGETEX k FIELDS 1 f ; HGETEX k EX 100 FIELDS 2 f x ; HGETEX k PERSIST FIELDS 1 f ; HGETEX k PERSIST FIELDS 1 f
HSET k f v g w | HGETEX k PXAT 1 FIELDS 1 f ; HGETEX k EXAT 1 FIELDS 1 g
HSETEX k FIELDS 1 f v ; HSETEX k EX 100 FIELDS 1 f v ; HSETEX k KEEPTTL FIELDS 1 f w
HSETEX k EX 100 FIELDS 2 f v g w
HSETEX k FNX FIELDS 1 f v ; HSETEX k FNX FIELDS 1 f v ; HSETEX k FXX FIELDS 1 f v
HSETEX k PXAT 1 FIELDS 1 f v
HSET k f v | HSETEX k PXAT 1 FIELDS 1 f v
HSET k f v g w | HSETEX k PXAT 1 FIELDS 1 f v
HSET k f v ; HEXPIRE k 100 FIELDS 1 f | HSET k f w ; HINCRBY k n 1
# streams
XADD k 1-1 f v ; XADD k 2-1 f v
XADD k NOMKSTREAM 1-1 f v
XADD k 1-1 f v ; XADD k MAXLEN 1 2-1 f v ; XADD k MINID 3 3-1 f v
XADD k MAXLEN 0 1-1 f v
XADD k MAXLEN 5 1-1 f v
XADD k 1-1 f v ; XADD k 2-1 f v | XTRIM k MAXLEN 5 ; XTRIM k MAXLEN 1 ; XTRIM k MAXLEN 0
XTRIM k MAXLEN 0
XADD k 1-1 f v ; XADD k 2-1 f v | XDEL k 9-9 ; XDEL k 1-1 9-9 ; XDEL k 2-1
XDEL k 1-1
XLEN k
XRANGE k - +
XREVRANGE k + -
XREAD STREAMS k 0
XSETID k 5-5
XADD k 1-1 f v | XSETID k 5-5 ; XSETID k 5-5
XGROUP CREATE k g 0
XGROUP CREATE k g 0 MKSTREAM ; XGROUP CREATE k g 0
XADD k 1-1 f v | XGROUP CREATE k g 0 ; XGROUP SETID k g $ ; XGROUP CREATECONSUMER k g c ; XGROUP CREATECONSUMER k g c ; XGROUP DELCONSUMER k g c ; XGROUP DELCONSUMER k g c ; XGROUP DESTROY k g ; XGROUP DESTROY k g
XADD k 1-1 f v ; XGROUP CREATE k g 0 | XREADGROUP GROUP g c STREAMS k > ; XREADGROUP GROUP g c STREAMS k > ; XREADGROUP GROUP g d STREAMS k 0 ; XACK k g 1-1 ; XACK k g 1-1
XADD k 1-1 f v ; XGROUP CREATE k g 0 | XREADGROUP GROUP g c NOACK STREAMS k >
XADD k 1-1 f v ; XGROUP CREATE k g 0 ; XREADGROUP GROUP g c STREAMS k > | XCLAIM k g d 0 1-1 ; XCLAIM k g d 0 9-9 ; XAUTOCLAIM k g e 0 0 ; XPENDING k g
XADD k 1-1 f v ; XGROUP CREATE k g 0 ; XREADGROUP GROUP g c STREAMS k > ; XDEL k 1-1 | XCLAIM k g c 0 1-1
XADD k 1-1 f v ; XGROUP CREATE k g 0 ; XREADGROUP GROUP g c STREAMS k > ; XDEL k 1-1 | XAUTOCLAIM k g c 0 0
XACK k g 1-1
XINFO STREAM k
# time
SET k v PX 50 ; WAIT 200
SET k v EX 100 | PEXPIRE k 50 ; WAIT 200
HSET k f v g w | HPEXPIRE k 50 FIELDS 1 f ; WAIT 200
HSET k f v | HPEXPIRE k 50 FIELDS 1 f ; WAIT 200
HSET k f v g w | HPEXPIRE k 50 FIELDS 2 f g ; WAIT 200
# met by a command, with active expiry off
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | GET k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SET k w
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SET k w NX
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SET k w XX
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SET k w GET
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SETNX k w
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k 5 PX 1 | INCR k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | APPEND k w
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | DEL k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | UNLINK k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET b v PX 1 ; SET a 1 ; SET c 1 | DEL a b c
DEBUG SET-ACTIVE-EXPIRE 0 ; SET b v PX 1 ; SET a 1 ; SET c 1 | UNLINK a b c
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | EXISTS k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | TYPE k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | TTL k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | EXPIRE k 100
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | PERSIST k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | RENAME k j
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; SET j 1 | RENAME j k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; SET j 1 | RENAMENX j k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; SET j 1 | COPY j k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; SET j 1 | COPY j k REPLACE
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | MOVE k 1
DEBUG SET-ACTIVE-EXPIRE 0 ; SET b v PX 1 ; SET a 1 | MSET a 1 b 2
DEBUG SET-ACTIVE-EXPIRE 0 ; SET b v PX 1 | MSETNX a 1 b 2
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | GETDEL k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | GETEX k EX 100
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SETRANGE k 0 x
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SETBIT k 0 1
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | RPUSH k a
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SADD k a
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | ZADD k 1 a
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | HSET k f v
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | XADD k 1-1 f v
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | PFADD k a
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; SADD a x | SUNIONSTORE k a
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SUNIONSTORE k a
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; ZADD a 1 x | ZUNIONSTORE k 1 a
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; RPUSH a 1 | SORT a STORE k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; SET a 1 | BITOP NOT k a
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; RPUSH a 1 | RPOPLPUSH a k
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 ; SADD a 1 | SMOVE a k 1
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | SCAN 0 COUNT 100
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | KEYS *
DEBUG SET-ACTIVE-EXPIRE 0 ; SET k v PX 1 | RANDOMKEY
DEBUG SET-ACTIVE-EXPIRE 0 ; HSET k f v g w ; HPEXPIRE k 1 FIELDS 1 f | HGET k f ; HDEL k f ; HSET k f x
DEBUG SET-ACTIVE-EXPIRE 0 ; HSET k f v ; HPEXPIRE k 1 FIELDS 1 f | HGETALL k ; HDEL k f ; EXISTS k
# in transactions, other databases, subscribers of several
TRANSACTION SET k v , DEL k , SET k w , GET x
SELECT 3 ; SET k v ; DEL k ; SELECT 0
SET "__keyspace@0__:x" v
EVAL "redis.call('set','k','v') redis.call('del','k')" 0
PUBLISH k v
"""

# (kinds of peers, regular expression of the command, row of the compatibility page): differences that are meant.
KNOWN = [
    ("redis", r"SET k w IFEQ .*", "`SET .. IFEQ`"),
    ("redis", r"(SET|GETEX) .*(EXAT|PXAT) 1|EXPIRE k -1|PEXPIREAT k 1", "events of a deadline that is past already"),
    ("redis", r"(HEXPIRE k 0|HPEXPIREAT k 1|HGETEX k (EX|PX)AT 1|HSETEX k PXAT 1) .*", "events of fields whose deadline is past"),
    ("redis", r"HGETEX k FIELDS 1 f", "events where `HGETEX` finds no key"),
    ("valkey", r"MSETEX .* EXAT 1", "events of `MSETEX` with a moment that is past"),
    ("redis", r"HGET k f|HSET k f x|HGETALL k|HDEL k f|EXISTS k", "events where a command meets a field"),
    ("valkey redis", r"SUNIONSTORE k a", "events of a `STORE` with an empty result"),
]
# Older ones differ in more than Weir promises.
PEERS = {"valkey": (9,), "redis": (8,)}


def scenarios():
    for line in SCENARIOS.strip().splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        before, bar, rest = line.partition(" | ")
        prepared = commands(before) if bar else []
        yield line, prepared, commands(rest if bar else before)


def commands(text):
    found = []
    for command in re.split(r" +; +", text):
        words = shlex.split(command)
        found.append([word.encode().decode("unicode_escape").encode("latin1") if "\\x" in word else word.encode() for word in words])
    return found


class Listener:
    """A connection that runs commands and hears of the events that they raise."""

    def __init__(self, server):
        self.server = server
        self.connection = server.connection(3)
        self.late = b""
        self.exchange([[b"PSUBSCRIBE", b"__key*@*__:*"]])

    def prepare(self, prepared):
        self.exchange([[b"CONFIG", b"SET", b"notify-keyspace-events", b""]])
        self.exchange([[b"DEBUG", b"SET-ACTIVE-EXPIRE", b"1"], [b"SELECT", b"0"], [b"FLUSHALL"], *prepared])
        if prepared and prepared[0][0] == b"DEBUG":
            time.sleep(0.004)
        self.exchange([[b"CONFIG", b"SET", b"notify-keyspace-events", WANTED]])

    def exchange(self, commands):
        """Replies, and events before, between and behind them."""
        connection = self.connection
        connection.send(b"".join(map(request, commands)))
        received, self.late = bytearray(self.late), b""
        while True:
            at = received.find(connection.mark)
            if at >= 0:
                break
            part = connection.socket.recv(1 << 18)
            if not part:
                raise Lost(f"connection closed after {len(received)} bytes of replies")
            received += part
        # What is behind the sentinel is whole: an event that time raised in this moment.
        self.late = bytes(received[at + len(connection.mark) :])
        return [parse(frame) for frame in frames(bytes(received[:at]))]

    def wait(self, seconds):
        """What comes when so much time has passed: more of it where the machine is slow, until it came and nothing more does."""
        replies, end = [], time.monotonic() + LATE_S
        time.sleep(seconds)
        while True:
            more = self.exchange([[b"PING"]])
            replies += more
            if (len(more) == 1 and len(replies) > len(more)) or time.monotonic() > end:
                return replies
            time.sleep(0.05)

    def run(self, command):
        """The events of one command, and whether it is one that the server has."""
        if command[0] == b"TRANSACTION":
            queued = [words.split() for words in b" ".join(command[1:]).split(b" , ")]
            replies = self.exchange([[b"MULTI"], *queued, [b"EXEC"]])
        elif command[0] == b"WAIT":
            replies = self.wait(int(command[1]) / 1000)
        else:
            replies = self.exchange([command])
        known = not any(isinstance(reply, Failure) and reply.startswith(b"ERR unknown command") for reply in replies)
        return [event(reply) for reply in replies if isinstance(reply, Many) and reply.kind == ">"], known


def event(push):
    words = [item.decode("latin1") if isinstance(item, bytes) else str(item) for item in push.items]
    return f"{words[2]} {words[3]}" if words[0] == "pmessage" else " ".join(words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--only", default="", help="scenarios that have this word in their line")
    parser.add_argument("--show", action="store_true", help="print the events of every command")
    options = parser.parse_args()
    page = PAGE.read_text()
    for _, _, row in KNOWN:
        if f"| {row}" not in page:
            sys.exit(f"{PAGE.name} has no row that begins with: {row}")
    with tempfile.TemporaryDirectory(prefix="events-") as folder:
        servers = []
        try:
            for name, program in (("ours", options.ours), ("theirs", options.peer)):
                servers.append(Server(program, pathlib.Path(folder) / name, ["enable-debug-command yes"]))
            peer = servers[1]
            if peer.version < PEERS.get(peer.kind, (0,)):
                print(f"events: not compared with {peer.name}, which is too old")
                return
            found = compare(servers, options)
        finally:
            for server in servers:
                server.stop()
    sys.exit(1 if found else 0)


def compare(servers, options):
    ours, theirs = map(Listener, servers)
    count, skipped, found, used = 0, 0, 0, set()
    for line, prepared, tried in scenarios():
        if options.only not in line:
            continue
        for listener in (ours, theirs):
            listener.prepare(prepared)
        for command in tried:
            own, has_own = ours.run(command)
            other, has_other = theirs.run(command)
            if options.show:
                print(line_of(command), other, sep="\n    ")
            if not (has_own and has_other):
                # What only one of them has cannot be compared, and leaves different keys behind.
                skipped += 1
                break
            count += 1
            if own == other:
                continue
            known = next((entry for entry in KNOWN if covers(entry, theirs.server, command)), None)
            if known:
                used.add(known)
                continue
            found += 1
            print(f"in: {line}\n  {line_of(command)}\n  ours    {own}\n  {theirs.server.kind:7} {other}")
    print(f"events: {count} commands compared with {theirs.server.name}, {skipped} not known to both, {found} differ")
    for entry in KNOWN:
        if theirs.server.kind in entry[0].split() and entry not in used and not options.only:
            print(f"never needed: {entry}")
    return found


def covers(entry, server, command):
    return server.kind in entry[0].split() and re.fullmatch(entry[1], line_of(command))


if __name__ == "__main__":
    main()
