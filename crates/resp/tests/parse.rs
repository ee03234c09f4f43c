//! The parser against the plain rules of `model`, and its behaviour case by case.
//!
//! The cases are what Redis 8 answers, unless they say otherwise; `model` makes sure that no way of cutting a stream
//! into reads, and no way of passing batches on, changes what it comes to.

mod model;

use model::{Outcome, Turn, check, expected, parsed, small_limits};
use proptest::prelude::*;
use weir_resp::{Batch, Limits, Need, Parser, ProtocolError};

/// `expected` is the commands, words joined by `|`, then the error if there is one.
fn check_text(stream: impl AsRef<[u8]>, expected_texts: &[&str]) {
    let (stream, limits) = (stream.as_ref(), Limits::default());
    let outcome = parsed([stream], &limits, Turn::Keep);
    let texts = |outcome: Outcome| -> Vec<String> {
        let commands = outcome.commands.iter();
        let commands =
            commands.map(|args| args.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join("|"));
        commands.chain(outcome.error.map(|error| format!("! {error}"))).collect()
    };
    assert_eq!(texts(outcome), expected_texts, "{}", stream.escape_ascii());
    assert_eq!(texts(expected(stream, &limits)), expected_texts, "the model, on {}", stream.escape_ascii());
    // Every way of cutting it in two, for streams that aren't long.
    for cut in (0..=stream.len()).take(100) {
        check(stream, &[cut], &limits);
    }
}

const ECHO: &str = "*2\r\n$4\r\nECHO\r\n";

fn echo(rest: &[u8]) -> Vec<u8> {
    [ECHO.as_bytes(), rest].concat()
}

#[test]
fn commands_are_cut_one_after_the_other() {
    check_text("", &[]);
    check_text("*1\r\n$4\r\nPING\r\n", &["PING"]);
    check_text("*1\r\n$4\r\nPING\r\nPING x\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\nPI", &["PING", "PING|x", "GET|"]);
    check_text(format!("*2\r\n$3\r\nGET\r\n$123\r\n{}\r\n", "k".repeat(123)), &[&format!("GET|{}", "k".repeat(123))]);
    check_text("*1\r\n$12\r\nabcdefghijkl\r\n", &["abcdefghijkl"]);
    check_text("*1\r\n$0\r\n\r\n", &[""]);
    check_text(format!("*12\r\n{}", "$1\r\na\r\n".repeat(12)), &["a|a|a|a|a|a|a|a|a|a|a|a"]);
    check_text("$4\r\nPING\r\n", &["$4", "PING"]);
}

#[test]
fn a_count_of_zero_or_less_is_no_command() {
    for count in ["0", "-1", "-5", "-10", "-9223372036854775808"] {
        check_text(format!("*{count}\r\nPING\r\n"), &["PING"]);
    }
    check_text("\r\n\n  \t\r\n*0\r\n*0\r\n*1\r\n$4\r\nPING\r\n\r\n", &["PING"]);
}

#[test]
fn counts_are_canonical_decimals() {
    for count in [
        "",
        "+1",
        "01",
        " 1",
        "1 ",
        "-0",
        "00",
        "x",
        "1x",
        "1\n$4",
        "--1",
        "-",
        "-01",
        "1\0",
        "\0",
        "2147483648",
        "9223372036854775807",
    ] {
        check_text(format!("PING\r\n*{count}\r\n$4\r\nPING\r\n"), &["PING", "! invalid multibulk length"]);
    }
    check_text("*9223372036854775808\r\n", &["! invalid multibulk length"]);
    check_text("*-9223372036854775809\r\n", &["! invalid multibulk length"]);
    check_text("*2147483647\r\n", &[]);
}

#[test]
fn lengths_are_canonical_decimals_and_not_negative() {
    for len in ["-1", "03", "+3", "00", "-0", "", " 3", "3 ", "1a", "\0", "3\0", "536870913", "99999999999999999999"] {
        check_text(echo(format!("${len}\r\nabc\r\n").as_bytes()), &["! invalid bulk length"]);
    }
    check_text(echo(b"$536870912\r\nabc"), &[]);
}

#[test]
fn the_bytes_in_place_of_line_ends_are_skipped_unseen() {
    check_text("*1\rx$4\r\nPING\r\n", &["PING"]);
    check_text(echo(b"$3\rXabc\r\n"), &["ECHO|abc"]);
    check_text(echo(b"$3\r\nabcXYPING\r\n"), &["ECHO|abc", "PING"]);
    check_text(echo(b"$3\r\nab\rXXPING\r\n"), &["ECHO|ab\\r", "PING"]);
}

