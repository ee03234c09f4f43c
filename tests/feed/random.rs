//! Commands at random that mostly do something: of each family, on few keys, with deadlines that come soon, clients that
//! wait, transactions and scripts.

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'l>(&mut self, list: &[&'l str]) -> &'l str {
        list[self.below(list.len() as u64) as usize]
    }
}

/// Calls with holes. `$s $l $t $z $h $x $g $p`: a key of a string, list, set, sorted set, hash, stream, of positions, of a
/// HyperLogLog; `$k` any key; `$f` a field or member; `$v` a value; `$i` an index; `$c` a count; `$n` a score; `$ms` and `$sec`
/// a time to live; `$at` a moment in ms; `$id` an id of a stream; `$C` a consumer; `$T` a short timeout.
const CALLS: &[&str] = &[
    "SET $s $v",
    "SET $s $v PX $ms",
    "SET $s $v NX EX $sec",
    "SET $s $v XX KEEPTTL",
    "SET $s $v GET PXAT $at",
    "SET $s $v IFEQ $v",
    "SET $s $v IFNE $v PX $ms",
    "SETEX $s $sec $v",
    "PSETEX $s $ms $v",
    "SETNX $s $v",
    "GETSET $s $v",
    "GETDEL $s",
    "GETEX $s PX $ms",
    "GETEX $s PXAT $at",
    "GETEX $s PERSIST",
    "GET $s",
    "MGET $s $s $s",
    "MSET $s $v $s $v",
    "MSETNX $s $v $s $v",
    "MSETEX 2 $s $v $s $v PX $ms",
    "MSETEX 2 $s $v $s $v NX PXAT $at",
    "MSETEX 2 $s $v $s $v XX KEEPTTL",
    "APPEND $s $v",
    "SETRANGE $s $i $v",
    "SETBIT $s $c 1",
    "BITFIELD $s INCRBY u8 $c 1",
    "BITFIELD $s OVERFLOW FAIL INCRBY i3 $c 100",
    "BITFIELD $s SET i5 #$c 0",
    "BITOP XOR $s $s $s",
    "INCR $s",
    "DECRBY $s $i",
    "INCRBYFLOAT $s 0.5",
    "INCREX $s BYINT $c UBOUND 100 PX $ms ENX",
    "INCREX $s BYFLOAT 1.5 PERSIST",
    "INCREX $s",
    "DELIFEQ $s $v",
    "DELEX $s IFNE $v",
    "DELEX $s",
    "DEL $k $k",
    "UNLINK $k",
    "EXPIRE $k $sec",
    "PEXPIRE $k $ms",
    "PEXPIRE $k $ms GT",
    "EXPIREAT $k 1",
    "PEXPIREAT $k $at LT",
    "PERSIST $k",
    "RENAME $k $k",
    "RENAMENX $k $k",
    "COPY $k $k REPLACE",
    "COPY $k $k DB 1",
    "MOVE $k 1",
    "TOUCH $k",
    "EXISTS $k $k",
    "TYPE $k",
    "SELECT 1",
    "SELECT 0",
    "SWAPDB 0 1",
    "RPUSH $l $v $v $v",
    "LPUSH $l $v $v",
    "LPUSHX $l $v",
    "RPUSHX $l $v",
    "LPOP $l",
    "RPOP $l $c",
    "LMPOP 2 $l $l LEFT COUNT $c",
    "LMOVE $l $l LEFT RIGHT",
    "RPOPLPUSH $l $l",
    "LINSERT $l BEFORE $v $v",
    "LSET $l $i $v",
    "LREM $l $i $v",
    "LTRIM $l 0 6",
    "BLPOP $l $l $T",
    "BRPOP $l $l $T",
    "BLMOVE $l $l LEFT LEFT $T",
    "BRPOPLPUSH $l $l $T",
    "BLMPOP $T 2 $l $l RIGHT COUNT $c",
    "SORT $l ALPHA STORE $l",
    "SORT $t BY nosort STORE $l",
    "SORT $t BY h:*->$f ALPHA STORE $l",
    "SORT $l BY nosort GET h:*->$f GET # STORE $l",
    "SORT $z BY s:* ALPHA DESC LIMIT 0 3 STORE $l",
    "SADD $t $f $f $f",
    "SREM $t $f $f",
    "SMOVE $t $t $f",
    "SPOP $t",
    "SPOP $t $c",
    "SINTERSTORE $t $t $t",
    "SUNIONSTORE $t $t $t",
    "SDIFFSTORE $t $t $t",
    "ZADD $z $n $f $n $f",
    "ZADD $z GT CH $n $f",
    "ZADD $z NX INCR $n $f",
    "ZINCRBY $z $n $f",
    "ZREM $z $f $f",
    "ZPOPMIN $z",
    "ZPOPMAX $z $c",
    "ZMPOP 2 $z $z MAX COUNT $c",
    "BZPOPMIN $z $z $T",
    "BZPOPMAX $z $z $T",
    "BZMPOP $T 2 $z $z MIN COUNT $c",
    "ZRANGESTORE $z $z 0 3",
    "ZUNIONSTORE $z 2 $z $t WEIGHTS 0.5 2",
    "ZINTERSTORE $z 2 $z $z AGGREGATE MAX",
    "ZDIFFSTORE $z 2 $z $z",
    "ZREMRANGEBYRANK $z 0 1",
    "ZREMRANGEBYSCORE $z $n $n",
    "ZREMRANGEBYLEX $z [a [c",
    "GEOADD $g 13.$c 38.$c $f 15.0 37.5 $f",
    "GEOSEARCHSTORE $g $g FROMLONLAT 14 38 BYRADIUS 500 km COUNT 2 ANY",
    "GEORADIUS $g 14 38 500 km STORE $g",
    "GEORADIUSBYMEMBER $g $f 500 km STOREDIST $g",
    "HSET $h $f $v $f $v",
    "HMSET $h $f $v",
    "HSETNX $h $f $v",
    "HINCRBY $h $f $i",
    "HINCRBYFLOAT $h $f 0.25",
    "HDEL $h $f $f",
    "HGETDEL $h FIELDS 2 $f $f",
    "HEXPIRE $h $sec FIELDS 2 $f $f",
    "HPEXPIRE $h $ms FIELDS 3 $f $f $f",
    "HPEXPIRE $h $ms NX FIELDS 2 $f $f",
    "HPEXPIREAT $h $at FIELDS 1 $f",
    "HEXPIREAT $h 1 FIELDS 1 $f",
    "HPERSIST $h FIELDS 2 $f $f",
    "HGETEX $h PX $ms FIELDS 2 $f $f",
    "HGETEX $h PERSIST FIELDS 1 $f",
    "HGETEX $h PXAT $at FIELDS 2 $f $f",
    "HSETEX $h PX $ms FIELDS 2 $f $v $f $v",
    "HSETEX $h FXX KEEPTTL FIELDS 2 $f $v $f $v",
    "HSETEX $h KEEPTTL FIELDS 1 $f $v",
    "HSETEX $h PXAT $at FIELDS 1 $f $v",
    "HSETEX $h FNX FIELDS 1 $f $v",
    "HGET $h $f",
    "PFADD $p $v $v",
    "PFCOUNT $p",
    "PFMERGE $p $p $p",
    "XADD $x * $f $v",
    "XADD $x * $f $v",
    "XADD $x * $f $v",
    "XADD $x MAXLEN ~ 5 * $f $v",
    "XADD $x MAXLEN $c * $f $v",
    "XADD $x ACKED MAXLEN $c * $f $v",
    "XADD $x DELREF MAXLEN $c * $f $v",
    "XADD $x IDMP $C $f * $f $v",
    "XTRIM $x MAXLEN $c",
    "XTRIM $x MAXLEN ~ $c ACKED",
    "XTRIM $x MINID $id",
    "XDEL $x $id $id",
    "XDELEX $x DELREF IDS 2 $id $id",
    "XDELEX $x ACKED IDS 1 $id",
    "XSETID $x 9999999999999-0",
    "XGROUP CREATE $x g 0 MKSTREAM",
    "XGROUP CREATE $x g 0 MKSTREAM",
    "XGROUP CREATE $x g $ MKSTREAM",
    "XGROUP CREATE $x g2 0 MKSTREAM",
    "XGROUP SETID $x g $id",
    "XGROUP SETID $x g $ ENTRIESREAD 3",
    "XGROUP CREATECONSUMER $x g $C",
    "XGROUP DELCONSUMER $x g $C",
    "XGROUP DESTROY $x g2",
    "XREADGROUP GROUP g $C COUNT $c STREAMS $x >",
    "XREADGROUP GROUP g $C COUNT $c STREAMS $x >",
    "XREADGROUP GROUP g $C COUNT $c STREAMS $x $x > >",
    "XREADGROUP GROUP g $C NOACK STREAMS $x >",
    "XREADGROUP GROUP g $C STREAMS $x 0",
    "XREADGROUP GROUP g2 $C COUNT 2 BLOCK 50 STREAMS $x >",
    "XREADGROUP GROUP g $C COUNT 2 CLAIM $c BLOCK 50 STREAMS $x >",
    "XACK $x g $id $id",
    "XACKDEL $x g DELREF IDS 1 $id",
    "XNACK $x g FAIL IDS 1 $id",
    "XNACK $x g FATAL IDS 1 $id FORCE",
    "XCLAIM $x g $C $c $id $id",
    "XCLAIM $x g $C 0 $id FORCE IDLE 100 RETRYCOUNT 7",
    "XCLAIM $x g $C 0 $id JUSTID LASTID $id",
    "XAUTOCLAIM $x g $C $c 0 COUNT 2",
    "XAUTOCLAIM $x g $C 0 0 JUSTID",
    "XCFGSET $x IDMP-DURATION 1 IDMP-MAXSIZE 2",
    "FLUSHDB ASYNC",
    "DEBUG SET-ACTIVE-EXPIRE 0",
    "DEBUG SET-ACTIVE-EXPIRE 1",
    "CONFIG SET lazyfree-lazy-expire no lazyfree-lazy-server-del yes",
    "CONFIG SET zset-max-listpack-entries $c hash-max-listpack-entries $c set-max-intset-entries $c",
    "CONFIG SET stream-node-max-entries $c list-max-listpack-size $c",
];

