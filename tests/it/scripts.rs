//! Scripts that mean harm, or take long: they are refused, ended or bounded, and the server serves others.

use crate::weir::{Start, Weir, eventually};
use crate::wire::{Wire, request};

/// A server that calls a script slow after a short while.
fn impatient() -> Weir {
    Weir::with(["--busy-reply-threshold", "50", "--enable-debug-command", "yes"])
}

/// Starts a script that takes long, and waits until others are told so.
fn begin(weir: &Weir, script: &str) -> Wire {
    let mut caller = weir.wire();
    caller.send(request(&["EVAL", script, "0"]));
    eventually("others are told", || weir.wire().run("PING").starts_with("-BUSY"));
    caller
}

/// A script waits until it is told to go on: other scripts count, and are over when nobody has looked yet.
pub(crate) const UNTIL_TOLD: &str = "repeat until string.find(redis.call('client', 'list'), 'name=enough')";

/// What [`UNTIL_TOLD`] needs.
pub(crate) fn let_scripts_list_clients(weir: &Weir) {
    weir.wire().is("DEBUG SET-DISABLE-DENY-SCRIPTS 1", "+OK");
}

/// Tells a script to go on, with a command that may run meanwhile, while this connection is there.
pub(crate) fn tell(wire: &mut Wire) {
    assert!(wire.run("HELLO 2 SETNAME enough").starts_with('*'));
}

/// Whether everything is as ever.
fn assert_well(weir: &Weir) {
    let mut wire = weir.wire();
    wire.is("SET well yes", "+OK");
    assert_eq!(wire.call(&["EVAL", "return redis.call('get', KEYS[1])", "1", "well"]), "$3 yes");
}

#[test]
fn a_script_that_never_ends_can_be_killed_whatever_it_does_against_that() {
    let weir = impatient();
    for script in [
        "while true do end",
        "while true do redis.call('get', 'k') end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(pcall, error) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "local f = function() while true do end end while true do coroutine.wrap(function() pcall(f) end)() end",
        "local s = string.rep('a', 1000) while true do s:find(string.rep('a-', 50) .. 'b') end",
        "string.rep('a', 5000000):find(string.rep('a', 2000000) .. 'b')",
        "local t = {} while true do t = {t, string.rep('x', 100)} if #t > 5 then t = {} end end",
        "while true do redis.pcall('nosuch') redis.pcall({}) end",
        "while true do cjson.decode(cjson.encode({1, 2, 3})) end",
        "setmetatable({}, {__index = function(t, k) while true do end end}).x = nil local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "string.gsub('x', 'x', function() while true do end end)",
        "load(function() while true do end end)",
    ] {
        let mut caller = begin(&weir, script);
        let mut other = weir.wire();
        assert!(other.run("GET k").starts_with("-BUSY Redis is busy running a script."), "{script}");
        assert!(other.call(&["EVAL", "return 1", "0"]).starts_with("-BUSY"), "{script}");
        assert!(other.run("FUNCTION KILL").starts_with("-BUSY"), "{script}");
        assert_eq!(other.run("SCRIPT KILL"), "+OK", "{script}");
        let reply = caller.reply();
        assert!(reply.starts_with("-ERR Script killed by user with SCRIPT KILL."), "{script}: {reply}");
        assert!(other.run("SCRIPT KILL").starts_with("-NOTBUSY"), "{script}");
        assert_eq!(caller.run("PING"), "+PONG", "{script}");
        assert_well(&weir);
    }
}

#[test]
fn a_script_that_has_written_cannot_be_killed_but_the_server_ended() {
    let mut weir = impatient();
    let _caller = begin(&weir, "redis.call('set', 'k', 1) while true do end");
    let mut other = weir.wire();
    assert!(other.run("SCRIPT KILL").starts_with("-UNKILLABLE"));
    assert!(other.run("SHUTDOWN").starts_with("-BUSY"));
    other.begin("SHUTDOWN NOSAVE");
    assert!(weir.wait().success());
}

