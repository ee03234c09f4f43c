//! Users and passwords under attack: guesses by the thousand, and rules that nobody would write.

use super::weir::Weir;
use super::wire::{Wire, request};
use std::time::Duration;

/// Guesses of one kind in a row.
const GUESSES: usize = 100;
/// How often each kind has its turn: the quickest turn counts, as the one that nothing else disturbed.
const TURNS: usize = 60;

/// How much the server has to do for so many guesses of a password.
fn guess(weir: &Weir, wire: &mut Wire, guesses: impl Iterator<Item = (String, String)>) -> Duration {
    let (mut batch, mut count) = (Vec::new(), 0);
    for (user, password) in guesses {
        batch.extend(request(&["AUTH", &user, &password]));
        count += 1;
    }
    let before = weir.executor_time();
    wire.send(batch);
    for _ in 0..count {
        assert!(wire.reply().starts_with("-WRONGPASS"));
    }
    weir.executor_time() - before
}

#[test]
fn guessing_passwords_tells_nothing_by_its_time_and_costs_no_memory() {
    let weir = Weir::with([]);
    let mut admin = weir.wire();
    let secret = "0123456789".repeat(5);
    assert_eq!(admin.call(&["ACL", "SETUSER", "anna", "on", &format!(">{secret}"), "~*", "+@all"]), "+OK");
    let near = format!("{}x", &secret[..secret.len() - 1]);
    let far = "x".repeat(secret.len());
    // Nearly right, far from it, and of a user who is not there.
    let kinds = [("anna", &near), ("anna", &far), ("otto", &near)];
    let mut quickest = [Duration::MAX; 3];
    let mut thief = weir.wire();
    for _ in 0..TURNS {
        for ((user, password), quickest) in kinds.iter().zip(&mut quickest) {
            let guesses = (0..GUESSES).map(|_| ((*user).to_owned(), (*password).clone()));
            *quickest = (*quickest).min(guess(&weir, &mut thief, guesses));
        }
    }
    let (low, high) = (quickest.iter().min().unwrap(), quickest.iter().max().unwrap());
    assert!(high.as_secs_f64() <= low.as_secs_f64() * 1.5, "{quickest:?}");

    // Each with names of its own, which the log of who was refused keeps, up to its limit.
    let name = |number: usize| (format!("user-{number:08}"), format!("password-{number:08}"));
    guess(&weir, &mut thief, (0..2_000).map(name));
    let before = weir.info("used_memory");
    for turn in 1..10 {
        guess(&weir, &mut thief, (turn * 2_000..(turn + 1) * 2_000).map(name));
    }
    let after = weir.info("used_memory");
    assert!(after < before + 128 * 1024, "{before} bytes became {after}");
    assert_eq!(weir.wire().call(&["AUTH", "anna", &secret]), "+OK");
}

/// What rules are thrown together from.
const PIECES: &[&str] = &[
    "+",
    "-",
    "@",
    "~",
    "%R~",
    "%W~",
    "%RW~",
    "%",
    "&",
    "(",
    ")",
    " ",
    ">",
    "<",
    "#",
    "!",
    "|",
    "=",
    "*",
    "on",
    "off",
    "reset",
    "nopass",
    "resetpass",
    "allkeys",
    "resetkeys",
    "allchannels",
    "resetchannels",
    "clearselectors",
    "get",
    "config",
    "config|get",
    "select|0",
    "all",
    "read",
    "dangerous",
    "db=",
    "alldbs",
    "1",
    "2",
    "0",
    ",",
    "a[b-",
    "\\",
    "é",
    "\0",
    "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
];

/// A row of numbers that look like chance, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn rule(&mut self) -> String {
        (0..=self.below(4)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }
}

#[test]
fn rules_at_random_are_refused_or_can_be_written_down_and_read_again() {
    let weir = Weir::with([]);
    let mut admin = weir.wire();
    let mut dice = Dice(7);
    let mut taken = 0;
    for _ in 0..40 {
        let mut batch = Vec::new();
        for _ in 0..200 {
            let name = format!("user{}", dice.below(20));
            let rules: Vec<String> = (0..=dice.below(2)).map(|_| dice.rule()).collect();
            let mut words = vec!["ACL", "SETUSER", &name];
            words.extend(rules.iter().map(String::as_str));
            batch.extend(request(&words));
        }
        admin.send(batch);
        for _ in 0..200 {
            let reply = admin.reply();
            assert!(reply == "+OK" || reply.starts_with("-ERR "), "{reply}");
            taken += usize::from(reply == "+OK");
        }
    }
    assert!(taken > 500, "{taken}");
    // What is listed makes the same user again.
    let list = |admin: &mut Wire, name: &str| {
        admin.begin("ACL LIST");
        let count: usize = admin.line().unwrap()[1..].parse().unwrap();
        let lines: Vec<String> = (0..count).map(|_| admin.reply()).collect();
        let wanted = format!(" user {name} ");
        lines.iter().find_map(|line| Some(line.split_once(&wanted)?.1.to_owned())).expect("the user is listed")
    };
    for number in 0..20 {
        let original = list(&mut admin, &format!("user{number}"));
        let mut words = vec!["ACL", "SETUSER", "copy", "reset"];
        words.extend(original.split(' '));
        assert_eq!(admin.call(&words), "+OK", "{original}");
        assert_eq!(list(&mut admin, "copy"), original);
    }
}