/// Scripts: each takes a key of a string, a set, a hash and a stream.
const SCRIPTS: &[&str] = &[
    "redis.call('set', KEYS[1], math.random(100)) redis.call('sadd', KEYS[2], redis.call('time')[2] % 5) return 1",
    "local m = redis.call('spop', KEYS[2]) if m then redis.call('hset', KEYS[3], m, 1) end return m",
    "redis.call('set', KEYS[1], '3', 'px', 30) redis.call('incr', KEYS[1]) return 1",
    "return redis.call('xadd', KEYS[4], '*', 'a', redis.call('srandmember', KEYS[2]) or 'none')",
    "redis.call('hpexpire', KEYS[3], 20, 'fields', 2, 'a', 'b') redis.call('hincrby', KEYS[3], 'a', 2) return 1",
    "redis.call('select', 1) redis.call('append', KEYS[1], 'y') redis.call('get', KEYS[1]) return redis.call('nope')",
];

/// What a client does next.
pub(crate) fn command(random: &mut Random, now_ms: i64) -> Vec<String> {
    if random.below(30) == 0 {
        let script = random.pick(SCRIPTS).to_owned();
        let keys = ["$s", "$t", "$h", "$x"].map(|hole| fill(random, hole, now_ms));
        return ["EVAL".to_owned(), script, "4".to_owned()].into_iter().chain(keys).collect();
    }
    let call = random.pick(CALLS);
    call.split(' ').map(|word| fill(random, word, now_ms)).collect()
}

