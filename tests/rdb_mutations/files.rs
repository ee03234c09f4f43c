//! Whole snapshot files to be spoilt: those that the server writes of data of every type, and some put together by hand in
//! the forms of older and newer servers, which nobody here writes.

use weir_structs::crc64::crc64;

/// Commands that make data of every type, small and big.
pub(crate) fn commands() -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = SMALL.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect();
    let mut add = |line: String| all.push(line.split(' ').map(str::to_owned).collect());
    for (name, element) in [("HSET big-hash", "f# v#"), ("SADD big-set", "m#"), ("ZADD big-zset", "#.5 m#")] {
        let elements: Vec<String> = (0..600).map(|n| element.replace('#', &n.to_string())).collect();
        add(format!("{name} {}", elements.join(" ")));
    }
    add(format!("RPUSH big-list {}", (0..40).map(|n| "x".repeat(n * 10 + 1)).collect::<Vec<_>>().join(" ")));
    add(format!("RPUSH long-element {}", "y".repeat(9_000)));
    add(format!("SET compressed {}", "abc".repeat(500)));
    add("HPEXPIREAT big-hash 4000000000000 FIELDS 2 f7 f8".to_owned());
    for n in 0..150 {
        add(format!("XADD big-stream {}-{} name v{n} other {n}", 1 + n / 3, n % 3));
    }
    add("XGROUP CREATE big-stream g 0".to_owned());
    add("XREADGROUP GROUP g one COUNT 20 STREAMS big-stream >".to_owned());
    add("XNACK big-stream g FAIL IDS 1 1-1".to_owned());
    add("XDEL big-stream 5-1 6-0".to_owned());
    let library = "#!lua name=lib\nredis.register_function('f', function() return 'loaded' end)";
    all.push(["FUNCTION", "LOAD", library].map(str::to_owned).to_vec());
    all
}

const SMALL: &[&str] = &[
    "SET text hello PX 99999999",
    "SET number -12345",
    "RPUSH list a 1 bb 70000 -5 123456789012",
    "SADD integers 1 -40000 5000000000",
    "SADD words a b c d e",
    "ZADD scores 1.5 a -inf b 1e300 c 0.1 d",
    "HSET hash f v g 7",
    "HSET fields f v g 7",
    "HPEXPIREAT fields 4000000000000 FIELDS 1 g",
    "XADD stream 5-1 f v",
    "XADD stream 5-2 f v g w",
    "XGROUP CREATE stream group 0",
    "XGROUP CREATECONSUMER stream group idle",
    "XREADGROUP GROUP group consumer COUNT 1 STREAMS stream >",
    "XADD emptied 1-1 f v",
    "XDEL emptied 1-1",
    "XADD sent IDMP p 1 * f v",
    "XADD sent IDMP p 2 * f v",
    "XADD sent IDMPAUTO q * f v",
    "XCFGSET emptied IDMP-MAXSIZE 5",
    "PFADD log a b c",
    "GEOADD places 13.361389 38.115556 Palermo",
    "SELECT 3",
    "SET elsewhere 1",
    "RPUSH elsewhere-too a b",
    "SELECT 0",
    "MQ.QUEUE DECLARE graveyard",
    "MQ.QUEUE DECLARE mail DELIVERYLIMIT 3",
    "MQ.QUEUE DECLARE urgent MAXPRIORITY 9",
    "MQ.EXCHANGE DECLARE events TYPE topic",
    "MQ.EXCHANGE DECLARE all TYPE fanout",
    "MQ.BIND events QUEUE mail a.*",
    "MQ.BIND all QUEUE mail x",
    "MQ.BIND all QUEUE graveyard x",
    "MQ.PUB events a.b body",
    "MQ.PUB all x shared",
    "MQ.PUSH mail body IDMP web-1 order-5",
    "MQ.GET CONSUMER c1 QUEUES 1 mail",
    "MQ.POLICY SET temporary PATTERN tmp:* APPLY queues PRIORITY 1 DEF 2 MSGTTL 60000 MAXLEN 1000",
    "CFG.PUT store /a 1",
    "CFG.PUT store /b/c 2",
    "CFG.PUT store /a 3",
    "CFG.DEL store /b/c",
];

