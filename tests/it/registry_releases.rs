//! Drafts, releases, gray releases, labels and configuration files of the registry, through the protocol, with kills.

use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, number};
use std::time::Duration;

trait Releases {
    /// Calls a command that must be refused with words that begin like this.
    fn refused(&mut self, words: &str, why: &str);
    /// Makes a release: its number, its revision and its digest.
    fn publish(&mut self, words: &str) -> (u64, u64, String);
}

impl Releases for Wire {
    #[track_caller]
    fn refused(&mut self, words: &str, why: &str) {
        let reply = self.run(words);
        assert!(reply.starts_with(&format!("-{why}")), "{words}: {reply}");
    }

    #[track_caller]
    fn publish(&mut self, words: &str) -> (u64, u64, String) {
        let reply = self.run(words);
        let digest = word_behind(&reply, "$16").to_owned();
        (number(&reply, "release"), number(&reply, "revision"), digest)
    }
}

/// The word behind another.
#[track_caller]
fn word_behind<'r>(reply: &'r str, word: &str) -> &'r str {
    reply.split(' ').skip_while(|it| *it != word).nth(1).unwrap_or_else(|| panic!("no {word} in {reply}"))
}

/// Values of a namespace, as `path=value` one behind the other.
fn content(wire: &mut Wire, store: &str, namespace: &str) -> String {
    let reply = wire.run(&format!("CFG.RANGE {store} {namespace}/ PREFIX"));
    pairs(&reply)
}

fn pairs(reply: &str) -> String {
    let words: Vec<&str> = reply.split(' ').collect();
    let mut found = Vec::new();
    for at in 0..words.len() {
        if words[at] == "path" && words.get(at + 4) == Some(&"value") {
            found.push(format!("{}={}", words[at + 2], words[at + 6]));
        }
    }
    found.join(" ")
}

#[test]
fn what_is_drafted_is_seen_when_it_is_published_and_not_before() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    wire.is("CFG.PUT s /app/old 1", ":1");
    wire.is("CFG.DRAFT SET s /app db/host 10.0.0.1", ":2");
    wire.is("CFG.DRAFT SET s /app db/port 5432", ":3");
    wire.is("CFG.DRAFT DEL s /app old", ":4");
    wire.is("CFG.DRAFT SET s /app gone 1", ":5");
    wire.is("CFG.DRAFT DISCARD s /app gone", ":1");
    wire.is("CFG.GET s /app/db/host", "$-1");
    assert_eq!(content(&mut wire, "s", "/app"), "/app/old=1");
    wire.is(
        "CFG.DRAFT SHOW s /app",
        "*3 *10 $4 path $7 db/host $4 type $3 put $5 value $8 10.0.0.1 $3 now $-1 $3 mod :0 \
         *10 $4 path $7 db/port $4 type $3 put $5 value $4 5432 $3 now $-1 $3 mod :0 \
         *10 $4 path $3 old $4 type $3 del $5 value $-1 $3 now $1 1 $3 mod :1",
    );
    let (number, revision, digest) = wire.publish("CFG.PUBLISH s /app COMMENT first OPERATOR ann");
    assert_eq!((number, revision), (1, 7));
    assert_eq!(content(&mut wire, "s", "/app"), "/app/db/host=10.0.0.1 /app/db/port=5432");
    wire.is("CFG.DRAFT SHOW s /app", "*0");
    wire.refused("CFG.PUBLISH s /app", "CFGRELEASE");
    let releases = wire.run("CFG.RELEASES s /app");
    let wanted = format!("$6 digest $16 {digest} $7 comment $5 first $8 operator $3 ann $4 kind $7 publish");
    assert!(
        releases.starts_with("*1 *14 $7 release :1 $8 revision :7 $4 time :") && releases.ends_with(&wanted),
        "{releases}"
    );
    // Who publishes is who has logged in, if nobody says otherwise.
    wire.is("CFG.DRAFT SET s /app a 1", ":8");
    wire.publish("CFG.PUBLISH s /app");
    assert!(wire.run("CFG.RELEASES s /app COUNT 1").contains("$8 operator $7 default $4 kind"));
}