#[test]
fn a_signal_waits_for_the_end_of_a_script_and_can_be_called_off() {
    let mut weir = Start::new().options(["--busy-reply-threshold", "50", "--enable-debug-command", "yes"]).start();
    let_scripts_list_clients(&weir);
    let mut caller = weir.wire();
    caller.is("MULTI", "+OK");
    caller.run("SET first 1");
    caller.call(&["EVAL", &format!("redis.call('set', 'half', 1) {UNTIL_TOLD} redis.call('set', 'whole', 1)"), "0"]);
    caller.run("SET last 1");
    caller.begin("EXEC");
    let mut other = weir.wire();
    eventually("others are told", || other.run("PING").starts_with("-BUSY"));
    other.is("SHUTDOWN ABORT", "-ERR No shutdown in progress.");
    weir.signal("INT");
    weir.wait_for_log("Received SIGINT scheduling shutdown...");
    other.is("SHUTDOWN ABORT", "+OK");
    other.is("SHUTDOWN ABORT", "-ERR No shutdown in progress.");
    // Since it was called off, this is no second one.
    weir.signal("INT");
    eventually("it was heard", || weir.log().matches("Received SIGINT scheduling shutdown...").count() == 2);
    assert!(other.run("PING").starts_with("-BUSY"));
    assert!(!weir.dir().join("dump.rdb").exists(), "half of it is saved");
    tell(&mut other);
    assert_eq!(caller.reply(), "*3 +OK $-1 +OK");
    assert!(weir.wait().success());
    let weir = Start::new().folder(weir.take_folder()).start();
    weir.wire().is("EXISTS first half whole last", ":4");
}

#[test]
fn what_waits_behind_a_slow_script_is_done_when_it_is_over() {
    let weir = impatient();
    let slow = "local t = redis.call('time') local n = 0 while n < 30000000 do n = n + 1 end return 'slow'";
    let (mut caller, mut waiting, mut seen) = (weir.wire(), weir.wire(), weir.wire());
    waiting.begin("BLPOP list 0");
    eventually("somebody waits", || weir.info("blocked_clients") == 1);
    let script = format!("redis.call('rpush', 'list', 'a') {slow}");
    // Commands before and behind it, in one go.
    caller.send([request(&["SET", "k", "1"]), request(&["EVAL", &script, "0"]), request(&["INCR", "k"])].concat());
    assert_eq!(caller.reply(), "+OK");
    eventually("others are told", || seen.run("PING").starts_with("-BUSY") || seen.run("EXISTS k") == ":1");
    assert_eq!(caller.reply(), "$4 slow");
    assert_eq!(caller.reply(), ":2");
    assert_eq!(waiting.reply(), "*2 $4 list $1 a");
    assert_well(&weir);
}

#[test]
fn a_script_that_waits_for_a_moment_comes_to_its_end() {
    let weir = impatient();
    let script = "local t = redis.call('time') while redis.call('time')[2] == t[2] do end return 'later'";
    assert_eq!(weir.wire().call(&["EVAL", script, "0"]), "$5 later");
    assert_well(&weir);
}

#[test]
fn who_waits_for_a_list_is_served_when_a_slow_script_that_fills_it_is_over() {
    let weir = impatient();
    let mut waiter = weir.wire();
    waiter.begin("BLPOP list 0");
    eventually("it waits", || weir.info("blocked_clients") == 1);
    let_scripts_list_clients(&weir);
    let script = format!("redis.call('rpush', 'list', 'last') {UNTIL_TOLD} redis.call('lpush', 'list', 'first')");
    let mut caller = begin(&weir, &script);
    let mut other = weir.wire();
    tell(&mut other);
    assert_eq!(waiter.reply(), "*2 $4 list $5 first");
    assert_eq!(caller.reply(), "$-1");
    assert_well(&weir);
}

#[test]
fn a_transaction_goes_on_behind_a_slow_script() {
    let weir = impatient();
    let mut caller = weir.wire();
    caller.run("MULTI");
    caller.run("SET k 1");
    caller.call(&["EVAL", "while true do end", "0"]);
    caller.run("INCR k");
    caller.call(&["EVAL", "while true do pcall(error) end", "0"]);
    caller.run("INCR k");
    caller.begin("EXEC");
    eventually("both have been killed", || {
        weir.wire().run("SCRIPT KILL");
        weir.wire().run("GET k") == "$1 3"
    });
    let reply = caller.reply();
    assert!(reply.starts_with("*5 +OK -ERR Script killed"), "{reply}");
    assert!(reply.ends_with(":3"), "{reply}");
    caller.is("GET k", "$1 3");
    assert!(caller.run("EXEC").starts_with("-ERR EXEC without MULTI"));
    assert_well(&weir);
}

