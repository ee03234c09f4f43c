//! Rules of users: reading them, saying them again, and checking calls against them.
//!
//! The input: lines. The first is a key, the others are rules, of which some are refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::acl::{Call, User, merge_selectors};
use weir::config::split_arguments;
use weir::server::table::{catalog, commands};
use weir_resp::Batch;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|&byte| byte == b'\n');
    let key = lines.next().unwrap_or_default();
    let Ok(rules) = merge_selectors(lines) else { return };
    let mut user = User::new(b"joe", catalog(), false);
    for rule in &rules {
        let before = user.line();
        if user.apply(rule, catalog(), false).is_err() {
            assert_eq!(user.line(), before, "a rule that is refused changes nothing");
        }
    }

    let said = user.line();
    let words: Vec<&[u8]> = said.split(|&byte| byte == b' ').skip(1).collect();
    let again = read_back(&words);
    assert_eq!(again.line(), said, "what is said leads to the same");
    assert_eq!(again.is_unrestricted(), user.is_unrestricted());
    let quoted = split_arguments(&user.quoted_line()).expect("quotes that end");
    let quoted: Vec<&[u8]> = quoted.iter().skip(1).map(Vec::as_slice).collect();
    assert_eq!(read_back(&quoted).line(), said);

    for command in commands().iter().filter(|command| command.subs.is_empty()).take(40) {
        let mut batch = Batch::new();
        if batch.push_command([command.full_name.as_bytes(), key, key]).is_err() {
            return;
        }
        let call = Call { spec: command.spec, id: command.id, argv: batch.command(0), db: 0, databases: 16 };
        let keys = command.only_key.into_iter();
        let allowed = user.check(call, keys.clone()).is_ok();
        assert_eq!(again.check(call, keys).is_ok(), allowed);
        assert!(allowed || !user.is_unrestricted());
    }
});

fn read_back(words: &[&[u8]]) -> User {
    let mut user = User::new(b"joe", catalog(), false);
    for rule in merge_selectors(words.iter().copied()).expect("selectors that are closed") {
        user.apply(&rule, catalog(), false).expect("rules that are known");
    }
    user
}