#[test]
fn a_rollback_equals_the_release_and_is_a_release() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    let mut known = Vec::new();
    for n in 1..=5u32 {
        wire.run(&format!("CFG.DRAFT SET s /app n {n}"));
        wire.run(&format!("CFG.DRAFT SET s /app only/{n} {n}"));
        if n > 1 {
            wire.run(&format!("CFG.DRAFT DEL s /app only/{}", n - 1));
        }
        // Written past the drafts: it is in the release all the same.
        wire.run(&format!("CFG.PUT s /app/direct{} {n} FLAGS {n}", n % 2));
        wire.run(&format!("CFG.PUT s /other {n}"));
        let (number, _, digest) = wire.publish("CFG.PUBLISH s /app");
        assert_eq!(number, u64::from(n));
        known.push((digest, wire.run("CFG.EXPORT s /app FORMAT json"), content(&mut wire, "s", "/app")));
    }
    wire.run("CFG.LEASE GRANT s 600000 ID 7");
    assert!(wire.run("CFG.PUT s /app/alive here LEASE 7").starts_with(':'));
    // Whatever is forgotten of the history.
    let last = number(&wire.run("CFG.INFO s"), "revision");
    wire.is(&format!("CFG.COMPACT s {last}"), "+OK");
    for (at, (digest, json, paths)) in known.iter().enumerate().rev().chain(known.iter().enumerate()) {
        let (number, _, again) = wire.publish(&format!("CFG.ROLLBACK s /app TO {} COMMENT back", at + 1));
        assert!(number > 5);
        assert_eq!(&again, digest);
        wire.is("CFG.GET s /app/alive", "$4 here");
        wire.is("CFG.GET s /other", "$1 5");
        let paths =
            format!("/app/alive=here {paths}").split(' ').map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        let now = content(&mut wire, "s", "/app");
        assert_eq!(now.split(' ').map(str::to_owned).collect::<std::collections::BTreeSet<_>>(), paths);
        let exported = wire.run("CFG.EXPORT s /app FORMAT json").replace("  \"alive\": \"here\",\n", "");
        assert_eq!(exported.split_once(' ').map(|(_, text)| text), json.split_once(' ').map(|(_, text)| text));
    }
    // The one before the present one, there and back.
    let (_, _, first) = wire.publish("CFG.ROLLBACK s /app TO -1");
    assert_eq!(first, known[3].0);
    let (_, _, second) = wire.publish("CFG.ROLLBACK s /app TO -1");
    assert_eq!(second, known[4].0);
    assert!(wire.run("CFG.RELEASES s /app COUNT 1").ends_with(" rollback 15"));
    for none in ["99", "0", "9999999999"] {
        wire.is(&format!("CFG.ROLLBACK s /app TO {none}"), "-CFGRELEASE no such release");
    }
    wire.is("CFG.ROLLBACK s /nothing TO -1", "-CFGRELEASE no such release");
    wire.refused("CFG.ROLLBACK s /app TO -2", "ERR");
    // Old ones go.
    wire.is("CFG.SET s RELEASES 3", "+OK");
    wire.run("CFG.DRAFT SET s /app n last");
    wire.publish("CFG.PUBLISH s /app");
    assert!(wire.run("CFG.RELEASES s /app").starts_with("*3 "));
    wire.is("CFG.ROLLBACK s /app TO 1", "-CFGRELEASE no such release");
}