#[test]
fn a_script_goes_on_when_its_client_has_gone() {
    let weir = impatient();
    let_scripts_list_clients(&weir);
    let caller = begin(&weir, &format!("{UNTIL_TOLD} return redis.call('set', 'done', 1)"));
    let address = caller.address();
    drop(caller);
    let mut other = weir.wire();
    tell(&mut other);
    eventually("it is done", || weir.wire().run("GET done") == "$1 1");
    drop(other);
    eventually("its client has gone", || weir.client_field(&address, "id").is_none());
    // Killed, in the same way.
    let caller = begin(&weir, "while true do end");
    let id = caller.address();
    let mut other = weir.wire();
    drop(caller);
    other.is("SCRIPT KILL", "+OK");
    eventually("its client has gone", || weir.client_field(&id, "id").is_none());
    assert_well(&weir);
}

#[test]
fn memory_that_a_script_takes_is_bounded_and_comes_back() {
    let weir = Weir::with(["--script-memory-limit", "64mb"]);
    let mut wire = weir.wire();
    for (script, error) in [
        ("local t = {} while true do t[#t + 1] = {} end", "not enough memory"),
        ("local s = 'x' while true do s = s .. s end", "not enough memory"),
        ("return #string.rep('x', 1073741824)", "not enough memory"),
        ("return #string.rep('x', 1e300)", "not enough memory"),
        (
            "local t = {string.rep('x', 1e6)} for i = 2, 200 do t[i] = t[1] end return #table.concat(t)",
            "not enough memory",
        ),
        ("local t = {} for i = 1, 1e7 do t[i] = i end return cjson.encode(t)", "not enough memory"),
        ("local t = {} for i = 1, 1e7 do t[i] = i end return cmsgpack.pack(t)", "not enough memory"),
        ("table.insert({}, 2147483646, 1)", "$-1"),
        ("return loadstring('return ' .. string.rep('{', 1e6))", ""),
        ("return string.format('%99999d', 1)", "invalid format"),
        ("return ('x'):rep(1e6):gsub('x', ('y'):rep(1000))", "not enough memory"),
        ("local function f() return f() + 1 end return f()", "stack overflow"),
        ("local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x", "loop in gettable"),
        ("local f f = function() return pcall(f) end return f()", ""),
        ("local f f = function() return string.gsub('a', 'a', f) end return f()", ""),
        ("local co co = function() return coroutine.wrap(co)() end return co()", ""),
        ("return string.find(string.rep('a', 999), string.rep('a?', 100000))", "pattern too complex"),
        ("return string.find('a', string.rep('(', 100))", "too many captures"),
    ] {
        for _ in 0..2 {
            let reply = wire.call(&["EVAL", script, "0"]);
            assert!(reply.contains(error), "{script}: {reply}");
        }
        assert_well(&weir);
    }
    assert!(weir.info("used_memory_vm_eval") < 32 << 20, "what a script has left behind is collected");
    assert!(weir.rss_peak_bytes() < 600 << 20, "{}", weir.rss_peak_bytes());
}