fn fill(random: &mut Random, word: &str, now_ms: i64) -> String {
    let key = |random: &mut Random, kind: &str| {
        // Sometimes it is another's.
        let kind = if random.below(40) == 0 { random.pick(&["s", "l", "t", "z", "h", "x"]) } else { kind };
        format!("{kind}:{}", random.below(3))
    };
    let Some(at) = word.find('$').filter(|_| word.len() > 1) else { return word.to_owned() };
    let (before, hole) = word.split_at(at);
    let filled = match &hole[1..] {
        "k" => {
            let kind = random.pick(&["s", "l", "t", "z", "h", "x", "g", "p"]);
            key(random, kind)
        }
        kind @ ("s" | "l" | "t" | "z" | "h" | "x" | "g" | "p") => key(random, kind),
        "f" => random.pick(&["a", "b", "c", "d", "0", "1", "2"]).to_owned(),
        "v" => random.pick(&["1", "2", "0", "a", "bc", "10.5", "", "x y"]).to_owned(),
        "i" => (random.below(7) as i64 - 3).to_string(),
        "c" => (1 + random.below(8)).to_string(),
        "n" => random.pick(&["1", "2", "0.1", "-1.5", "3"]).to_owned(),
        "ms" => (1 + random.below(300)).to_string(),
        "sec" => random.pick(&["1", "-1", "100"]).to_owned(),
        "at" => (now_ms + random.below(400) as i64 - 60).to_string(),
        "id" => format!("{}-{}", now_ms - random.below(300) as i64, random.below(3)),
        "C" => random.pick(&["c", "d", "e"]).to_owned(),
        "T" => "0.05".to_owned(),
        other => panic!("no such hole: {other}"),
    };
    format!("{before}{filled}")
}
