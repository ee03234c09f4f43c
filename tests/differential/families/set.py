"""Sets."""

COMMANDS = """
    5 SADD set ( member )+
    5 SADD set ( intmember )+
    3 SREM set ( member )+
    2 SREM set ( intmember )+
    1 SMOVE set set intmember
    1 SMOVE set set member
    2 SISMEMBER set intmember
    2 SMISMEMBER set ( intmember )+
    1 SCARD set
    2 SMEMBERS set
    1 SSCAN set 0 < [ MATCH glob ] [ COUNT count ] >
    1 SSCAN set 0 COUNT 100000
    1 SPOP set [ count ]
    2 SRANDMEMBER set [ signedcount ]
    2 SINTER ( set )+
    2 SUNION ( set )+
    2 SDIFF ( set )+
    1 SINTERSTORE set ( set )+
    1 SUNIONSTORE set ( set )+
    1 SDIFFSTORE set ( set )+
    2 SINTERCARD #( set ) [ LIMIT count ]
    1 OBJECT ENCODING set
    0.3 DEL set
"""