/// Ways out of the box that were found in the field, each as what it tried.
#[test]
fn ways_out_of_the_sandbox_are_closed() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    let mut refused = |script: &str, error: &str| {
        let reply = wire.call(&["EVAL", script, "0"]);
        assert!(reply.contains(error), "{script}: {reply}");
    };
    // CVE-2022-24735: code put into what other users' scripts use.
    refused("getmetatable(_G).__index = function() return 1 end", "Attempt to modify a readonly table");
    refused("setmetatable(_G, {__index = function() return 1 end})", "Attempt to modify a readonly table");
    refused("redis.call = function() end", "Attempt to modify a readonly table");
    refused("rawset(cjson, 'encode', print)", "nonexistent global variable 'print'");
    refused("rawset(cjson, 'encode', error)", "Attempt to modify a readonly table");
    refused("table.insert(redis, error)", "Attempt to modify a readonly table");
    refused("for k, v in pairs(_G) do _G[k] = nil end", "Attempt to modify a readonly table");
    refused("pairs(_G)(_G).x = 1", "");
    // CVE-2022-24736: compiled code.
    refused("return tostring(loadstring(string.dump(function() return 1 end)))", "nil");
    refused("return tostring(load(function() return string.dump(function() return 1 end) end))", "nil");
    refused("return tostring(loadstring('\\27LuaQ\\0\\1\\4\\8\\4\\8\\0'))", "nil");
    // CVE-2024-46981: finalizers that run while the engine ends.
    refused("newproxy(true)", "nonexistent global variable 'newproxy'");
    refused("return tostring(getmetatable(coroutine.create(function() end)))", "nil");
    refused(
        "setmetatable({}, {__gc = function() redis.call('set', 'x', 1) end}) collectgarbage() return redis.call('exists', 'x')",
        ":0",
    );
    // CVE-2025-46817: a range of unpack that is counted in too few bits.
    refused("return unpack({}, 0, 2147483647)", "too many results to unpack");
    refused("return unpack({}, -2147483648, 2147483647)", "too many results to unpack");
    refused("return unpack({1}, 1, 1 / 0)", "too many results to unpack");
    // CVE-2025-46818: metatables of basic types.
    refused("getmetatable('').__index = function() return 1 end", "Attempt to modify a readonly table");
    refused("getmetatable('').__index.len = function() return 1 end", "Attempt to modify a readonly table");
    refused("rawset(getmetatable(''), '__index', 1)", "Attempt to modify a readonly table");
    refused("setmetatable(getmetatable(''), {})", "Attempt to modify a readonly table");
    refused("getmetatable('').__add = function() return 1 end", "Attempt to modify a readonly table");
    refused(
        "return tostring(getmetatable(1)) .. tostring(getmetatable(nil)) .. tostring(getmetatable(print == nil))",
        "nonexistent",
    );
    refused(
        "return tostring(getmetatable(1)) .. tostring(getmetatable(true)) .. tostring(getmetatable(error))",
        "nilnilnil",
    );
    // CVE-2025-46819: long brackets that are counted in too few bits.
    refused(
        "return loadstring('return [' .. string.rep('=', 1000000) .. '[x]' .. string.rep('=', 1000000) .. ']')()",
        "x",
    );
    refused("return tostring(loadstring('return [' .. string.rep('=', 5000000)))", "nil");
    // CVE-2025-49844: the name of a chunk that is collected while the chunk is compiled.
    for _ in 0..20 {
        refused(
            "local n = 0 for i = 1, 200 do collectgarbage('step', 1) \
             local name = '@' .. string.rep('n', 1000) .. i \
             local f = loadstring('local x = \"' .. string.rep('y', 5000) .. i .. '\" return function() error(x) end', name) \
             local ok, e = pcall(f()) n = n + #e end return n",
            ":",
        );
    }
    // Environments and the debugger, by which all of it could be opened again.
    for name in ["getfenv", "setfenv", "debug", "package", "require", "module", "io", "dofile", "loadfile", "newproxy"]
    {
        refused(&format!("return {name}"), "nonexistent global variable");
    }
    refused("return os.execute == nil and os.exit == nil and os.getenv == nil", ":1");
    assert_well(&weir);
}

#[test]
fn a_script_leaves_nothing_behind_for_others() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    for (first, second, reply) in [
        ("math.randomseed(1)", "math.randomseed(1) local a = math.random() return a == math.random()", "$-1"),
        ("collectgarbage('stop')", "return 1", ":1"),
        ("redis.setresp(3)", "return tostring(redis.call('get', 'none'))", "$5 false"),
        ("KEYS[1] = 'x' ARGV.x = 1", "return {#KEYS, tostring(ARGV.x)}", "*2 :0 $3 nil"),
        ("string.gmatch('a', 'a')", "return #string.rep('x', 3)", ":3"),
        ("return redis.call('select', 5)", "redis.call('set', 'here', 1) return 1", ":1"),
    ] {
        wire.call(&["EVAL", first, "0"]);
        let got = wire.call(&["EVAL", second, "0"]);
        assert!(got.starts_with(reply), "{second} after {first}: {got}");
    }
    wire.is("EXISTS here", ":1");
    wire.is("HGETALL none", "*0");
}

#[test]
fn five_hundred_scripts_that_only_came_by_eval_are_kept() {
    let weir = Weir::with([]);
    let mut wire = weir.wire();
    wire.call(&["SCRIPT", "LOAD", "return 'kept'"]);
    for number in 0..2_000 {
        assert_eq!(wire.call(&["EVAL", &format!("return {number}"), "0"]), format!(":{number}"));
    }
    assert_eq!(weir.info("number_of_cached_scripts"), 501);
    assert_eq!(weir.info("evicted_scripts"), 1_500);
    assert!(weir.info("used_memory_vm_eval") < 4 << 20);
    wire.is("SCRIPT FLUSH", "+OK");
    assert_eq!(weir.info("number_of_cached_scripts"), 0);
}