#[test]
fn an_argument_announced_by_anything_but_a_dollar_is_refused_once_its_line_is_here() {
    check_text(echo(b"x\r\n"), &["! expected '$', got 'x'"]);
    check_text(echo(b"\r\n"), &["! expected '$', got ' '"]);
    check_text(echo(b"\n\r\n"), &["! expected '$', got ' '"]);
    check_text(echo(b"\0\r\n"), &["! expected '$', got '\0'"]);
    check_text(echo(b"\xff\r\n"), &["! expected '$', got '\u{fffd}'"]);
    check_text(echo(b"x"), &[]);
    check_text(echo(b"12345\r\n"), &["! expected '$', got '1'"]);
}

#[test]
fn lines_without_an_end_are_refused_at_64_kib_and_not_a_byte_sooner() {
    let digits = |count| "1".repeat(count);
    check_text(format!("*{}", digits(65_535)), &[]);
    check_text(format!("*{}", digits(65_536)), &["! too big mbulk count string"]);
    check_text(format!("*{}\r\n", digits(65_535)), &["! invalid multibulk length"]);
    check_text(format!("{ECHO}${}", digits(65_535)), &[]);
    check_text(format!("{ECHO}${}", digits(65_536)), &["! too big bulk count string"]);
    check_text(format!("{ECHO}${}\r\n", digits(65_535)), &["! invalid bulk length"]);
    check_text(format!("PING\r\n{}", digits(65_536)), &["PING"]);
    check_text(format!("PING\r\n{}", digits(65_537)), &["PING", "! too big inline request"]);
    check_text(format!("{}\n", digits(65_536)), &[&digits(65_536)]);
    // Redis takes this one if it happens to arrive in one read.
    check_text(format!("{}\n", digits(65_537)), &["! too big inline request"]);
}

#[test]
fn a_nul_hides_the_rest_of_an_inline_line() {
    check_text("PING a\0b\r\nPING\r\n", &[]);
    check_text("\0\r\nPING\r\n", &[]);
    check_text(format!("\0\r\n{}", "PING\r\n".repeat(11_000)), &["! too big inline request"]);
}

#[test]
fn inline_commands_are_lines_of_words() {
    check_text("\r\rPING\r\nPING\n PING\r\r\n", &["PING", "PING", "PING"]);
    check_text("SET k \"a\\x41 \\n\"\r\nGET 'k'\n", &["SET|k|aA \\n", "GET|k"]);
    check_text("PING x\r\nPING \"\r\nPING\r\n", &["PING|x", "! unbalanced quotes in request"]);
    check_text("PING \"a\"b\r\n", &["! unbalanced quotes in request"]);
    check_text("'' ''\r\n", &["|"]);
}

#[test]
fn who_has_not_logged_in_sends_few_and_short_arguments() {
    let limits = Limits { authenticated: false, ..Limits::default() };
    let error = |stream: &str| parsed([stream.as_bytes()], &limits, Turn::Keep).error;
    assert_eq!(error("*10\r\n"), None);
    assert_eq!(error("*11\r\n"), Some(ProtocolError::MultibulkLenUnauthenticated));
    assert_eq!(error("*-11\r\n*11\r\n"), Some(ProtocolError::MultibulkLenUnauthenticated));
    assert_eq!(error("*2147483648\r\n"), Some(ProtocolError::MultibulkLenInvalid));
    assert_eq!(error(&format!("{ECHO}$16384\r\n")), None);
    assert_eq!(error(&format!("{ECHO}$16385\r\n")), Some(ProtocolError::BulkLenUnauthenticated));
    assert_eq!(error(&format!("{ECHO}$999999999999\r\n")), Some(ProtocolError::BulkLenInvalid));
    assert_eq!(error("PING a a a a a a a a a a a a a a a\r\n"), None);
}