#[test]
fn a_rollback_changes_in_one_revision_what_is_not_as_it_was() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    for words in ["CFG.PUT s /app/a 1", "CFG.PUT s /app/b 1", "CFG.DRAFT SET s /app c 1"] {
        wire.run(words);
    }
    let (number, ..) = wire.publish("CFG.PUBLISH s /app");
    for words in ["CFG.PUT s /app/a 2", "CFG.DEL s /app/b", "CFG.PUT s /app/d 1"] {
        wire.run(words);
    }
    let mut observer = weir.wire();
    assert!(observer.run("HELLO 3").starts_with('%'));
    assert!(!observer.run("CFG.WATCH s /app PREFIX ID w").starts_with('-'));
    let (_, revision, _) = wire.publish(&format!("CFG.ROLLBACK s /app TO {number}"));
    let frame = observer.reply();
    assert!(frame.contains(&format!("cfg.event $1 w :{revision} *3 ")), "{frame}");
    for event in ["$3 put $6 /app/a $1 1", "$3 put $6 /app/b $1 1", "$3 del $6 /app/d"] {
        assert!(frame.contains(event), "{frame}");
    }
    assert!(!frame.contains("/app/c"));
    // It is so already: nobody hears anything.
    wire.publish(&format!("CFG.ROLLBACK s /app TO {number}"));
    assert!(observer.is_silent_for(Duration::from_millis(200)));
}

/// A connection with labels, given as pairs.
fn labelled(weir: &Weir, labels: &str) -> Wire {
    let mut wire = weir.wire();
    assert!(wire.run("HELLO 3").starts_with('%'));
    wire.is(&format!("CFG.CLIENT LABELS {labels}"), "+OK");
    wire
}

