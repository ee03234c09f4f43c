//! Values through payloads: made, written, read, made again; in old forms; cut off and spoilt.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_rdb::build::{Builder, Limits};
use weir_rdb::encode::Forms;
use weir_rdb::module::ModuleType;
use weir_rdb::payload::{self, Trust};
use weir_rdb::value::{Collection, Dialect, Id, StreamFigures, Visitor};
use weir_rdb::{Problem, Record, Snapshot};
use weir_structs::hash::HashLimits;
use weir_structs::keyspace::{KeyHasher, Keyspace, OwnedValue, TakenValue};
use weir_structs::list::Limits as ListLimits;
use weir_structs::packed::Element;
use weir_structs::set::SetLimits;
use weir_structs::stream::NodeLimits;
use weir_structs::tree::{Tree, Write};
use weir_structs::value::Big;
use weir_structs::zset::ZsetLimits;

const NOW_MS: i64 = 1_700_000_000_000;
const KEY: &[u8] = b"key";

fn limits() -> Limits {
    Limits {
        list: ListLimits::new(-2, 0),
        set: SetLimits { ints_max: 512, packed_max: 128, packed_len_max: 64 },
        hash: HashLimits { fields: 512, value_bytes: 64 },
        zset: ZsetLimits { entries: 128, value_bytes: 64 },
        stream: NodeLimits { bytes: 4096, entries: 100 },
    }
}

fn builder() -> Builder {
    Builder::new(KeyHasher::new(1), limits(), NOW_MS)
}

fn dump(value: TakenValue, dialect: Dialect) -> Vec<u8> {
    let mut keyspace = Keyspace::new(KeyHasher::new(1));
    let position = keyspace.position(KEY);
    keyspace.insert_taken(position, KEY, value, 0);
    let entry = keyspace.get(position, KEY).expect("it was put there");
    payload::dump(entry, Forms { compress: true, dialect })
}

/// What a value is told as: each element a line, sorted where the order says nothing.
#[derive(Default, Debug, PartialEq)]
struct Told {
    lines: Vec<String>,
    is_ordered: bool,
}

impl Told {
    fn of(payload: &[u8]) -> Told {
        let (dialect, value) = payload::open(payload, Trust::Strict).expect("a whole payload");
        let mut told = Told::default();
        payload::read(dialect, value, &mut told).expect("a whole value");
        if !told.is_ordered {
            told.lines.sort();
        }
        told
    }

    fn tell(&mut self, line: String) -> Result<(), Problem> {
        self.lines.push(line);
        Ok(())
    }
}

fn text(element: Element<'_>) -> String {
    element.text().escape_ascii().to_string()
}

impl Visitor for Told {
    fn string(&mut self, value: &[u8]) -> Result<(), Problem> {
        self.tell(format!("string {}", value.escape_ascii()))
    }