#[test]
fn a_login_in_front_of_a_long_command_gets_executed_before_that_is_judged() {
    let long = format!("*11\r\n{}", "$1\r\na\r\n".repeat(11));
    let large = format!("*2\r\n$4\r\nECHO\r\n$20000\r\n{}\r\n", "z".repeat(20_000));
    for rest in [long, large] {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        let mut limits = Limits { authenticated: false, ..Limits::default() };
        batch.read_buffer().extend_from_slice(format!("AUTH x\r\n{rest}").as_bytes());
        let progress = parser.parse(&mut batch, &limits).unwrap();
        assert_eq!((progress.consumed, progress.need, batch.len()), (8, Need::Execute, 1));
        limits.authenticated = true;
        batch.discard_complete();
        let progress = parser.parse(&mut batch, &limits).unwrap();
        assert_eq!((progress.consumed, progress.need, batch.len()), (rest.len(), Need::Nothing, 1));
    }
}

#[test]
fn a_batch_takes_no_more_commands_than_its_limit() {
    let limits = Limits { commands_max: 100, ..Limits::default() };
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    batch.read_buffer().extend_from_slice("PING\r\n".repeat(250).as_bytes());
    let mut lens = Vec::new();
    loop {
        let need = parser.parse(&mut batch, &limits).unwrap().need;
        lens.push(batch.len());
        if need == Need::Nothing {
            break;
        }
        assert_eq!(need, Need::Execute);
        batch.discard_complete();
    }
    assert_eq!(lens, [100, 100, 50]);
}

#[test]
fn what_an_argument_lacks_is_known_to_the_byte() {
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    let mut need = |bytes: &[u8]| {
        batch.read_buffer().extend_from_slice(bytes);
        parser.parse(&mut batch, &Limits::default()).unwrap().need
    };
    assert_eq!(need(b"*2\r\n$3\r\nGE"), Need::Bytes(3));
    assert_eq!(need(b"T\r"), Need::Bytes(1));
    assert_eq!(need(b"\n"), Need::More);
    assert_eq!(need(b"$1000\r"), Need::More);
    assert_eq!(need(b"\n"), Need::Bytes(1002));
    assert_eq!(need(&[b'x'; 1001]), Need::Bytes(1));
    assert_eq!(need(b"\n"), Need::Nothing);
}

#[test]
fn claims_reserve_nothing() {
    for stream in ["*1048576\r\n", "*2147483647\r\n$536870912\r\n", "*2\r\n$3\r\nGET\r\n$536870912\r\nabc"] {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        batch.read_buffer().extend_from_slice(stream.as_bytes());
        let need = parser.parse(&mut batch, &Limits::default()).unwrap().need;
        assert!(batch.heap_bytes() < 512, "{}", batch.heap_bytes());
        assert!(need.reserve_bytes(stream.len()) < 66_000);
    }
    assert_eq!(Need::Bytes(100).reserve_bytes(1_000_000), 100);
    assert_eq!(Need::Bytes(usize::MAX).reserve_bytes(1_000_000), 2_065_536);
}

#[test]
fn an_argument_larger_than_offsets_reach_is_refused_on_its_claim() {
    let limits = Limits { proto_max_bulk_len: u64::MAX, ..Limits::default() };
    let need = |stream: &str| {
        let (mut parser, mut batch) = (Parser::new(), Batch::new());
        batch.read_buffer().extend_from_slice(stream.as_bytes());
        parser.parse(&mut batch, &limits).map(|progress| (batch.len(), progress.need))
    };
    assert_eq!(need("*1\r\n$4294901000\r\n"), Ok((0, Need::Bytes(4_294_901_002))));
    assert_eq!(need("*1\r\n$4294901759\r\n"), Err(ProtocolError::RequestTooBig));
    assert_eq!(need("\r\n*1\r\n$4294901759\r\n"), Err(ProtocolError::RequestTooBig));
    assert_eq!(need("PING\r\n*1\r\n$4294901759\r\n"), Ok((1, Need::Execute)));
    assert_eq!(need("*1\r\n$4294967296\r\n"), Err(ProtocolError::BulkLenInvalid));
}

#[test]
fn a_million_arguments_in_small_pieces_are_cut_once() {
    // Starting over with each piece would take minutes.
    let stream = [b"*1000000\r\n".as_slice(), &b"$1\r\na\r\n".repeat(1_000_000)].concat();
    for turn in [Turn::Discard, Turn::Carry] {
        let outcome = parsed(stream.chunks(101), &Limits::default(), turn);
        assert_eq!(outcome.commands.iter().map(Vec::len).collect::<Vec<_>>(), [1_000_000]);
    }
}

