"""Sorted sets."""

COMMANDS = """
    6 ZADD zset ( score member )+
    4 ZADD zset < [ NX | XX ] [ GT | LT ] [ CH ] [ INCR ] > ( score member )+
    2 ZADD zset < [ NX | XX ] [ GT | LT ] [ CH ] > INCR score member
    2 ZINCRBY zset score member
    4 ZREM zset ( member )+
    1 ZREMRANGEBYRANK zset index index
    1 ZREMRANGEBYSCORE zset border border
    8 ZADD lexset 0 member 0 member 0 member
    2 ZREM lexset ( member )+
    1 ZREMRANGEBYLEX lexset lex lex
    2 ZLEXCOUNT lexset lex lex
    2 ZRANGE lexset lex lex BYLEX < [ REV ] [ LIMIT index index ] >
    1 ZRANGEBYLEX lexset lex lex [ LIMIT index index ]
    1 ZREVRANGEBYLEX lexset lex lex [ LIMIT index index ]
    1 ZRANGESTORE zset lexset lex lex BYLEX < [ REV ] [ LIMIT index index ] >
    0.3 DEL lexset
    1 ZCARD zset
    2 ZSCORE zset member
    2 ZMSCORE zset ( member )+
    2 ZRANK zset member [ WITHSCORE ]
    2 ZREVRANK zset member [ WITHSCORE ]
    2 ZCOUNT zset border border
    2 ZLEXCOUNT zset lex lex
    2 ZRANDMEMBER zset [ signedcount [ WITHSCORES ] ]
    1 ZSCAN zset 0 < [ MATCH glob ] [ COUNT count ] [ ?noscores NOSCORES ] >
    1 ZSCAN zset 0 COUNT 100000
    2 ZRANGE zset index index [ REV ] [ WITHSCORES ]
    2 ZRANGE zset border border BYSCORE < [ REV ] [ LIMIT index index ] [ WITHSCORES ] >
    2 ZRANGE zset lex lex BYLEX < [ REV ] [ LIMIT index index ] >
    1 ZRANGE zset ( index | border | lex ) ( index | border | lex ) < [ BYSCORE | BYLEX ] [ REV ] [ LIMIT index index ] [ WITHSCORES ] >
    1 ZRANGESTORE zset zset index index [ REV ]
    1 ZRANGESTORE zset zset border border BYSCORE < [ REV ] [ LIMIT index index ] >
    1 ZREVRANGE zset index index [ WITHSCORES ]
    1 ZRANGEBYSCORE zset border border < [ WITHSCORES ] [ LIMIT index index ] >
    1 ZREVRANGEBYSCORE zset border border < [ WITHSCORES ] [ LIMIT index index ] >
    1 ZRANGEBYLEX zset lex lex [ LIMIT index index ]
    1 ZREVRANGEBYLEX zset lex lex [ LIMIT index index ]
    2 ZPOPMIN zset [ count ]
    2 ZPOPMAX zset [ count ]
    2 ZMPOP #( zset ) ( MIN | MAX ) [ COUNT count ]
    0.1 BZPOPMIN ( zset )+ timeout
    0.1 BZPOPMAX ( zset )+ timeout
    0.1 BZMPOP timeout #( zset ) ( MIN | MAX ) [ COUNT count ]
    2 ZUNION #( ( zset | zset | set ) ) < [ WEIGHTS ( weight )+ ] [ AGGREGATE ( SUM | MIN | MAX | ?aggregate_count COUNT ) ] [ WITHSCORES ] >
    2 ZINTER #( ( zset | zset | set ) ) < [ WEIGHTS ( weight )+ ] [ AGGREGATE ( SUM | MIN | MAX | ?aggregate_count COUNT ) ] [ WITHSCORES ] >
    2 ZINTER 2 zset zset WEIGHTS weight weight WITHSCORES
    2 ZDIFF #( ( zset | zset | set ) ) [ WITHSCORES ]
    1 ZUNIONSTORE zset #( ( zset | zset | set ) ) < [ WEIGHTS ( weight )+ ] [ AGGREGATE ( SUM | MIN | MAX | ?aggregate_count COUNT ) ] >
    1 ZINTERSTORE zset #( ( zset | zset | set ) ) < [ WEIGHTS ( weight )+ ] [ AGGREGATE ( SUM | MIN | MAX | ?aggregate_count COUNT ) ] >
    1 ZUNIONSTORE zset 2 zset zset WEIGHTS weight weight
    1 ZDIFFSTORE zset #( ( zset | zset | set ) )
    2 ZINTERCARD #( ( zset | zset | set ) ) [ LIMIT count ]
    1 SADD set ( member )+
    1 OBJECT ENCODING zset
    0.3 DEL zset
"""