#[test]
fn a_gray_release_is_for_those_whom_its_rule_means() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    wire.run("CFG.DRAFT SET s /app a 1");
    wire.run("CFG.DRAFT SET s /app b 1");
    wire.publish("CFG.PUBLISH s /app");
    let (mut eu, mut us) = (labelled(&weir, "2 zone eu host web1"), labelled(&weir, "1 zone us"));
    for observer in [&mut eu, &mut us] {
        assert!(!observer.run("CFG.WATCH s /app PREFIX ID w").starts_with('-'));
    }
    wire.refused("CFG.PUBLISH s /app GRAY canary", "CFGRELEASE no such gray release");
    let reply = wire.run("CFG.GRAY SET s /app canary PRIORITY 1 RULE 2 zone IN eu,ap host RE web[0-9]");
    assert!(reply.starts_with(':'), "{reply}");
    for words in ["CFG.DRAFT SET s /app a 2", "CFG.DRAFT DEL s /app b", "CFG.DRAFT SET s /app c 2"] {
        wire.run(words);
    }
    let (number, revision, _) = wire.publish("CFG.PUBLISH s /app GRAY canary");
    let frame = eu.reply();
    assert!(frame.contains(&format!("cfg.event $1 w :{revision} *3 ")), "{frame}");
    for event in ["$3 put $6 /app/a $1 2", "$3 del $6 /app/b", "$3 put $6 /app/c $1 2"] {
        assert!(frame.contains(event), "{frame}");
    }
    assert_eq!(content(&mut eu, "s", "/app"), "/app/a=2 /app/c=2");
    eu.is("CFG.GET s /app/b", "_");
    for other in [&mut us, &mut wire] {
        assert_eq!(content(other, "s", "/app"), "/app/a=1 /app/b=1");
    }
    assert!(us.is_silent_for(Duration::from_millis(100)));
    // What is gray hides what is written below it, and what is not gray is seen.
    wire.run("CFG.PUT s /app/a 7");
    wire.run("CFG.PUT s /app/z 7");
    assert!(eu.reply().contains("$3 put $6 /app/z $1 7"));
    assert!(us.reply().contains("$3 put $6 /app/a $1 7") && us.reply().contains("/app/z"));
    // Who sees what.
    wire.is(
        "CFG.GRAY LIST s /app",
        "*1 *12 $4 name $6 canary $8 priority :1 $3 mod :4 $7 release :2 $5 paths :3 $4 rule *2 *3 $4 zone $2 IN $5 eu,ap \
         *3 $4 host $2 RE $8 web[0-9]",
    );
    wire.run("CLIENT SETNAME plain");
    let who = wire.run("CFG.CLIENT WHO s /app");
    assert!(who.starts_with("*2 "), "{who}");
    assert!(who.contains(&format!("$4 gray $6 canary $7 release :{number}")), "{who}");
    assert!(who.contains("$6 labels *2 $4 zone $2 us $4 gray $-1 $7 release :1"), "{who}");
    eu.refused("CFG.CLIENT LABELS 0", "CFGLABELS");
    eu.is("CFG.CLIENT LABELS 2 host web1 zone eu", "+OK");
    // The rule is for others now: ordinary events for all for whom that changes something.
    let revision = wire.run("CFG.GRAY SET s /app canary PRIORITY 1 RULE 1 zone EQ us");
    let (left, came) = (eu.reply(), us.reply());
    assert!(left.contains(&format!("w {revision} *3 ")) && left.contains("$3 put $6 /app/a $1 7"), "{left}");
    assert!(left.contains("$3 put $6 /app/b $1 1") && left.contains("$3 del $6 /app/c"), "{left}");
    assert!(came.contains(&format!("w {revision} *3 ")) && came.contains("$3 put $6 /app/a $1 2"), "{came}");
    // It becomes what everybody sees: who saw it before hears nothing.
    let (_, revision, _) = wire.publish("CFG.GRAY PROMOTE s /app canary COMMENT good");
    let frame = eu.reply();
    assert!(frame.contains(&format!("w :{revision} *3 ")), "{frame}");
    assert!(us.is_silent_for(Duration::from_millis(100)));
    for viewer in [&mut eu, &mut us, &mut wire] {
        assert_eq!(content(viewer, "s", "/app"), "/app/a=2 /app/c=2 /app/z=7");
    }
    wire.is("CFG.GRAY LIST s /app", "*0");
    wire.refused("CFG.GRAY PROMOTE s /app canary", "CFGRELEASE no such gray release");
    assert!(wire.run("CFG.RELEASES s /app COUNT 1").ends_with(" promote canary"));
    // One that is abandoned is as if it had never been.
    wire.run("CFG.GRAY SET s /app other PRIORITY 1 RULE 1 zone PCT 100");
    wire.run("CFG.DRAFT SET s /app a 9");
    wire.publish("CFG.PUBLISH s /app GRAY other");
    assert!(eu.reply().contains("$1 9") && us.reply().contains("$1 9"));
    wire.run("CFG.GRAY ABANDON s /app other");
    assert!(eu.reply().contains("$3 put $6 /app/a $1 2") && us.reply().contains("$3 put $6 /app/a $1 2"));
    wire.is("CFG.GRAY LIST s /app", "*0");
    eu.is("RESET", "+RESET");
    assert!(!wire.run("CFG.CLIENT WHO s /app").contains("web1"));
}

#[test]
fn the_highest_priority_and_then_the_first_name_wins_and_polls_see_it_too() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    wire.run("CFG.PUT s /app/a plain");
    for (name, priority) in [("b", 1), ("a", 1), ("high", 2)] {
        wire.run(&format!("CFG.GRAY SET s /app {name} PRIORITY {priority} RULE 1 zone EQ eu"));
        wire.run(&format!("CFG.DRAFT SET s /app a {name}"));
        wire.publish(&format!("CFG.PUBLISH s /app GRAY {name}"));
    }
    let mut eu = weir.wire();
    eu.is("CFG.CLIENT LABELS 1 zone eu", "+OK");
    let info = wire.run("CFG.INFO s");
    let (revision, epoch) = (number(&info, "revision"), number(&info, "epoch"));
    let next = revision + 1;
    eu.is("CFG.GET s /app/a", "$4 high");
    wire.run("CFG.GRAY ABANDON s /app high");
    eu.is("CFG.GET s /app/a", "$1 a");
    let polled = eu.run(&format!("CFG.POLL STORES 1 s /app PREFIX {next} {epoch}"));
    assert!(polled.contains("/app/a $1 a"), "{polled}");
    wire.run("CFG.GRAY ABANDON s /app a");
    eu.is("CFG.GET s /app/a", "$1 b");
    eu.is(&format!("CFG.GET s /app/a AT {revision}"), "$4 high");
    wire.run("CFG.GRAY ABANDON s /app b");
    eu.is("CFG.GET s /app/a", "$5 plain");
}

