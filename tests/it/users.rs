//! Users of files and of the configuration, over restarts, and what becomes of their connections.

use crate::weir::{Start, Weir, run};
use crate::wire::Wire;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A folder with a file of users in it.
fn folder_with(users: &str) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("users.acl"), users).expect("a file of users");
    folder
}

fn with_file(users: &str) -> Weir {
    Start::new().folder(folder_with(users)).options(["--dir", "{dir}", "--aclfile", "users.acl"]).start()
}

#[track_caller]
fn who(wire: &mut Wire) -> String {
    wire.run("ACL WHOAMI")
}

#[test]
fn users_are_saved_and_there_after_a_restart() {
    let weir = with_file("user joe on >pw ~a* +get\n");
    let mut wire = weir.wire();
    assert_eq!(wire.call(&["ACL", "SETUSER", "jim", "on", ">pw", "(%R~b +@all)", "&c"]), "+OK");
    wire.is("ACL SETUSER joe +set", "+OK");
    wire.is("ACL SAVE", "+OK");
    let before = wire.run("ACL LIST");
    let folder = weir.stop();
    let text = fs::read_to_string(folder.path().join("users.acl")).expect("a text file");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.starts_with("user default on nopass ~* &* +@all\nuser jim on #"), "{text}");
    let files: Vec<_> =
        fs::read_dir(folder.path()).expect("the folder").flatten().map(|file| file.file_name()).collect();
    assert!(!files.iter().any(|name| name.to_string_lossy().contains("tmp")), "{files:?}");

    let weir = Start::new().folder(folder).options(["--dir", "{dir}", "--aclfile", "users.acl"]).start();
    let mut wire = weir.wire();
    assert_eq!(wire.run("ACL LIST"), before);
    wire.is("AUTH jim pw", "+OK");
}

#[test]
fn loading_is_all_or_nothing_and_says_which_lines_are_wrong() {
    let weir = with_file("user joe on nopass +@all\n");
    let path = weir.dir().join("users.acl");
    let mut wire = weir.wire();
    let before = wire.run("ACL LIST");
    fs::write(&path, "user new on nopass\nuser joe on +nosuch\nfoo\n").expect("a writable file");
    let error = wire.run("ACL LOAD");
    assert!(
        error.starts_with("-ERR ") && error.contains("users.acl:2: Error in applying operation '+nosuch'"),
        "{error}"
    );
    assert!(error.contains("users.acl:3 should start with user keyword"), "{error}");
    assert_eq!(wire.run("ACL LIST"), before);
    fs::remove_file(&path).expect("a file");
    let error = wire.run("ACL LOAD");
    assert_eq!(error, "-ERR Error loading ACLs, opening file 'users.acl': No such file or directory");
    assert_eq!(wire.run("ACL LIST"), before);
    fs::write(&path, "user new on nopass +ping\n").expect("a writable file");
    wire.is("ACL LOAD", "+OK");
    wire.is("ACL USERS", "*2 $7 default $3 new");
}

#[test]
fn loading_ends_who_is_gone_and_who_hears_what_is_forbidden_and_nobody_else() {
    let weir = with_file("user stays on nopass ~* +@all\nuser goes on nopass +@all\nuser hears on nopass +@all &a\n");
    let login = |user: &str| {
        let mut wire = weir.wire();
        assert_eq!(wire.call(&["AUTH", user, "x"]), "+OK");
        wire
    };
    let (mut stays, mut goes, mut hears, mut deaf) = (login("stays"), login("goes"), login("hears"), login("hears"));
    hears.is("SUBSCRIBE a", "*3 $9 subscribe $1 a :1");
    let text = "user stays on nopass ~b +@all\nuser hears on nopass +@all &b\n";
    fs::write(weir.dir().join("users.acl"), text).expect("a writable file");
    stays.is("ACL LOAD", "+OK");
    stays.is("GET a", "-NOPERM No permissions to access a key");
    assert_eq!(who(&mut stays), "$5 stays");
    assert!(goes.is_closed());
    assert!(hears.is_closed());
    assert_eq!(who(&mut deaf), "$5 hears");
    // Who ends himself still gets the reply.
    fs::write(weir.dir().join("users.acl"), "").expect("a writable file");
    stays.is("ACL LOAD", "+OK");
    assert!(stays.is_closed());
    weir.wire().is("ACL USERS", "*1 $7 default");
}

#[test]
fn a_file_that_cannot_be_written_stays_as_it_is() {
    let weir = with_file("user joe on\n");
    let path = weir.dir().join("users.acl");
    fs::remove_file(&path).expect("a file");
    fs::create_dir(&path).expect("a folder in its place");
    let error = weir.wire().run("ACL SAVE");
    assert!(error.starts_with("-ERR There was an error trying to save the ACLs"), "{error}");
    assert_eq!(
        fs::read_dir(weir.dir()).expect("the folder").flatten().filter(|file| file.path() != path).count(),
        1,
        "the log"
    );
}

