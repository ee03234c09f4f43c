"""Geospatial indexes. Results that are cut off (COUNT) or stored are asked for only where their order is defined."""

COMMANDS = """
    8 GEOADD geo ( longitude latitude member )+
    2 GEOADD geo < [ NX | XX ] [ CH ] > ( longitude latitude member )+
    2 GEODIST geo member member [ unit ]
    1 GEOHASH geo ( member )+
    2 GEOPOS geo ( member )+
    3 GEOSEARCH geo < ( FROMMEMBER member | FROMLONLAT longitude latitude ) ( BYRADIUS radius unit | BYBOX radius radius unit ) [ ASC | DESC ] [ COUNT count ] [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ] >
    1 GEOSEARCH geo FROMLONLAT longitude latitude BYRADIUS radius 'km COUNT count ANY
    1 GEOSEARCH geo < ( ?polygon BYPOLYGON #( longitude latitude ) | BYRADIUS 100 'km FROMLONLAT 1 1 ) [ ASC ] [ WITHCOORD ] [ WITHDIST ] >
    0.5 GEOSEARCH geo < [ FROMMEMBER member ] [ FROMLONLAT longitude latitude ] [ BYRADIUS radius unit ] [ BYBOX radius radius unit ] [ ANY ] >
    2 GEOSEARCHSTORE geo geo < ( FROMMEMBER member | FROMLONLAT longitude latitude ) ( BYRADIUS radius unit | BYBOX radius radius unit ) >
    1 GEOSEARCHSTORE zset geo < ( FROMMEMBER member | FROMLONLAT longitude latitude ) ( BYRADIUS radius unit | BYBOX radius radius unit ) STOREDIST >
    2 GEORADIUS geo longitude latitude radius unit < [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ] [ COUNT count ] [ ASC | DESC ] >
    1 GEORADIUS geo longitude latitude radius unit < [ STORE geo ] [ STOREDIST zset ] >
    1 GEORADIUS_RO geo longitude latitude radius unit < [ WITHDIST ] [ ASC ] >
    2 GEORADIUSBYMEMBER geo member radius unit < [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ] [ COUNT count ] [ ASC | DESC ] >
    1 GEORADIUSBYMEMBER geo member radius unit < [ STORE geo ] [ STOREDIST zset ] >
    1 GEORADIUSBYMEMBER_RO geo member radius unit < [ WITHDIST ] [ ASC ] >
    1 ZREM geo ( member )+
    1 ZSCORE geo member
    0.3 DEL geo
"""