/// Replaces the checksum at the end by that of what there is.
pub(crate) fn sum_up(file: &mut [u8]) {
    if let Some((body, sum)) = file.split_last_chunk_mut::<8>() {
        *sum = crc64(0, body).to_le_bytes();
    }
}

/// Files of versions 3 to 14 and of Valkey, with the layouts that each knew.
pub(crate) fn by_hand() -> Vec<Vec<u8>> {
    let old: &[(u8, Vec<u8>)] = &[
        (0, string(b"value")),
        (0, b"\xc1\x39\x30".to_vec()),
        (0, b"\xc3\x05\x05\x01ab\x20\x00".to_vec()),
        (1, b"\x02\x01a\xc0\x05".to_vec()),
        (2, b"\x02\x01a\x01b".to_vec()),
        (3, b"\x03\x01a\x041.25\x01b\xff\x01c\xfe".to_vec()),
        (4, b"\x02\x01f\x01v\x01g\x01w".to_vec()),
        (9, string(b"\x01\x01k\x01\x00v\xff")),
        (10, string(&ziplist(&[b"\x01a", b"\xfe\x7f"]))),
        (11, string(b"\x02\0\0\0\x02\0\0\0\x01\0\x05\0")),
        (12, string(&ziplist(&[b"\x01a", b"\xfe\x7f"]))),
        (13, string(&ziplist(&[b"\x01a", b"\x03xyz"]))),
    ];
    let listpacks: &[(u8, Vec<u8>)] = &[
        (5, [&b"\x01\x01a"[..], &1.5_f64.to_le_bytes()].concat()),
        (14, [&b"\x01"[..], &string(&ziplist(&[b"\x01a", b"\xfe\x7f"]))].concat()),
        (16, string(&listpack(&[b"f", b"v", b"g", b"w"]))),
        (17, string(&listpack(&[b"a", b"1", b"b", b"2.5"]))),
        (18, [&b"\x02\x02"[..], &string(&listpack(&[b"a", b"b"])), b"\x01", &string(b"alone")].concat()),
        (20, string(&listpack(&[b"a", b"b", b"c"]))),
        (15, b"\x00\x00\x05\x00\x01\x01g\x05\x00\x00\x00".to_vec()),
        (19, [STREAM, b"\x01", GROUP, b"\x01\x01c", &[0; 8], b"\x00"].concat()),
        (21, [STREAM, b"\x01", GROUP, b"\x01\x01c", &[0; 16], b"\x00"].concat()),
        (7, b"\x81\x12\x34\x56\x78\x9a\xbc\xde\xf0\x02\x05\x05\x01x\x00".to_vec()),
    ];
    let deadline = 4_000_000_000_000_u64.to_le_bytes();
    let redis: &[(u8, Vec<u8>)] = &[
        (22, b"\x01\x81\x00\x00\x03\xa3\x52\x94\x40\x00\x01f\x01v".to_vec()),
        (23, string(&listpack(&[b"f", b"v", b"0"]))),
        (24, [&deadline[..], b"\x02\x01\x01f\x01v\x00\x01g\x01w"].concat()),
        (25, [&deadline[..], &string(&listpack(&[b"f", b"v", b"4000000000000", b"g", b"w", b"0"]))].concat()),
        (26, [STREAM, b"\x00", PRODUCERS].concat()),
        (27, [STREAM, b"\x01", GROUP, b"\x00\x00", PRODUCERS].concat()),
    ];
    let valkey: &[(u8, Vec<u8>)] = &[(22, [&b"\x02\x01f\x01v"[..], &deadline, b"\x01g\x01w", &[0xFF; 8]].concat())];
    let mut files = Vec::new();
    for version in [3, 6, 8] {
        files.push(file(&format!("REDIS{version:04}"), version, &[old]));
    }
    for version in 9..=14 {
        let known = if version < 12 { &[] } else { redis };
        files.push(file(&format!("REDIS{version:04}"), version, &[old, listpacks, known]));
    }
    for version in [80, 81] {
        files.push(file(&format!("VALKEY{version:03}"), version, &[old, listpacks, valkey]));
    }
    files
}

