//! Functions of libraries, where it takes real time to see something.

use crate::weir::{Weir, eventually};
use std::time::{Duration, Instant};

/// Runs for ever, and writes nothing.
const ENDLESS: &str = "#!lua name=lib\nredis.register_function('f', function() while true do end end)";

#[test]
fn a_library_that_never_ends_loading_is_given_up_after_half_a_second() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let began = Instant::now();
    let (reply, own) = weir.time(|| wire.call(&["FUNCTION", "LOAD", "#!lua name=lib\nwhile true do end"]));
    assert_eq!(reply.trim_end(), "-ERR Error registering functions: ERR FUNCTION LOAD timeout");
    assert!(began.elapsed() >= Duration::from_millis(500) && own < Duration::from_secs(10), "{own:?}");
    // It has left nothing behind.
    assert_eq!(weir.info("number_of_libraries"), 0);
    wire.call(&["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"]);
    assert_eq!(wire.run("FCALL f 0").trim_end(), ":1");
}

#[test]
fn a_function_that_never_ends_is_shown_and_killed() {
    let weir = Weir::with(["--busy-reply-threshold", "50"]);
    let (mut caller, mut other) = (weir.wire(), weir.wire());
    caller.call(&["FUNCTION", "LOAD", ENDLESS]);
    caller.send("FCALL f 1 key\r\n");
    eventually("others are told", || weir.wire().run("GET key").starts_with("-BUSY"));
    let stats = other.run("FUNCTION STATS");
    for shown in ["running_script", "FCALL", "key", "duration_ms", "libraries_count"] {
        assert!(stats.contains(shown), "{stats}");
    }
    assert!(other.run("SCRIPT KILL").starts_with("-BUSY"));
    assert!(other.run("FUNCTION FLUSH").starts_with("-BUSY"));
    assert_eq!(other.run("FUNCTION KILL").trim_end(), "+OK");
    assert!(caller.reply().contains("Script killed by user with FUNCTION KILL"));
    assert!(other.run("FUNCTION KILL").starts_with("-NOTBUSY"));
    assert!(other.run("FUNCTION STATS").contains("functions_count"));
}

#[test]
fn memory_of_functions_is_told_and_given_back() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let before = weir.info("used_memory_functions");
    let code = format!(
        "#!lua name=lib\n-- {}\nlocal held = {{}}\nredis.register_function('f', function() for i = 1, 100000 do held[i] = {{i}} end end)",
        "text ".repeat(10_000)
    );
    wire.call(&["FUNCTION", "LOAD", &code]);
    wire.run("FCALL f 0");
    assert_eq!((weir.info("number_of_libraries"), weir.info("number_of_functions")), (1, 1));
    assert!(weir.info("used_memory_functions") > before + 50_000);
    assert!(weir.info("used_memory_vm_functions") > 4_000_000);
    for mode in ["SYNC", "ASYNC"] {
        wire.call(&["FUNCTION", "LOAD", "REPLACE", &code]);
        wire.call(&["FUNCTION", "FLUSH", mode]);
        assert_eq!(weir.info("used_memory_functions"), before);
        assert_eq!(weir.info("used_memory_vm_functions"), 0);
    }
}
