"""Hashes, with the expiry of their fields."""

COMMANDS = """
    6 HSET hash ( field value )+
    1 HSET hash ( field int )+
    1 HMSET hash ( field value )+
    2 HSETNX hash field value
    4 HDEL hash ( field )+
    3 HGET hash field
    2 HMGET hash ( field )+
    2 HGETALL hash
    1 HKEYS hash
    1 HVALS hash
    1 HLEN hash
    1 HEXISTS hash field
    1 HSTRLEN hash field
    3 HINCRBY hash field delta
    3 HINCRBYFLOAT hash field float
    1 HRANDFIELD hash [ signedcount [ WITHVALUES ] ]
    1 HSCAN hash 0 < [ MATCH glob ] [ COUNT count ] [ ?novalues NOVALUES ] >
    1 HSCAN hash 0 COUNT 100000 [ ?novalues NOVALUES ]
    3 HEXPIRE hash seconds [ NX | XX | GT | LT ] FIELDS #( field )
    1 HPEXPIRE hash milliseconds [ NX | XX | GT | LT ] FIELDS #( field )
    2 HEXPIREAT hash unixseconds [ NX | XX | GT | LT ] FIELDS #( field )
    1 HPEXPIREAT hash unixms [ NX | XX | GT | LT ] FIELDS #( field )
    1 HTTL hash FIELDS #( field )
    1 HPTTL hash FIELDS #( field )
    1 HEXPIRETIME hash FIELDS #( field )
    1 HPEXPIRETIME hash FIELDS #( field )
    2 HPERSIST hash FIELDS #( field )
    2 HGETDEL hash FIELDS #( field )
    2 HGETEX hash [ EX seconds | PX milliseconds | EXAT unixseconds | PXAT unixms | PERSIST ] FIELDS #( field )
    2 HSETEX hash [ FNX | FXX | ?hsetex_key NX | ?hsetex_key XX ] [ EX seconds | PX milliseconds | EXAT unixseconds | PXAT unixms | KEEPTTL ] FIELDS #( field value )
    0.5 HSETEX hash < [ FNX ] [ FXX ] [ EX seconds ] [ KEEPTTL ] > FIELDS #( field value )
    0.5 HGETEX hash < [ EX seconds ] [ PERSIST ] ( FIELDS #( field ) ) >
    1 OBJECT ENCODING hash
    0.3 DEL hash
"""