/// No blocks; length, last id, first id, highest deleted id, added.
const STREAM: &[u8] = b"\x00\x00\x05\x00\x00\x00\x00\x00\x02";
/// At 5-0, has read two, nothing pending.
const GROUP: &[u8] = b"\x01g\x05\x00\x02\x00";
/// 100 s, 100 messages; p has sent one in the year 2026; counters.
const PRODUCERS: &[u8] = b"\x40\x64\x40\x64\x01\x01p\x01\x01m\x81\x00\x00\x01\x9b\x76\xda\xa8\x00\x00\x05\x02";

/// A file with these values, and whatever else there may be in one.
fn file(magic: &str, version: u32, values: &[&[(u8, Vec<u8>)]]) -> Vec<u8> {
    let mut file = magic.as_bytes().to_vec();
    if version >= 7 {
        file.extend_from_slice(b"\xfa\x09redis-ver\x055.0.0\xfa\x05ctime\xc2\x00\x10\x00\x60");
    }
    if version >= 10 {
        let library = b"#!lua name=one\nredis.register_function('g', function() return 1 end)";
        file.extend_from_slice(&[&[0xF5][..], &string(library)].concat());
        // Data of a module beside its keys.
        file.extend_from_slice(b"\xf7\x81\x12\x34\x56\x78\x9a\xbc\xde\xf0\x02\x01\x05\x01x\x02\x07\x00");
    }
    file.extend_from_slice(b"\xfe\x00");
    if version >= 7 {
        file.extend_from_slice(b"\xfb\x20\x02");
    }
    if version >= 12 {
        file.extend_from_slice(b"\xf4\x07\x02\x01");
    }
    for (at, (kind, value)) in values.iter().flat_map(|values| values.iter()).enumerate() {
        match at {
            1 => file.extend_from_slice(b"\xfd\x00\x00\x00\x7f"),
            2 => file.extend_from_slice(&[&[0xFC][..], &4_000_000_000_000_u64.to_le_bytes()].concat()),
            3 if version >= 9 => file.extend_from_slice(b"\xf8\x20"),
            4 if version >= 9 => file.extend_from_slice(b"\xf9\x07"),
            5 if version == 13 => file.extend_from_slice(b"\xf3\x01\x00\x00\x00\x01\x02\x05\x00"),
            9 => file.extend_from_slice(b"\xfe\x02"),
            _ => {}
        }
        // What was made of data that modules have, servers without them refuse.
        if *kind != 7 || version == 11 {
            file.extend_from_slice(&[&[*kind][..], &string(format!("k{at}").as_bytes()), value].concat());
        }
    }
    file.push(0xFF);
    if version >= 5 {
        file.extend_from_slice(&[0; 8]);
        sum_up(&mut file);
    }
    file
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = match u8::try_from(bytes.len()) {
        Ok(short @ ..64) => vec![short],
        _ => vec![0x40 | (bytes.len() >> 8) as u8, bytes.len() as u8],
    };
    [&length, bytes].concat()
}

/// Entries as they are encoded, without the lengths of those before them.
fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut last, mut previous) = (Vec::new(), 10, 0);
    for entry in entries {
        last = 10 + body.len();
        body.push(previous);
        body.extend_from_slice(entry);
        previous = entry.len() as u8 + 1;
    }
    let total = 10 + body.len() as u32 + 1;
    [&total.to_le_bytes()[..], &(last as u32).to_le_bytes(), &(entries.len() as u16).to_le_bytes(), &body, b"\xff"]
        .concat()
}

/// Texts, all of them stored as strings.
fn listpack(texts: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        body.push(0x80 | text.len() as u8);
        body.extend_from_slice(text);
        body.push(text.len() as u8 + 1);
    }
    let total = 6 + body.len() as u32 + 1;
    [&total.to_le_bytes()[..], &(texts.len() as u16).to_le_bytes(), &body, b"\xff"].concat()
}