#[test]
fn a_long_line_in_single_bytes_is_scanned_once() {
    let line = [vec![b'a'; 65_000], b"\r\n".to_vec()].concat();
    assert_eq!(parsed(line.chunks(1), &Limits::default(), Turn::Keep).commands, [[vec![b'a'; 65_000]]]);
}

#[test]
fn many_turns_over_one_long_buffer_do_not_move_it_each_time() {
    // 2 MB of commands, three at a time: moving the rest each time would be 90 GB.
    let limits = Limits { commands_max: 3, ..Limits::default() };
    let stream = b"PING\r\n".repeat(300_000);
    for turn in [Turn::Discard, Turn::Carry] {
        assert_eq!(parsed([stream.as_slice()], &limits, turn).commands.len(), 300_000);
    }
}

/// Once, the place up to which a half-arrived length had been scanned was still remembered when the next line began, and
/// the end of a short inline command was looked for behind its end.
#[test]
fn what_was_scanned_of_one_line_is_forgotten_with_it() {
    for stream in ["*1\r\n$12\r\nabcdefghijkl\r\n5\nPING\r\n", "*12\r\n-1\r\n", "*1\r\n$4\r\nPING\r\n\nPING\n"] {
        for cut in 0..stream.len() {
            check(stream.as_bytes(), &[cut, cut + 1], &Limits::default());
        }
    }
}

/// Streams made of what breaks parsers: well-formed pieces, nearly well-formed ones, and noise.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..14), 0..5).prop_map(|args| {
            let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                bytes.extend_from_slice(&arg);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes
        }),
        4 => "[a-z\"' \\\\\t]{0,45}\r?\n".prop_map(String::into_bytes),
        2 => "\"(\\\\x[0-9a-g]{2}|\\\\[nrtbax\"]|[a-z ])*\" ?'(\\\\'|[a-z])*'\r\n".prop_map(String::into_bytes),
        2 => "[*$][-+ ]?[0-9]{0,3}\r\n".prop_map(String::into_bytes),
        1 => "[*$][0-9]{1,45}(\r|\r\n)?".prop_map(String::into_bytes),
        1 => (100_usize..20_000).prop_map(|len| [format!("*1\r\n${len}\r\n").into_bytes(), vec![b'v'; len], b"\r\n".to_vec()].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => prop::collection::vec(prop::sample::select(b"*$\r\n01\" \0".to_vec()), 0..12),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cuts_change_nothing(stream in stream(), cuts in prop::collection::vec(any::<usize>(), 0..12), authenticated: bool) {
        check(&stream, &cuts, &small_limits(authenticated));
        check(&stream, &cuts, &Limits { authenticated, ..Limits::default() });
    }

    #[test]
    fn nor_does_cutting_everywhere(stream in stream(), authenticated: bool) {
        let stream = &stream[..stream.len().min(300)];
        check(stream, &(0..stream.len()).collect::<Vec<_>>(), &small_limits(authenticated));
    }
}

/// The fuzz target's short run in every `cargo test`: a fixed seed, streams that are well-formed but for a few
/// changed bytes.
#[test]
fn twenty_thousand_mutated_streams_are_cut_like_the_plain_rules_say() {
    // SplitMix64.
    let mut seed = 0x5745_4952_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    };
    let seeds: [&[u8]; 6] = [
        b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\nhello world!\r\n",
        b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
        b"SET key \"a\\x41\\n\" 'it\\'s'\r\n",
        b"\r\n*0\r\n*-1\r\n",
        b"*11\r\n$1\r\na\r\n$0\r\n\r\n",
        b"$5\r\nhello\r\n*1\r\n$100\r\n",
    ];
    let alphabet = b"*$\r\n\"'\\x-+0123456789 \t\0\xffaA";
    for _ in 0..20_000 {
        let mut stream: Vec<u8> = (0..=random(4)).flat_map(|_| seeds[random(seeds.len())]).copied().collect();
        for _ in 0..random(4) {
            let at = random(stream.len());
            match random(3) {
                0 => stream[at] = alphabet[random(alphabet.len())],
                1 => stream.insert(at, alphabet[random(alphabet.len())]),
                _ => drop(stream.remove(at)),
            }
        }
        let cuts: Vec<usize> = (0..random(6)).map(|_| random(1 << 20)).collect();
        check(&stream, &cuts, &small_limits(random(2) == 0));
    }
}