#[test]
fn saving_keeps_the_mode_of_the_file() {
    let weir = with_file("user joe on\n");
    let path = weir.dir().join("users.acl");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
    weir.wire().is("ACL SAVE", "+OK");
    assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_server_does_not_start_with_users_that_cannot_be() {
    let with = |users: &str| {
        Start::new().folder(folder_with(users)).options(["--dir", "{dir}", "--aclfile", "users.acl"]).fail()
    };
    let (status, log) = with("user joe on\nuser joe off\n");
    assert!(!status.success() && log.contains("Duplicate user 'joe' found on line 2"), "{log}");
    let (status, log) = Start::new().options(["--aclfile", "/nonexistent/users.acl"]).fail();
    assert!(!status.success() && log.contains("opening file '/nonexistent/users.acl': No such file"), "{log}");
    let (status, log) = Start::new().options(["--user", "joe", "+nosuch"]).fail();
    assert!(!status.success() && log.contains("Unknown command or category name in ACL"), "{log}");
    let (status, log) = Start::new()
        .folder(folder_with(""))
        .options(["--dir", "{dir}", "--aclfile", "users.acl", "--user", "joe", "on"])
        .fail();
    assert!(!status.success() && log.contains("declare users directly in your redis.conf, but not both"), "{log}");
    let output = run(["--check-config", "--user", "joe", "+nosuch"], "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn users_of_the_configuration_are_rewritten_and_there_after_a_restart() {
    let file = "port {port}\n# people\nuser joe on nopass ~a +get\nuser gone on\nrequirepass pw\nuser default on >pw ~* &* +@all\n";
    let weir = Start::new().file(file).start();
    let mut wire = weir.wire();
    wire.is("AUTH pw", "+OK");
    assert_eq!(
        wire.call(&["ACL", "SETUSER", "joe", "(+set ~b\"c)"]),
        "-ERR Error in ACL SETUSER modifier '(+set ~b\"c)': Syntax error"
    );
    assert_eq!(wire.call(&["ACL", "SETUSER", "joe", "~q\"uote", "(+set \"~b'c\")"]), "+OK");
    wire.is("ACL SETUSER new off +@read", "+OK");
    wire.is("ACL DELUSER gone", ":1");
    wire.is("CONFIG REWRITE", "+OK");
    let before = wire.run("ACL LIST");
    let folder = weir.stop();
    let text = fs::read_to_string(folder.path().join("weir.conf")).expect("a text file");
    assert!(
        text.contains("# people\nuser joe on nopass") && text.contains("\nuser new off ") && !text.contains("gone"),
        "{text}"
    );

    let rest = text.lines().filter(|line| !line.starts_with("port ")).collect::<Vec<_>>().join("\n");
    let weir = Start::new().folder(folder).file(&format!("port {{port}}\n{rest}")).start();
    let mut wire = weir.wire();
    wire.is("PING", "-NOAUTH Authentication required.");
    wire.is("AUTH pw", "+OK");
    assert_eq!(wire.run("ACL LIST"), before);
}

#[test]
fn users_of_a_file_are_not_put_into_the_configuration() {
    let folder = folder_with("user joe on nopass\n");
    let weir = Start::new().folder(folder).file("port {port}\ndir {dir}\naclfile users.acl\n").start();
    weir.wire().is("CONFIG REWRITE", "+OK");
    let text = fs::read_to_string(weir.dir().join("weir.conf")).expect("a text file");
    assert!(!text.contains("user "), "{text}");
}

#[test]
fn refusals_are_counted_by_reason() {
    let weir = Weir::with(["--user", "joe", "on", "nopass", "~a", "+get", "+publish", "db=0", "+select"]);
    let mut wire = weir.wire();
    assert!(wire.run("AUTH joe2 x").starts_with("-WRONGPASS"));
    wire.is("AUTH joe x", "+OK");
    for call in [&["SET", "a", "1"][..], &["GET", "b"], &["GET", "b"], &["PUBLISH", "c", "x"], &["SELECT", "1"]] {
        assert!(wire.call(call).starts_with("-NOPERM "), "{call:?}");
    }
    for (reason, count) in [("auth", 1), ("cmd", 1), ("key", 2), ("channel", 1), ("db", 1), ("tls_cert", 0)] {
        assert_eq!(weir.info(&format!("acl_access_denied_{reason}")), count, "{reason}");
    }
}

#[test]
fn wrong_logins_leave_nothing_behind_but_a_short_log() {
    let weir = Weir::with(["--requirepass", "right"]);
    let mut wire = weir.wire();
    let attempts = |wire: &mut Wire, from: usize, count: usize| {
        let mut calls = Vec::new();
        for number in from..from + count {
            let name = format!("{number}{}", "n".repeat(2_000));
            calls.extend_from_slice(
                format!("*3\r\n$4\r\nAUTH\r\n${}\r\n{name}\r\n$5\r\nwrong\r\n", name.len()).as_bytes(),
            );
        }
        wire.send(&calls);
        (0..count).for_each(|_| assert!(wire.reply().starts_with("-WRONGPASS")));
    };
    // Fills the log and whatever else is kept once.
    (0..20).for_each(|round| attempts(&mut wire, round * 100, 100));
    let before = weir.rss_bytes();
    (20..120).for_each(|round| attempts(&mut wire, round * 100, 100));
    let grown = weir.rss_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more after 10,000 wrong logins");
    wire.is("AUTH right", "+OK");
    assert!(wire.run("ACL LOG 1000").starts_with("*128 "));
}