#[test]
fn files_come_in_and_go_out() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    let yaml = "db:\n  host: \"10.0.0.1\"\n  ports:\n    - 5432\n    - 5433\nname: web\n";
    let import = |wire: &mut Wire, prefix: &str, format: &str, text: &str, more: &[&str]| {
        wire.call(&[&["CFG.IMPORT", "s", prefix, "FORMAT", format, text], more].concat())
    };
    assert_eq!(import(&mut wire, "/app", "yaml", yaml, &[]), "*6 $8 imported :4 $7 deleted :0 $8 revision :1");
    assert_eq!(
        content(&mut wire, "s", "/app"),
        "/app/db/host=10.0.0.1 /app/db/ports/0=5432 /app/db/ports/1=5433 /app/name=web"
    );
    // Nothing differs: no revision.
    assert_eq!(import(&mut wire, "/app", "yaml", yaml, &[]), "*6 $8 imported :4 $7 deleted :0 $8 revision :1");
    assert_eq!(wire.run("CFG.EXPORT s /app FORMAT yaml"), format!("${} {yaml}", yaml.len()));
    for format in ["properties", "yaml", "json", "toml"] {
        let exported = wire.call(&["CFG.EXPORT", "s", "/app", "FORMAT", format]);
        let text = exported.split_once(' ').expect("a text").1.to_owned();
        let imported = import(&mut wire, &format!("/copy/{format}/"), format, &text, &[]);
        assert!(imported.starts_with("*6 $8 imported :4 "), "{imported}");
        assert_eq!(wire.call(&["CFG.EXPORT", "s", &format!("/copy/{format}"), "FORMAT", format]), exported);
    }
    let replaced = import(&mut wire, "/app", "json", r#"{"name":"web","new":1}"#, &["REPLACE"]);
    assert_eq!(replaced, "*6 $8 imported :2 $7 deleted :3 $8 revision :6");
    assert_eq!(content(&mut wire, "s", "/app"), "/app/name=web /app/new=1");
    wire.is("CFG.EXPORT s /nothing FORMAT json", "$3 {}\n");
    wire.is("CFG.EXPORT none / FORMAT properties", "$0 ");
    // What cannot be read changes nothing, and says where.
    let bomb = "a: &a [x,x]\nb: &b [*a,*a]\n";
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) + 1));
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (format, text, why) in [
        ("yaml", bomb, "-CFGFORMAT line 1: anchors are not read"),
        ("yaml", "a: 1\na: 2\n", "-CFGFORMAT line 2: key '/a' occurs twice"),
        ("json", "{", "-CFGFORMAT EOF while parsing an object at line 1 column 1"),
        ("json", &format!("{{\"a\":{deep}}}"), "-CFGLIMIT key '"),
        ("json", r#"{"a/b":1}"#, "-CFGPATH key '/a/b': a part of a path has no '/'"),
        ("json", r#"{"":1}"#, "-CFGPATH key '/'"),
        ("json", &long, "-CFGLIMIT value is longer than the store allows"),
        ("toml", "a = ", "-CFGFORMAT line 1: "),
        ("properties", "a..b=1", "-CFGPATH line 1: a key with an empty part"),
        ("xml", "<a/>", "-CFGFORMAT the formats are"),
    ] {
        let reply = import(&mut wire, "/app", format, text, &["REPLACE"]);
        assert!(reply.starts_with(why), "{reply}");
    }
    for (prefix, why) in [("app", "-CFGPATH"), ("/app//b", "-CFGPATH"), ("", "")] {
        let reply = import(&mut wire, prefix, "json", "{}", &[]);
        assert!(reply.starts_with(why), "{reply}");
    }
    wire.is("CFG.PUT s /bin/x \u{1}", ":7");
    wire.send(b"*4\r\n$7\r\nCFG.PUT\r\n$1\r\ns\r\n$6\r\n/bin/y\r\n$1\r\n\xff\r\n");
    assert_eq!(wire.reply(), ":8");
    wire.is("CFG.EXPORT s /bin FORMAT json", "-CFGFORMAT the value of path '/y' is not UTF-8");
    assert_eq!(content(&mut wire, "s", "/app"), "/app/name=web /app/new=1");
}

#[test]
fn drafts_and_releases_survive_a_kill_a_snapshot_and_a_dump() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    for n in 1..=3 {
        wire.run(&format!("CFG.DRAFT SET s /app a {n}"));
        wire.run(&format!("CFG.DRAFT SET s /app long{n} {}", "x".repeat(5_000)));
        wire.publish(&format!("CFG.PUBLISH s /app COMMENT release{n}"));
    }
    wire.run("CFG.GRAY SET s /app canary PRIORITY 3 RULE 1 zone EQ eu");
    wire.run("CFG.DRAFT SET s /app a gray");
    wire.run("CFG.DRAFT DEL s /app long1");
    wire.publish("CFG.PUBLISH s /app GRAY canary");
    wire.run("CFG.DRAFT SET s /app a drafted");
    wire.run("CFG.DRAFT DEL s /app long2");
    let look = |weir: &Weir, store: &str| {
        let (mut wire, mut eu) = (weir.wire(), weir.wire());
        eu.is("CFG.CLIENT LABELS 1 zone eu", "+OK");
        [
            wire.run(&format!("CFG.DRAFT SHOW {store} /app")),
            wire.run(&format!("CFG.RELEASES {store} /app")),
            wire.run(&format!("CFG.GRAY LIST {store} /app")),
            content(&mut wire, store, "/app"),
            content(&mut eu, store, "/app"),
        ]
    };
    let known = look(&weir, "s");
    assert!(
        known[0].starts_with("*2 ") && known[1].starts_with("*4 ") && known[4].starts_with("/app/a=gray "),
        "{known:?}"
    );
    wire.is("COPY s copy", ":1");
    assert_eq!(look(&weir, "copy"), known);
    let weir = Start::appending("always").folder(weir.killed()).start();
    assert_eq!(look(&weir, "s"), known);
    let mut wire = weir.wire();
    assert!(wire.run("BGREWRITEAOF").starts_with('+'));
    eventually("the file is rewritten", || wire.run("INFO persistence").contains("aof_rewrite_in_progress:0"));
    let weir = Start::appending("always").folder(weir.killed()).start();
    assert_eq!(look(&weir, "s"), known);
    let mut wire = weir.wire();
    wire.is("DEBUG RELOAD", "+OK");
    assert_eq!(look(&weir, "s"), known);
    // And a release of before is what it was.
    wire.publish("CFG.ROLLBACK s /app TO 1");
    assert!(content(&mut wire, "s", "/app").starts_with("/app/a=1 /app/long1=xx"));
    let weir = Start::appending("always").folder(weir.killed()).start();
    assert!(content(&mut weir.wire(), "s", "/app").starts_with("/app/a=1 /app/long1=xx"));
}

