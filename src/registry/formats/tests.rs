//! What holds for all formats: round trips, and texts that mean harm.

use super::{DEPTH_MAX, Entry, Format, FormatError, Limits};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

const ALL: [Format; 4] = [Format::Properties, Format::Yaml, Format::Json, Format::Toml];
const LIMITS: Limits = Limits { text_bytes: 16 << 20, entries: 100_000, bytes: 64 << 20 };

fn read(format: Format, text: &str) -> Result<Vec<Entry>, FormatError> {
    format.read(text.as_bytes(), &LIMITS)
}

/// What is read, as `path=value` one behind the other.
#[track_caller]
fn flat(format: Format, text: &str) -> String {
    let entries = read(format, text).unwrap_or_else(|error| panic!("{format:?}: {error}: {text}"));
    let show = |(path, value): &Entry| format!("{}={}", String::from_utf8_lossy(path), String::from_utf8_lossy(value));
    entries.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn refused(format: Format, text: &str) -> String {
    read(format, text).expect_err(text).to_string()
}

fn write(format: Format, entries: &BTreeMap<String, String>) -> Result<String, FormatError> {
    format.write(entries.iter().map(|(path, value)| (path.as_bytes(), value.as_bytes())))
}

#[track_caller]
fn round_trip(entries: &BTreeMap<String, String>) {
    for format in ALL {
        let text = write(format, entries).expect("a text");
        let read = format.read(text.as_bytes(), &LIMITS).unwrap_or_else(|error| panic!("{format:?}: {error}\n{text}"));
        let wanted: Vec<Entry> =
            entries.iter().map(|(path, value)| (path.as_bytes().into(), value.as_bytes().into())).collect();
        assert_eq!(read, wanted, "{format:?}\n{text}");
    }
}

#[test]
fn maps_and_lists_become_paths() {
    let wanted = "/db/host=10.0.0.1 /db/ports/0=5432 /db/ports/1=5433 /name=web";
    assert_eq!(flat(Format::Json, r#"{"name":"web","db":{"host":"10.0.0.1","ports":[5432,5433]}}"#), wanted);
    assert_eq!(flat(Format::Yaml, "name: web\ndb:\n  host: 10.0.0.1\n  ports: [5432, '5433']\n"), wanted);
    assert_eq!(flat(Format::Toml, "name='web'\n[db]\nhost='10.0.0.1'\nports=[5432,5_433]\n"), wanted);
    let properties = "# a comment\nname = web\ndb.host:10.0.0.1\n  db.ports.0 5432\ndb.ports.1=54\\\n   33\n";
    assert_eq!(flat(Format::Properties, properties), wanted);
}

#[test]
fn numbers_and_truth_keep_the_text_that_stands_there() {
    let huge = "123456789012345678901234567890.10e400";
    let json = format!(r#"{{"a":1.10,"b":true,"c":null,"d":-0,"e":{huge},"f":{{}},"g":[]}}"#);
    assert_eq!(flat(Format::Json, &json), format!("/a=1.10 /b=true /c= /d=-0 /e={huge}"));
    let yaml = format!("a: 1.10\nb: yes\nc: ~\nd:\ne: {huge}\nf: 0x1F\ng: 'null'\nh: |\n  one\n  two\n");
    assert_eq!(flat(Format::Yaml, &yaml), format!("/a=1.10 /b=yes /c= /d= /e={huge} /f=0x1F /g=null /h=one\ntwo\n"));
    let toml = "a=1.10\nb=true\nc=0x1F\nd=1979-05-27T07:32:00Z\ne=99999999999999999999999\nf=inf\n";
    assert_eq!(
        flat(Format::Toml, toml),
        "/a=1.10 /b=true /c=31 /d=1979-05-27T07:32:00Z /e=99999999999999999999999 /f=inf"
    );
}

#[test]
fn the_empty_key_is_a_maps_own_value() {
    for (format, text) in [
        (Format::Json, r#"{"":"0","a":{"":"1","b":"2"}}"#),
        (Format::Yaml, "'': 0\na: {'': 1, b: 2}\n"),
        (Format::Toml, "''='0'\na={''='1',b='2'}\n"),
        (Format::Properties, "=0\na=1\na.b=2\n"),
    ] {
        assert_eq!(flat(format, text), "=0 /a=1 /a/b=2");
    }
    assert_eq!(refused(Format::Json, r#"{"a":{"":{"b":1}}}"#), "key '/a/': the empty key holds a single value");
    assert_eq!(refused(Format::Yaml, "a: {'': [1]}"), "line 1: key '/a/': the empty key holds a single value");
    assert_eq!(refused(Format::Toml, "a={''={}}"), "key '/a/': the empty key holds a single value");
}

#[test]
fn nothing_makes_no_paths() {
    for (format, text) in [
        (Format::Json, "{}"),
        (Format::Json, " {\"a\":[], \"b\":{\"c\":{}}} "),
        (Format::Yaml, ""),
        (Format::Yaml, "# nothing\n"),
        (Format::Yaml, "---\n"),
        (Format::Yaml, "a: {}\nb: []\n"),
        (Format::Toml, ""),
        (Format::Toml, "[a.b]\n"),
        (Format::Properties, "\n  \n! nothing\n"),
        (Format::Json, "\u{feff}{}"),
    ] {
        assert_eq!(flat(format, text), "", "{text}");
    }
    for format in ALL {
        let text = write(format, &BTreeMap::new()).expect("a text");
        assert_eq!(flat(format, &text), "");
    }
}

#[test]
fn properties_are_read_as_java_reads_them() {
    assert_eq!(flat(Format::Properties, "a b\\ c \\\n  d"), "/a=b c d");
    assert_eq!(flat(Format::Properties, "a\\ b\\=c\\:d = e = f"), "/a b=c:d=e = f");
    assert_eq!(flat(Format::Properties, "log\\.level=x\\\\\\n\\u00e4\\ud83d\\ude00\\q"), "/log.level=x\\\nä😀q");
    assert_eq!(flat(Format::Properties, "a\rb\r\nc = \r\nd=x\\"), "/a= /b= /c= /d=x");
    assert_eq!(flat(Format::Properties, "a=1\\\n\n#no\nb=2"), "/a=1 /b=2");
    assert_eq!(refused(Format::Properties, "a=1\n\nb=\\u12"), "line 3: \\u without four hexadecimal digits");
    assert_eq!(refused(Format::Properties, "a=\\ud83dx"), "line 1: half a character behind \\u");
    assert_eq!(refused(Format::Properties, "a..b=1"), "line 1: a key with an empty part");
    assert_eq!(refused(Format::Properties, ".a=1"), "line 1: a key with an empty part");
    assert_eq!(refused(Format::Properties, "a.=1"), "line 1: a key with an empty part");
}

#[test]
fn a_value_with_lists_in_maps_in_lists_is_written_as_it_was_read() {
    let yaml =
        "app:\n  hosts:\n    - a\n    - - 1\n      - 2.5\n    - name: b\n      ports:\n        - 80\n  open: true\n";
    let entries = read(Format::Yaml, yaml).expect("a list");
    let write = |format: Format| format.write(entries.iter().map(|(path, value)| (&**path, &**value))).expect("a text");
    assert_eq!(write(Format::Yaml), yaml);
    let toml = "[app]\nhosts = [\"a\", [1, 2.5], { name = \"b\", ports = [80] }]\nopen = true\n";
    assert_eq!(write(Format::Toml), toml);
    let json = "{\n  \"app\": {\n    \"hosts\": [\n      \"a\",\n      [\n        1,\n        2.5\n      ],\n      {\n        \"name\": \"b\",\n        \"ports\": [\n          80\n        ]\n      }\n    ],\n    \"open\": true\n  }\n}\n";
    assert_eq!(write(Format::Json), json);
    assert_eq!(
        write(Format::Properties),
        "app.hosts.0=a\napp.hosts.1.0=1\napp.hosts.1.1=2.5\napp.hosts.2.name=b\napp.hosts.2.ports.0=80\napp.open=true\n"
    );
}

/// Pieces that mean something in one format or another.
const PIECES: [&str; 64] = [
    "a", "b", "app", "0", "1", "2", "10", "01", "-", "- ", "--", "---", "...", "?", "? ", ":", ": ", " ", "  ", "\t",
    "\n", "\r", "\r\n", "#", " #", "!", "!!str", "&a", "*a", "|", ">", "%", "@", "`", "{", "}", "[", "]", ",", "\"",
    "'", "\\", "\\u", "=", ".", "..", "~", "null", "true", "No", "1.5", "1e3", "<<", "\u{0}", "\u{1}", "\u{7f}",
    "\u{85}", "\u{2028}", "\u{feff}", "ä", "😀", "$", "=x", "[a]",
];

fn random_text(rng: &mut SmallRng, pieces_max: usize) -> String {
    (0..rng.random_range(0..=pieces_max)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect()
}

fn random_path(rng: &mut SmallRng) -> String {
    let mut path = String::new();
    for _ in 0..rng.random_range(0..5) {
        let mut part = random_text(rng, 2).replace(['/', '\0'], "");
        if part.is_empty() || rng.random_bool(0.5) {
            part = rng.random_range(0..4).to_string();
        }
        path.push('/');
        path.push_str(&part);
    }
    path
}

#[test]
fn what_is_written_reads_as_the_same_in_every_format() {
    let mut rng = SmallRng::seed_from_u64(4);
    for _ in 0..3_000 {
        let entries = (0..rng.random_range(0..12)).map(|_| (random_path(&mut rng), random_text(&mut rng, 5))).collect();
        round_trip(&entries);
    }
    let deep = "/x".repeat(DEPTH_MAX);
    let long = format!("/{}", "k".repeat(4_000));
    round_trip(&BTreeMap::from([(deep, "1".into()), (long.clone(), "2".into()), (format!("{long}/y"), "3".into())]));
    let many = (0..300).map(|n| (format!("/list/{n}/x"), n.to_string())).collect();
    round_trip(&many);
}

#[test]
fn any_text_is_read_or_refused() {
    let mut rng = SmallRng::seed_from_u64(5);
    for _ in 0..20_000 {
        let text = random_text(&mut rng, 20);
        for format in ALL {
            if let Ok(entries) = read(format, &text) {
                let entries = entries.into_iter().map(|(path, value)| {
                    (String::from_utf8(path.into()).expect("text"), String::from_utf8(value.into()).expect("text"))
                });
                round_trip(&entries.collect());
            }
        }
    }
    for format in ALL {
        let random: Vec<u8> = (0..1_000).map(|_| rng.random()).collect();
        let _ = format.read(&random, &LIMITS);
        assert_eq!(format.read(b"a\nb\xff", &LIMITS), Err(FormatError::Text("line 2: bytes that are no UTF-8".into())));
    }
}

#[test]
fn yaml_that_refers_tags_or_multiplies_is_refused() {
    let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n";
    assert_eq!(refused(Format::Yaml, bomb), "line 1: anchors are not read");
    assert_eq!(refused(Format::Yaml, "a: 1\nb: &x\n"), "line 2: anchors are not read");
    assert!(read(Format::Yaml, "a: *b").is_err());
    assert_eq!(refused(Format::Yaml, "a: !!binary aGk="), "line 1: tags are not read");
    assert_eq!(refused(Format::Yaml, "a: !x {b: 1}"), "line 1: tags are not read");
    assert_eq!(refused(Format::Yaml, "a: 1\n---\nb: 2\n"), "line 2: a second document");
    assert_eq!(refused(Format::Yaml, "{[1]: 2}"), "line 1: a key must be a text");
    assert_eq!(refused(Format::Yaml, "? {a: 1}\n: 2"), "line 1: a key must be a text");
    for text in ["text", "- 1\n", "[1]"] {
        assert_eq!(refused(Format::Yaml, text), "line 1: the whole must be a map", "{text}");
    }
    assert_eq!(refused(Format::Json, "[1]"), "the whole must be a map");
}

#[test]
fn a_key_that_occurs_twice_is_refused() {
    assert_eq!(refused(Format::Json, r#"{"a":{"b":1},"a":{"c":2}}"#), "key '/a' occurs twice");
    assert_eq!(refused(Format::Yaml, "a: 1\nb: 2\na: 3\n"), "line 3: key '/a' occurs twice");
    assert!(refused(Format::Toml, "a=1\na=2").starts_with("line 2: duplicate key"));
    assert_eq!(refused(Format::Properties, "a.b=1\na.b=2"), "key '/a/b' occurs twice");
}

#[test]
fn keys_that_make_no_path_are_refused_by_line_or_key() {
    assert_eq!(
        read(Format::Json, r#"{"a":{"b/c":1}}"#).map_err(|error| matches!(error, FormatError::Path(_))),
        Err(true)
    );
    assert_eq!(refused(Format::Json, r#"{"a":{"b/c":1}}"#), "key '/a/b/c': a part of a path has no '/'");
    assert_eq!(refused(Format::Yaml, "a:\n  b/c: 1"), "line 2: key '/a/b/c': a part of a path has no '/'");
    assert_eq!(refused(Format::Toml, "a.'b/c'=1"), "key '/a/b/c': a part of a path has no '/'");
    assert_eq!(refused(Format::Properties, "\na.b/c=1"), "line 2: key '/a/b/c': a part of a path has no '/'");
    assert_eq!(refused(Format::Json, r#"{"\u0000":1}"#), "key '/\\0': a path has no NUL");
    let long = "k".repeat(5_000);
    assert!(refused(Format::Json, &format!(r#"{{"{long}":1}}"#)).ends_with("k': a path that long"));
}

#[test]
fn nothing_nests_deeper_than_the_limit() {
    let (at_limit, beyond) = (DEPTH_MAX - 1, DEPTH_MAX);
    let nested = |open: &str, count: usize, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    };
    // The last is more than the stack has bytes for, if each level took some.
    for (count, fine) in [(at_limit, true), (beyond, false), (20_000, false), (200_000, false)] {
        let json = format!(r#"{{"a":{}}}"#, nested("[", count, "1", "]"));
        assert_eq!(read(Format::Json, &json).is_ok(), fine, "{count}");
        assert_eq!(read(Format::Yaml, &json).is_ok(), fine, "{count}");
        assert_eq!(read(Format::Toml, &format!("a={}", nested("[", count, "1", "]"))).is_ok(), fine, "{count}");
        let json = nested(r#"{"a":"#, count, "{\"b\":1}", "}");
        assert_eq!(read(Format::Json, &json).is_ok(), fine, "{count}");
        assert_eq!(read(Format::Yaml, &format!("a:\n {}1", "- ".repeat(count))).is_ok(), fine, "{count}");
        let keys = format!("a{}", ".a".repeat(count));
        assert_eq!(read(Format::Properties, &format!("{keys}=1")).is_ok(), count < 2_048, "{count}");
    }
    let deep = BTreeMap::from([("/x".repeat(DEPTH_MAX + 1), String::new())]);
    for format in ALL {
        assert!(matches!(write(format, &deep), Err(FormatError::Limit(_))));
    }
}

#[test]
fn what_is_no_text_is_not_written() {
    for format in ALL {
        assert!(matches!(format.write([(b"/a".as_slice(), b"\xff".as_slice())]), Err(FormatError::Text(_))));
        assert!(matches!(format.write([(b"/\xff".as_slice(), b"1".as_slice())]), Err(FormatError::Text(_))));
    }
}

#[test]
fn limits_are_for_the_text_the_values_and_what_they_become() {
    let limits = Limits { text_bytes: 100, entries: 3, bytes: 40 };
    let limit = |format: Format, text: &str| match format.read(text.as_bytes(), &limits) {
        Err(FormatError::Limit(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(limit(Format::Json, &" ".repeat(101)), "more than 100 bytes of text");
    assert!(limit(Format::Json, r#"{"a":[1,2,3,4]}"#).ends_with("more than 3 values"));
    assert!(limit(Format::Yaml, "a: [1,2,3,4]").ends_with("more than 3 values"));
    assert_eq!(limit(Format::Yaml, &"[".repeat(60)), "more than 48 signs");
    assert!(limit(Format::Toml, "a=[1,2,3,4]").ends_with("more than 3 values"));
    assert_eq!(limit(Format::Toml, &"a=".repeat(40)), "more than 60 tokens");
    assert!(limit(Format::Properties, "a=1\nb=2\nc=3\nd=4").ends_with("more than 3 values"));
    let long = "k".repeat(15);
    assert!(
        limit(Format::Json, &format!(r#"{{"{long}":[1,2,3]}}"#)).ends_with("more than 40 bytes of paths and values")
    );
}

#[test]
fn megabytes_of_anything_are_read_or_refused_in_bounded_time() {
    // What is not optimised takes thirty times as long.
    let size = if cfg!(debug_assertions) { 256 << 10 } else { 10 << 20 };
    let fill = |piece: &str| piece.repeat(size / piece.len());
    let numbered = |line: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        let mut n = 0;
        while text.len() < size {
            text.push_str(&line(n));
            n += 1;
        }
        text
    };
    let texts = [
        fill("a"),
        fill("\""),
        fill("'"),
        fill("\\"),
        fill("\\\\\\\n"),
        fill("\n"),
        fill(" "),
        fill("\t"),
        fill("-"),
        fill("- "),
        fill("-\n"),
        fill("?"),
        fill("? "),
        fill("? a\n"),
        fill(":"),
        fill(": "),
        fill("\"a\" "),
        fill("{\"a\" "),
        fill("a: "),
        fill("a:\n"),
        fill("a: b\n"),
        fill("["),
        fill("[a]\n"),
        fill("[[a]]\n"),
        fill("{"),
        fill("{a: "),
        fill("{\"a\":"),
        fill("[1,"),
        fill("1,"),
        fill("#"),
        fill("#\n"),
        fill("%YAML 1.2\n"),
        fill("%TAG ! x\n"),
        fill("---\n"),
        fill("|"),
        fill(">\n"),
        fill("&a "),
        fill("*a "),
        fill("!a "),
        fill("!<a>"),
        fill("a."),
        fill("a=1\n"),
        fill("a.b.c={}\n"),
        fill("="),
        fill("0"),
        fill("1e"),
        fill("\\u0041"),
        format!("a: {}", fill("b ")),
        format!("a: |\n{}", fill(" b\n")),
        format!("a: >\n{}", fill(" b\n\n")),
        format!("a: \"{}\"", fill("\\x41")),
        format!("a: \"{}\"", fill("b\n ")),
        format!("a: '{}'", fill("''")),
        format!("a = \"\"\"{}\"\"\"", fill("b\n")),
        format!("a = [{}]", fill("1,")),
        format!("{{\"a\":[{}1]}}", fill("1,")),
        format!("{{\"a\":\"{}\"}}", fill("\\u0041")),
        format!("{{\"a\":{}}}", fill("1")),
        format!("a: [{}]", fill("b, ")),
        format!("a: {{{}}}", fill("b, ")),
        format!("a={}", fill("\\u0041")),
        format!("a={}", fill("b\\\n")),
        numbered(&|n| format!("k{n}: v\n")),
        numbered(&|n| format!("k{n} = 1\n")),
        numbered(&|n| format!("[k{n}]\n")),
        numbered(&|n| format!("[[k{n}]]\n")),
        numbered(&|n| format!("a.k{n} = 1\n")),
        numbered(&|n| format!("- k{n}: v\n")),
        numbered(&|n| format!("{}a:\n", " ".repeat(n))),
        numbered(&|n| format!("{}- \n", " ".repeat(n % 5_000))),
        format!("{{{}\"a\":1}}", numbered(&|n| format!("\"k{n}\":1,"))),
    ];
    for text in &texts {
        for format in ALL {
            // A step for each pair of bytes would not end while anybody waits.
            let count = read(format, text).map_or(0, |entries| entries.len());
            assert!(count <= LIMITS.entries);
        }
    }
}