    fn collection(&mut self, kind: Collection, _: usize) -> Result<(), Problem> {
        self.is_ordered = kind == Collection::List;
        self.tell(format!(" {kind:?}"))
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Problem> {
        self.tell(format!("element {}", text(element)))
    }

    fn scored(&mut self, member: Element<'_>, score: f64) -> Result<(), Problem> {
        // Minus zero becomes zero in a small sorted set.
        self.tell(format!("member {} {:?}", text(member), score + 0.0))
    }

    fn field(&mut self, field: Element<'_>, value: Element<'_>, expire_at_ms: Option<i64>) -> Result<(), Problem> {
        self.tell(format!("field {} {} {expire_at_ms:?}", text(field), text(value)))
    }

    fn stream(&mut self) -> Result<(), Problem> {
        self.is_ordered = true;
        Ok(())
    }

    fn entry(&mut self, id: Id, pairs: &[Element<'_>]) -> Result<(), Problem> {
        let pairs: Vec<String> = pairs.iter().map(|&element| text(element)).collect();
        self.tell(format!("entry {id:?} {pairs:?}"))
    }

    fn figures(&mut self, figures: &StreamFigures) -> Result<(), Problem> {
        self.tell(format!("{figures:?}"))
    }

    fn group(&mut self, name: &[u8], last_delivered: Id, entries_read: Option<u64>) -> Result<(), Problem> {
        self.tell(format!("group {} {last_delivered:?} {entries_read:?}", name.escape_ascii()))
    }

    fn pending(&mut self, id: Id, delivered_ms: u64, deliveries: u64) -> Result<(), Problem> {
        self.tell(format!("pending {id:?} {delivered_ms} {deliveries}"))
    }

    fn consumer(&mut self, name: &[u8], seen_ms: u64, active_ms: Option<u64>) -> Result<(), Problem> {
        self.tell(format!("consumer {} {seen_ms} {active_ms:?}", name.escape_ascii()))
    }

    fn module(&mut self, kind: ModuleType) -> Result<(), Problem> {
        self.is_ordered = true;
        self.tell(format!("{kind:?}"))
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), Problem> {
        self.tell(format!("piece {}", piece.escape_ascii()))
    }

    fn consumer_pending(&mut self, id: Id) -> Result<(), Problem> {
        self.tell(format!("consumer's {id:?}"))
    }

    fn producers(&mut self, duration_s: u64, messages_max: u64) -> Result<(), Problem> {
        self.tell(format!("producers {duration_s} {messages_max}"))
    }

    fn message(&mut self, producer: &[u8], message: &[u8], id: Id) -> Result<(), Problem> {
        self.tell(format!("message {} {} {id:?}", producer.escape_ascii(), message.escape_ascii()))
    }

    fn counted(&mut self, added: u64, duplicates: u64) -> Result<(), Problem> {
        self.tell(format!("counted {added} {duplicates}"))
    }
}

/// A value of a random type, told to a builder.
fn random_value(rng: &mut SmallRng) -> TakenValue {
    let mut builder = builder();
    let count = [1, 3, 40, 200, 600][rng.random_range(0..5)];
    let told = match rng.random_range(0..7) {
        6 => return store(count, rng),
        0 => builder.string(&random_text(rng, 30_000)),
        1 => tell_all(&mut builder, Collection::List, count, rng, |builder, _, rng| {
            builder.element(Element::Bytes(&random_text(rng, 10_000)))
        }),
        2 => tell_all(&mut builder, Collection::Set, count, rng, |builder, at, rng| {
            let rest = if rng.random_bool(0.9) { Vec::new() } else { [b":", &random_text(rng, 100)[..]].concat() };
            builder.element(Element::Bytes(&[at.to_string().as_bytes(), &rest].concat()))
        }),
        3 => tell_all(&mut builder, Collection::Zset, count, rng, |builder, at, rng| {
            let scores =
                [0.0, -0.0, 1.0, -17.25, 0.1, 1e300, -1e-300, f64::INFINITY, f64::NEG_INFINITY, 5e-324, at as f64];
            let score = scores[rng.random_range(0..scores.len())];
            builder.scored(Element::Bytes(at.to_string().as_bytes()), score)
        }),
        4 => tell_all(&mut builder, Collection::Hash, count, rng, |builder, at, rng| {
            let deadline = rng.random_bool(0.02).then(|| NOW_MS + rng.random_range(1..1 << 40));
            let (field, value) = (at.to_string(), random_text(rng, 100));
            builder.field(Element::Bytes(field.as_bytes()), Element::Bytes(&value), deadline)
        }),
        _ => tell_stream(&mut builder, count as u64, rng),
    };
    told.expect("a value that is right");
    builder.take().expect("it fits together").expect("it is not empty")
}

/// A store of the registry with some history.
fn store(writes: usize, rng: &mut SmallRng) -> TakenValue {
    let mut tree = Tree::new(rng.random::<u64>() >> 11);
    for id in 1..4 {
        tree.grant(id, 1_000 * id, id == 2, 0);
    }
    for _ in 0..writes {
        let path = format!("{}/{}", ["", "\0d"][rng.random_range(0..2)], rng.random_range(0..30));
        let revision = (tree.revision() + rng.random_range(0..2)).max(1);
        let (path, value) = (path.as_bytes(), random_text(rng, 10_000));
        let write = match rng.random_bool(0.2) {
            true => Write::Del { path },
            false => Write::Put { path, value: &value, lease: rng.random_range(0..4), flags: rng.random() },
        };
        tree.write(revision, 1_000 + revision, write);
    }
    tree.compact(rng.random_range(0..=tree.revision()));
    TakenValue { value: OwnedValue::Big(tree.into()), expire_at: None, clock: 0 }
}

fn tell_all(
    builder: &mut Builder,
    kind: Collection,
    count: usize,
    rng: &mut SmallRng,
    tell: impl Fn(&mut Builder, usize, &mut SmallRng) -> Result<(), Problem>,
) -> Result<(), Problem> {
    builder.collection(kind, count)?;
    (0..count).try_for_each(|at| tell(builder, at, rng))
}

fn tell_stream(builder: &mut Builder, count: u64, rng: &mut SmallRng) -> Result<(), Problem> {
    builder.stream()?;
    for at in 0..count {
        let fields = rng.random_range(1..4);
        let texts: Vec<Vec<u8>> = (0..2 * fields).map(|_| random_text(rng, 50)).collect();
        let pairs: Vec<Element<'_>> = texts.iter().map(|text| Element::Bytes(text)).collect();
        builder.entry((5 + at / 3, at % 3), &pairs)?;
    }
    builder.figures(&StreamFigures {
        len: count,
        last_id: (5 + count, 0),
        first_id: Some((5, 0)),
        max_deleted_id: (2, 7),
        entries_added: Some(count + 9),
    })?;
    for group in 0..rng.random_range(0..3) {
        let name = format!("group{group}");
        builder.group(name.as_bytes(), (6, 0), rng.random_bool(0.5).then_some(3))?;
        let pending = count.min(7);
        (0..pending).try_for_each(|at| builder.pending((5 + at / 3, at % 3), 1_000 + at, 1 + at * 50))?;
        builder.consumer(b"somebody", 77, Some(76))?;
        (0..pending / 2).try_for_each(|at| builder.consumer_pending((5 + at / 3, at % 3)))?;
        builder.consumer(b"nobody", 78, None)?;
        // Those that were given back.
        builder.consumer(b"", 0, None)?;
        (pending / 2..pending).try_for_each(|at| builder.consumer_pending((5 + at / 3, at % 3)))?;
    }
    if rng.random() {
        tell_producers(builder, rng)?;
    }
    Ok(())
}

fn tell_producers(builder: &mut Builder, rng: &mut SmallRng) -> Result<(), Problem> {
    builder.producers([100, 86_400][rng.random_range(0..2)], [100, 7][rng.random_range(0..2)])?;
    for producer in 0..rng.random_range(0..40) {
        for message in 0..rng.random_range(0..20) {
            let text = [format!("{message}:").as_bytes(), &random_text(rng, 100)].concat();
            builder.message(format!("p{producer}").as_bytes(), &text, (NOW_MS as u64 - 500 + message, producer))?;
        }
    }
    builder.counted(rng.random_range(0..1_000), rng.random_range(0..3))
}

fn random_text(rng: &mut SmallRng, most: usize) -> Vec<u8> {
    match rng.random_range(0..4) {
        0 => rng.random::<i64>().checked_shr(rng.random_range(0..64)).unwrap_or(0).to_string().into_bytes(),
        1 => (0..rng.random_range(0..20)).map(|_| rng.random()).collect(),
        2 => vec![b'a'; rng.random_range(0..200)],
        _ if rng.random_bool(0.02) => vec![rng.random(); rng.random_range(0..most)],
        _ => b"word".repeat(rng.random_range(0..20)),
    }
}

#[test]
fn what_is_written_reads_as_the_same_in_the_forms_of_both() {
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..150 {
        let value = random_value(&mut rng);
        let payloads = [Dialect::Redis, Dialect::Valkey].map(|dialect| dump(value.clone(), dialect));
        let [mut told, valkeys] = [0, 1].map(|at| Told::of(&payloads[at]));
        // Of producers, Valkey knows nothing.
        told.lines.retain(|line| !["producers", "message", "counted"].iter().any(|word| line.starts_with(word)));
        assert_eq!(told, valkeys);
        for payload in payloads {
            let (dialect, bytes) = payload::open(&payload, Trust::Strict).expect("a whole payload");
            let mut builder = builder();
            payload::read(dialect, bytes, &mut builder).expect("a whole value");
            let again = builder.take().expect("it fits together").expect("it is not empty");
            assert_eq!(Told::of(&dump(again, dialect)), Told::of(&payload));
        }
    }
}

/// The value in one of the forms that older servers wrote.
fn read_old(code: u8, bytes: &[u8]) -> Result<Vec<String>, Problem> {
    let mut told = Told::default();
    payload::read(Dialect::Redis, &[&[code], bytes].concat(), &mut told)?;
    Ok(told.lines.split_off(1))
}

#[test]
fn forms_of_older_servers_are_read() {
    let ziplist = b"\x14\0\0\0\x0a\0\0\0\x02\0\0\x01a\x03\xfe\x7f\xff....";
    // Its own length counts the bytes that it has.
    assert!(read_old(10, &[&[ziplist.len() as u8][..], ziplist].concat()).is_err());
    let ziplist = b"\x11\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xfe\x7f\xff";
    let ziplist = [&[ziplist.len() as u8][..], ziplist].concat();
    assert_eq!(read_old(10, &ziplist).unwrap(), ["element a", "element 127"]);
    assert_eq!(read_old(12, &ziplist).unwrap(), ["member a 127.0"]);
    assert_eq!(read_old(13, &ziplist).unwrap(), ["field a 127 None"]);
    assert_eq!(read_old(14, &[b"\x01", &ziplist[..]].concat()).unwrap(), ["element a", "element 127"]);
    assert_eq!(read_old(9, b"\x08\x01\x01k\x01\x00v\xff\0").unwrap_err(), Problem::BadPacked);
    assert_eq!(read_old(9, b"\x07\x01\x01k\x01\x00v\xff").unwrap(), ["field k v None"]);
    assert_eq!(read_old(1, b"\x02\x01a\xc0\x05").unwrap(), ["element a", "element 5"]);
    assert_eq!(read_old(3, b"\x01\x01a\x041.25").unwrap(), ["member a 1.25"]);
    assert_eq!(read_old(3, b"\x01\x01a\xff").unwrap(), ["member a -inf"]);
    assert_eq!(read_old(3, b"\x01\x01a\xfd").unwrap_err(), Problem::BadNumber);
    assert_eq!(read_old(2, b"\x00").unwrap_err(), Problem::Empty);
    assert_eq!(read_old(7, b"\x00").unwrap_err(), Problem::Module);
    assert_eq!(read_old(99, b"\x00").unwrap_err(), Problem::UnknownType(99));
    assert_eq!(read_old(0, b"\x01ab").unwrap_err(), Problem::Trailing);
}

#[test]
fn an_element_that_is_there_twice_is_no_value() {
    for (code, bytes) in
        [(2, &b"\x02\x01a\x01a"[..]), (4, b"\x02\x01a\x01b\x01a\x01c"), (3, b"\x02\x01a\x011\x01a\x012")]
    {
        let mut builder = builder();
        let read = payload::read(Dialect::Redis, &[&[code], bytes].concat(), &mut builder);
        let taken = read.and_then(|()| builder.take());
        assert_eq!(taken.unwrap_err(), Problem::BadCollection);
    }
}

#[test]
fn a_hash_whose_fields_have_all_expired_is_no_value() {
    let mut builder = builder();
    builder.collection(Collection::Hash, 1).unwrap();
    builder.field(Element::Bytes(b"f"), Element::Bytes(b"v"), Some(NOW_MS)).unwrap();
    assert!(builder.take().unwrap().is_none());
    builder.string(b"next").unwrap();
    assert!(builder.take().unwrap().is_some());
}

#[test]
fn claimed_lengths_allocate_nothing_and_every_cut_is_refused() {
    let huge = b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff";
    for code in 0..=25 {
        let mut builder = builder();
        assert!(payload::read(Dialect::Redis, &[&[code], &huge[..]].concat(), &mut builder).is_err(), "{code}");
    }
    let mut rng = SmallRng::seed_from_u64(2);
    for _ in 0..40 {
        let payload = dump(random_value(&mut rng), Dialect::Redis);
        let (dialect, bytes) = payload::open(&payload, Trust::Strict).expect("a whole payload");
        for _ in 0..40 {
            let cut = rng.random_range(0..bytes.len());
            assert!(payload::read(dialect, &bytes[..cut], &mut builder()).is_err());
            assert!(payload::open(&payload[..cut], Trust::Strict).is_none());
        }
    }
}

/// Ids as they stand behind messages of producers: of now, less so many ms.
fn id_of_now(less_ms: i64) -> Vec<u8> {
    [&b"\x81"[..], &(NOW_MS - less_ms).to_be_bytes(), b"\x00"].concat()
}

/// A stream without entries; one group at 5-0 that has read two, an entry pending, no consumer.
fn newer_stream(code: u8, producers: &[u8]) -> Result<Option<TakenValue>, Problem> {
    let common = b"\x00\x00\x05\x00\x00\x00\x00\x00\x02\x01\x01g\x05\x00\x02\x01";
    let mut pending = [0_u8; 25];
    (pending[7], pending[16], pending[24]) = (5, 9, 1);
    let mut id = [0_u8; 16];
    id[7] = 5;
    // In the old form somebody must have the pending entry.
    let bytes = if code == 26 {
        [&[code], &common[..15], b"\x00\x00", producers].concat()
    } else {
        [&[code], &common[..], &pending, b"\x00\x01", &id, producers].concat()
    };
    let mut builder = builder();
    payload::read(Dialect::Redis, &bytes, &mut builder).and_then(|()| builder.take())
}

/// The messages that are remembered in a stream.
fn messages_of(value: Result<Option<TakenValue>, Problem>) -> Vec<Vec<u8>> {
    let Ok(Some(TakenValue { value: OwnedValue::Big(Big::Stream(stream)), .. })) = value else { panic!("{value:?}") };
    let producers = stream.idempotency().producers();
    producers.flat_map(|(_, _, messages)| messages.map(|(message, _)| message.to_vec())).collect()
}

#[test]
fn no_deadline_of_a_field_is_written_that_redis_does_not_read() {
    let deadlines = |all: &[i64], dialect| {
        let mut builder = builder();
        builder.collection(Collection::Hash, all.len()).unwrap();
        for (at, &deadline) in all.iter().enumerate() {
            let field = format!("f{at}");
            builder.field(Element::Bytes(field.as_bytes()), Element::Int(7), Some(deadline)).unwrap();
        }
        builder.field(Element::Bytes(b"g"), Element::Int(7), None).unwrap();
        Told::of(&dump(builder.take().unwrap().unwrap(), dialect)).lines
    };
    let (near, last) = (NOW_MS + 5, (1_i64 << 48) - 2);
    let expected = |all: &[i64]| {
        let mut lines = vec![" Hash".to_owned()];
        lines.extend(all.iter().enumerate().map(|(at, deadline)| format!("field f{at} 7 Some({deadline})")));
        lines.push("field g 7 None".to_owned());
        lines
    };
    let all = [near, last, last + 1, i64::MAX];
    assert_eq!(deadlines(&all, Dialect::Redis), expected(&[near, last, last, last]));
    assert_eq!(deadlines(&all[2..], Dialect::Redis), expected(&[last, last]));
    assert_eq!(deadlines(&all, Dialect::Valkey), expected(&all));
}

/// A stream with one entry, 5-1, that has these pairs of a field and a value, with `figures` behind it.
fn stream_with(pairs: &[&str], figures: &[u8]) -> Result<Vec<String>, Problem> {
    let mut elements = vec![vec![1, 1], vec![0, 1], vec![0, 1], vec![0, 1], vec![0, 1], vec![0, 1], vec![0, 1]];
    elements.push(vec![pairs.len() as u8 / 2, 1]);
    elements.extend(
        pairs.iter().map(|text| [&[0x80 | text.len() as u8], text.as_bytes(), &[1 + text.len() as u8]].concat()),
    );
    elements.push(vec![pairs.len() as u8 + 4, 1]);
    let body = elements.concat();
    let (total, count) = ((body.len() + 7) as u32, elements.len() as u16);
    let listpack = [&total.to_le_bytes()[..], &count.to_le_bytes(), &body, b"\xff"].concat();
    let first = [&5_u64.to_be_bytes()[..], &1_u64.to_be_bytes()].concat();
    let bytes = [b"\x15\x01\x10", &first[..], &[listpack.len() as u8], &listpack, figures].concat();
    let mut builder = builder();
    let value = payload::read(Dialect::Redis, &bytes, &mut builder).and_then(|()| builder.take())?;
    Ok(Told::of(&dump(value.expect("a stream"), Dialect::Redis)).lines)
}

#[test]
fn a_stream_becomes_one_that_commands_could_make() {
    let huge = b"\x81\xff\xff\xff\xff\xff\xff\xff\xfe";
    let empty = b"\x01\x05\x01\x05\x01\x00\x00\x01\x00";
    let lines = stream_with(&["f", "v"], empty).expect("a stream");
    assert_eq!(lines[0], "entry (5, 1) [\"f\", \"v\"]");
    assert_eq!(stream_with(&[], empty), Err(Problem::BadStream), "an entry without fields");
    let figures = |figures: &[&[u8]]| stream_with(&["f", "v"], &figures.concat()).map(|lines| lines[1].clone());
    let as_it_is = figures(&[empty]).expect("a stream");
    // The first id follows from the entries; no more can have been deleted than was given, and what was added is there.
    for odd in [&b"\x01\x05\x01\x09\x09\x00\x00\x01\x00"[..], b"\x01\x05\x01\x05\x01\x00\x00\x00\x00"] {
        assert_eq!(figures(&[odd]), Ok(as_it_is.clone()));
    }
    let deleted = figures(&[b"\x01\x05\x01\x05\x01\x09\x09\x01\x00"]).expect("a stream");
    assert!(deleted.contains("max_deleted_id: (5, 1)"), "{deleted}");
    let added = figures(&[b"\x01\x05\x01\x05\x01\x00\x00", huge, b"\x00"]).expect("a stream");
    assert!(added.contains("entries_added: Some(9223372036854775807)"), "{added}");
    for wrong in [&b"\x02\x05\x01\x05\x01\x00\x00\x02\x00"[..], b"\x01\x05\x00\x05\x01\x00\x00\x01\x00"] {
        assert_eq!(figures(&[wrong]), Err(Problem::BadStream));
    }
    // A group that has read more than can be counted, with an entry delivered at a time and as often as nobody can say.
    let group = [
        &b"\x01\x05\x01\x05\x01\x00\x00\x01\x01\x01g\x05\x01"[..],
        huge,
        b"\x01",
        &5_u64.to_be_bytes(),
        &1_u64.to_be_bytes(),
        &[0xff; 8],
        huge,
        b"\x01\x01c\x07\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x01",
        &5_u64.to_be_bytes(),
        &1_u64.to_be_bytes(),
    ];
    let lines = stream_with(&["f", "v"], &group.concat()).expect("a stream");
    let expected = [
        "group g (5, 1) None",
        "pending (5, 1) 9223372036854775807 9223372036854775807",
        "consumer c 7 Some(7)",
        "consumer's (5, 1)",
    ];
    assert_eq!(lines[2..], expected);
}

#[test]
fn nobody_is_written_under_a_name_that_no_consumer_has() {
    let stream = |nameless: bool| {
        let mut builder = builder();
        builder.stream().unwrap();
        let figures =
            StreamFigures { len: 0, last_id: (9, 0), first_id: None, max_deleted_id: (0, 0), entries_added: Some(9) };
        builder.figures(&figures).unwrap();
        builder.group(b"g", (9, 0), None).unwrap();
        (1..=2).for_each(|at| builder.pending((at, 0), at, 1).unwrap());
        if nameless {
            builder.consumer(b"", 5, None).unwrap();
            builder.consumer_pending((1, 0)).unwrap();
        }
        builder.consumer(b"", 0, None).unwrap();
        (if nameless { 2 } else { 1 }..=2).for_each(|at| builder.consumer_pending((at, 0)).unwrap());
        let first = dump(builder.take().unwrap().unwrap(), Dialect::Redis);
        let (dialect, bytes) = payload::open(&first, Trust::Strict).expect("a whole payload");
        payload::read(dialect, bytes, &mut builder).expect("a whole value");
        let again = dump(builder.take().unwrap().unwrap(), Dialect::Redis);
        assert_eq!(Told::of(&first), Told::of(&again));
        Told::of(&again).lines.split_off(4)
    };
    assert_eq!(stream(false), ["consumer  0 None", "consumer's (1, 0)", "consumer's (2, 0)"]);
    let both = ["consumer  5 None", "consumer's (1, 0)", "consumer \\x00 0 None", "consumer's (2, 0)"];
    assert_eq!(stream(true), both);
}

#[test]
fn streams_of_newer_servers_are_read() {
    let (first, second) = (id_of_now(9), id_of_now(8));
    // 60 s, 10 messages; p has sent two; five were ever added, two refused.
    let producers = [b"\x3c\x0a\x01\x01p\x02\x02m1", &first[..], b"\x02m2", &second, b"\x05\x02"].concat();
    for code in [26, 27] {
        let Ok(Some(TakenValue { value: OwnedValue::Big(Big::Stream(stream)), .. })) = newer_stream(code, &producers)
        else {
            panic!("{code}")
        };
        let (known, counts) = (stream.idempotency(), stream.idempotency().counts());
        assert_eq!((known.duration_s(), known.messages_max(), counts.messages), (60, 10, 2));
        assert_eq!((counts.added, counts.duplicates), (5, 2));
    }
    for missing in 1..producers.len() {
        assert!(newer_stream(27, &producers[..producers.len() - missing]).is_err());
    }
    assert!(payload::read(Dialect::Valkey, &[&[26], &b"\0".repeat(20)[..]].concat(), &mut builder()).is_err());
}

#[test]
fn what_producers_cannot_have_sent_is_refused_and_what_is_too_old_is_forgotten() {
    let message = |name: &[u8], less_ms| [&[name.len() as u8], name, &id_of_now(less_ms)].concat();
    let one = |settings: &[u8], producer: &[u8], messages: &[Vec<u8>]| {
        let head = [settings, b"\x01", &[producer.len() as u8], producer, &[messages.len() as u8]].concat();
        newer_stream(27, &[&head[..], &messages.concat(), b"\x00\x00"].concat())
    };
    let usual = b"\x3c\x0a";
    let bad = |value: Result<Option<TakenValue>, Problem>| assert_eq!(value.unwrap_err(), Problem::BadStream);
    bad(one(usual, b"", &[message(b"m", 0)]));
    bad(one(usual, b"p", &[message(b"", 0)]));
    bad(one(usual, b"p", &[message(b"m", 1), message(b"m", 0)]));
    let all = [message(b"old", 60_000), message(b"a", 59_999), message(b"b", 0), message(b"c", 0)];
    let kept = |settings: &[u8]| messages_of(one(settings, b"p", &all));
    assert_eq!(kept(usual), [b"a", b"b", b"c"]);
    assert_eq!(kept(b"\x3c\x02"), [b"b", b"c"], "no more than there may be");
    // Settings that no command takes become the nearest that one does.
    assert_eq!(kept(b"\x00\x00"), [b"c"]);
    let huge = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(kept(&[huge, &huge[..]].concat()).len(), 4);
    // A claimed number of producers or messages costs nothing.
    assert!(newer_stream(27, &[&usual[..], huge].concat()).is_err());
    assert!(newer_stream(27, &[usual, &b"\x01\x01p"[..], huge].concat()).is_err());
    assert!(messages_of(newer_stream(27, b"\x3c\x0a\x00\x00\x00")).is_empty());
}

#[test]
fn the_version_is_that_which_the_data_need() {
    use weir_rdb::encode::Needs;
    let version = |expiring_fields, producers, dialect| Needs { expiring_fields, producers }.version(dialect);
    assert_eq!([false, true].map(|both| version(both, both, Dialect::Redis)), [11, 13]);
    assert_eq!([false, true].map(|both| version(both, both, Dialect::Valkey)), [11, 80]);
    assert_eq!([Dialect::Redis, Dialect::Valkey].map(|dialect| version(true, false, dialect)), [12, 80]);
    assert_eq!([Dialect::Redis, Dialect::Valkey].map(|dialect| version(false, true, dialect)), [13, 11]);
    let foot = |producers: &[u8], dialect| {
        let payload = dump(newer_stream(27, producers).unwrap().unwrap(), dialect);
        (payload[0], payload[payload.len() - 10])
    };
    assert_eq!(foot(b"\x40\x64\x40\x64\x00\x05\x01", Dialect::Redis), (21, 11), "usual settings, nobody known");
    let known = [b"\x40\x64\x40\x64\x01\x01p\x01\x01m", &id_of_now(0)[..], b"\x01\x00"].concat();
    assert_eq!(foot(&known, Dialect::Redis), (26, 13));
    assert_eq!(foot(&known, Dialect::Valkey), (21, 11));
    assert_eq!(foot(b"\x05\x40\x64\x00\x00\x00", Dialect::Redis), (26, 13), "settings are not to be lost");
}

/// How many spoilt payloads and files there are: a few, or as many as the environment says.
fn mutations() -> usize {
    let told = std::env::var("WEIR_MUTATIONS").ok().and_then(|count| count.parse().ok());
    told.unwrap_or(1_200)
}

/// Changes some bytes, cuts some off, or repeats some.
fn spoil(rng: &mut SmallRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        // Heads are near the beginning.
        let near = if rng.random() { bytes.len() } else { bytes.len().min(64) };
        let at = rng.random_range(0..near);
        match rng.random_range(0..12) {
            0 => bytes.truncate(at),
            1 => {
                let len = rng.random_range(0..20).min(bytes.len() - at);
                let piece = bytes[at..at + len].to_vec();
                bytes.splice(at..at, piece);
            }
            2 => drop(bytes.drain(at..(at + rng.random_range(1..20)).min(bytes.len()))),
            _ => bytes[at] = [0, 0xFF, 0x81, 0xC3, rng.random(), bytes[at] ^ 1][rng.random_range(0..6)],
        }
    }
}

#[test]
fn spoilt_values_are_refused_or_can_be_written_again() {
    let mut rng = SmallRng::seed_from_u64(3);
    for _ in 0..mutations().div_ceil(20) {
        let dialect = if rng.random() { Dialect::Redis } else { Dialect::Valkey };
        let payload = dump(random_value(&mut rng), dialect);
        let (dialect, bytes) = payload::open(&payload, Trust::Strict).expect("a whole payload");
        for _ in 0..20 {
            let mut spoilt = bytes.to_vec();
            spoil(&mut rng, &mut spoilt);
            let mut builder = builder();
            let taken = payload::read(dialect, &spoilt, &mut builder).and_then(|()| builder.take());
            if let Ok(Some(value)) = taken {
                Told::of(&dump(value, dialect));
            }
        }
    }
}

/// A file with a few values, without a checksum.
fn random_file(rng: &mut SmallRng, dialect: Dialect) -> Vec<u8> {
    let magic: &[u8] = if dialect == Dialect::Redis { b"REDIS0012" } else { b"VALKEY080" };
    let mut file = [magic, b"\xfa\x03ver\x019\xfe\x00\xfb\x03\x01"].concat();
    for at in 0..3_u8 {
        let payload = dump(random_value(rng), dialect);
        let (_, value) = payload::open(&payload, Trust::Strict).expect("a whole payload");
        let (kind, value) = value.split_first().expect("a type");
        if at == 0 {
            file.extend_from_slice(b"\xfc\x00\x00\x00\x00\x00\x01\x00\x00");
        }
        file.extend_from_slice(&[*kind, 2, b'k', b'0' + at]);
        file.extend_from_slice(value);
    }
    file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    file
}

/// Reads a file as a server does; how many keys there were.
fn read_file(file: &[u8]) -> Result<usize, weir_rdb::Error> {
    let mut snapshot = Snapshot::open(file, true)?;
    snapshot.set_length(file.len() as u64);
    let (mut builder, mut keys) = (builder(), 0);
    loop {
        match snapshot.next_record()? {
            Record::Key { kind, .. } => {
                snapshot.value(kind, &mut builder)?;
                let value = builder.take().map_err(|problem| snapshot.error(problem))?;
                if let Some(value) = value {
                    Told::of(&dump(value, snapshot.dialect()));
                }
                keys += 1;
            }
            Record::End => return Ok(keys),
            _ => {}
        }
    }
}

#[test]
fn spoilt_files_are_refused_or_their_values_can_be_written_again() {
    let mut rng = SmallRng::seed_from_u64(4);
    for _ in 0..mutations().div_ceil(20) {
        let dialect = if rng.random() { Dialect::Redis } else { Dialect::Valkey };
        let file = random_file(&mut rng, dialect);
        assert_eq!(read_file(&file), Ok(3));
        for _ in 0..20 {
            let mut spoilt = file.clone();
            spoil(&mut rng, &mut spoilt);
            // It ends, in whichever way.
            let _ = read_file(&spoilt);
        }
    }
}

#[test]
fn what_clusters_and_modules_say_between_keys_is_passed_over() {
    let key = b"\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
    let file = |magic: &[u8], said: &[u8]| read_file(&[magic, said, key].concat());
    // Slots that were being moved, under the name of the transfer; sizes of a slot; what a module knows of a key.
    let moved = [&b"\xf3\x28"[..], &[b'a'; 40], b"\x02\x01\x05\x40\x64\x40\xc8"].concat();
    assert_eq!(file(b"VALKEY080", &moved), Ok(1));
    assert_eq!(file(b"REDIS0012", b"\xf4\x05\x06\x07"), Ok(1));
    assert_eq!(file(b"REDIS0013", b"\xf3\x01abcd\x02\x07\x05\x01x\x00"), Ok(1));
    for len in 0..moved.len() {
        let error = Snapshot::open(&[b"VALKEY080", &moved[..len]].concat()[..], true).unwrap().next_record();
        assert_eq!(error.expect_err("its end is missing").problem, Problem::Truncated);
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_where_it_ends() {
    let mut rng = SmallRng::seed_from_u64(5);
    for _ in 0..10 {
        let file = random_file(&mut rng, Dialect::Redis);
        for len in (0..file.len()).filter(|len| file.len() < 5_000 || len % 37 == 0) {
            let error = read_file(&file[..len]).expect_err("its end is missing");
            assert_eq!(error, weir_rdb::Error { offset: len as u64, problem: Problem::Truncated });
        }
    }
}