#[test]
fn a_transaction_is_one_revision_with_drafts_and_releases_in_it() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    wire.is("MULTI", "+OK");
    for words in ["CFG.DRAFT SET s /app a 1", "CFG.PUBLISH s /app", "CFG.DRAFT SET s /app a 2", "CFG.PUBLISH s /app"] {
        wire.is(words, "+QUEUED");
    }
    let reply = wire.run("EXEC");
    assert!(reply.starts_with("*4 :1 *6 $7 release :1 $8 revision :1 "), "{reply}");
    assert!(reply.contains("$7 release :2 $8 revision :1 "), "{reply}");
    wire.is("CFG.GET s /app/a", "$1 2");
    let (_, revision, _) = wire.publish("CFG.ROLLBACK s /app TO 1");
    assert_eq!(revision, 2);
    wire.is("CFG.GET s /app/a", "$1 1");
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let weir = Weir::appending("always");
    let mut wire = weir.wire();
    for (words, why) in [
        ("CFG.DRAFT SET s app a 1", "CFGPATH"),
        ("CFG.DRAFT SET s /app /a 1", "CFGPATH"),
        ("CFG.DRAFT SET s /app a/ 1", "CFGPATH"),
        ("CFG.DRAFT SET s /app/ a 1", "CFGPATH"),
        ("CFG.DRAFT SHOW s app", "CFGPATH"),
        ("CFG.PUBLISH s /app", "CFGRELEASE nothing is drafted"),
        ("CFG.PUBLISH s app", "CFGPATH"),
        ("CFG.PUBLISH s /app GRAY", "ERR syntax"),
        ("CFG.RELEASES s /app COUNT x", "ERR"),
        ("CFG.ROLLBACK s /app 1 1", "ERR syntax"),
        ("CFG.GRAY SET s /app g PRIORITY x RULE 1 a EQ b", "ERR"),
        ("CFG.GRAY SET s /app g PRIORITY 1 RULE 2 a EQ b", "ERR syntax"),
        ("CFG.GRAY SET s /app g PRIORITY 1 RULE 1 a IS b", "ERR syntax"),
        ("CFG.GRAY SET s /app g PRIORITY 1 RULE 0 a EQ b", "ERR syntax"),
        ("CFG.GRAY SET s /app g PRIORITY 1 RULE 65 a EQ b", "CFGLIMIT"),
        ("CFG.GRAY SET s /app g PRIORITY 1 RULE 1 a RE (", "CFGRELEASE"),
        ("CFG.GRAY SET s /app g PRIORITY 1 RULE 1 a RE (x{1000}){1000}", "CFGRELEASE"),
        ("CFG.GRAY SET s /app g PRIORITY 1 RULE 1 a PCT 101", "CFGRELEASE"),
        ("CFG.GRAY ABANDON s /app g", "CFGRELEASE"),
        ("CFG.CLIENT LABELS 2 a b", "ERR syntax"),
        ("CFG.CLIENT LABELS -1", "ERR"),
        ("CFG.CLIENT LABELS 9223372036854775807", "CFGLIMIT"),
    ] {
        wire.refused(words, why);
    }
    wire.is("EXISTS s", ":0");
    let comment = "x".repeat(4097);
    wire.is("CFG.DRAFT SET s /app a 1", ":1");
    wire.refused(&format!("CFG.PUBLISH s /app COMMENT {comment}"), "CFGLIMIT");
    wire.is("CFG.GRAY SET s /app g PRIORITY 1 RULE 1 a EQ b", ":2");
    wire.refused(&format!("CFG.GRAY PROMOTE s /app g COMMENT {comment}"), "CFGLIMIT");
    wire.is("DEL s", ":1");
    wire.is("SET string 1", "+OK");
    for words in [
        "CFG.DRAFT SET string /app a 1",
        "CFG.DRAFT SHOW string /app",
        "CFG.EXPORT string / FORMAT json",
        "CFG.PUBLISH string /app",
    ] {
        wire.refused(words, "WRONGTYPE");
    }
    assert!(wire.run("CFG.GRAY HELP").starts_with("*13 +CFG.GRAY <subcommand>"));
}
