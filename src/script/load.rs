//! Loading a library: its text runs once, to register functions.
//!
//! ```text
//!   globals, sealed ──► what functions see while they run:       redis.call, cjson, pairs, ...
//!                  └──► what a library sees while it is loaded:  redis.register_function, redis.log, versions
//! ```
//!
//! A library and its functions have one and the same table of globals, an empty one in front of another; for the time of
//! loading it is put in front of a poorer one. So the functions of a library see all of `redis` when they run although they
//! were made when it was not there, and what a library takes hold of while it is loaded is of no use later: outside of
//! loading, `register_function` refuses.

use super::Compiled;
use super::ScriptFlags;
use super::api;
use super::engine::Link;
use super::functions::{Registered, valid_name};
use super::lua::{self, State, Type};
use super::sandbox;
use super::value;
use std::ffi::c_int;

/// Bytes of names and descriptions that one library may register.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// Longest text of an error that is repeated.
const ERROR_TEXT_MAX: usize = 64 * 1024;

/// A library that is being loaded.
pub(super) struct Load {
    library: Compiled,
    registered: Vec<Registered>,
    text_bytes: usize,
    error: Option<Vec<u8>>,
}

impl Load {
    pub(super) fn new(library: Compiled) -> Load {
        Load { library, registered: Vec::new(), text_bytes: 0, error: None }
    }

    /// The library's text, what it registered, and what it raised.
    pub(super) fn into_parts(self) -> (Compiled, Vec<Registered>, Option<Vec<u8>>) {
        (self.library, self.registered, self.error)
    }
}

/// Makes the globals that a library sees while it is loaded.
pub(super) fn register(l: State, link: Link) {
    l.push_table(0, 2);
    let globals = l.top();
    l.push_table(0, 16);
    let redis = l.top();
    l.push_address(link.address());
    l.push_function(register_function, 1);
    l.set_raw_field(redis, "register_function");
    api::add_log(l, link, redis);
    api::add_versions(l, redis);
    for table in [redis, globals] {
        l.push_table(0, 1);
        l.push_function(sandbox::no_such_global, 0);
        l.set_raw_field(-2, "__index");
        l.set_metatable(table);
    }
    sandbox::push_sealed(l, link, redis);
    for name in ["redis", "server"] {
        l.push_value(redis + 1);
        l.set_raw_field(globals, name);
    }
    l.set_top(globals);
    let kept = l.keep();
    link.with(|shared| shared.load_globals = kept);
}

/// Runs the library that is to be loaded.
pub(super) fn run(l: State, link: Link) -> c_int {
    let Some(library) = link.with(|shared| shared.load.as_ref().map(|load| load.library)) else { return 0 };
    let (handler, poor, rich) = link.with(|shared| (shared.handler, shared.load_globals, shared.globals));
    l.push_kept(handler);
    let handler = l.top();
    show(l, poor);
    l.push_kept(library.0);
    let result = l.pcall(0, 0, handler);
    show(l, rich);
    if let Err(fault) = result {
        let text = match fault {
            lua::Fault::Memory => b"not enough memory",
            lua::Fault::Raised => {
                if l.kind(-1) == Type::Table {
                    l.raw_field(-1, "err");
                }
                l.bytes(-1)
            }
        };
        link.with(|shared| {
            if let Some(load) = &mut shared.load {
                load.error = Some(text.get(..ERROR_TEXT_MAX).unwrap_or(text).to_vec());
            }
        });
    }
    0
}

/// Puts the sealed globals in front of a table.
fn show(l: State, globals: c_int) {
    l.push_value(lua::GLOBALS);
    l.metatable(-1);
    l.push_kept(globals);
    l.set_raw_field(-2, "__index");
    l.pop(2);
}

/// Where the parts of a function are on the stack, once its arguments are read.
const NAME: c_int = 2;
const DESCRIPTION: c_int = 3;
const CALLBACK: c_int = 4;

/// `redis.register_function(name, callback)`, or one table with named arguments.
extern "C-unwind" fn register_function(l: State) -> c_int {
    let link = Link::own(l);
    if link.with(|shared| shared.load.is_none()) {
        fail(l, "redis.register_function can only be called on FUNCTION LOAD command");
    }
    let flags = match l.top() {
        1 => named_arguments(l),
        2 => positional_arguments(l),
        _ => fail(l, "wrong number of arguments to redis.register_function"),
    };
    let name = l.bytes(NAME);
    let Some(name) = valid_name(name) else {
        fail(
            l,
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        )
    };
    let description = is_text(l, DESCRIPTION).then(|| l.bytes(DESCRIPTION));
    let is_taken = |load: &Load| load.registered.iter().any(|known| known.name.eq_ignore_ascii_case(name));
    if link.with(|shared| shared.load.as_ref().is_some_and(is_taken)) {
        fail(l, "Function already exists in the library");
    }
    l.push_value(CALLBACK);
    let compiled = Compiled(l.keep());
    let is_kept = link.with(|shared| {
        let Some(load) = &mut shared.load else { return false };
        load.text_bytes += name.len() + description.map_or(0, <[u8]>::len);
        if load.text_bytes > TEXT_BYTES_MAX {
            return false;
        }
        let (name, description) = (name.to_owned(), description.map(Box::from));
        load.registered.push(Registered { name, description, flags, compiled });
        true
    });
    if !is_kept {
        l.forget(compiled.0);
        fail(l, "not enough memory");
    }
    0
}

/// Puts the parts of a function where they belong.
fn positional_arguments(l: State) -> ScriptFlags {
    if !is_text(l, 1) {
        fail(l, "first argument to redis.register_function must be a string");
    }
    if !l.is_function(2) {
        fail(l, "second argument to redis.register_function must be a function");
    }
    l.push_value(1);
    l.push_nil();
    l.push_value(2);
    l.remove(2);
    ScriptFlags::empty()
}

/// The same, of a table.
fn named_arguments(l: State) -> ScriptFlags {
    if l.kind(1) != Type::Table {
        fail(
            l,
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named \
             arguments).",
        );
    }
    let mut flags = ScriptFlags::empty();
    l.set_top(CALLBACK);
    l.push_nil();
    while l.next(1) {
        let key = match l.kind(-2) {
            Type::String => l.bytes(-2),
            Type::Number => b"a number is no name",
            _ => fail(l, "named argument key given to redis.register_function is not a string"),
        };
        if key.eq_ignore_ascii_case(b"function_name") {
            if !is_text(l, -1) {
                fail(l, "function_name argument given to redis.register_function must be a string");
            }
            l.replace(NAME);
        } else if key.eq_ignore_ascii_case(b"description") {
            if !is_text(l, -1) {
                fail(l, "description argument given to redis.register_function must be a string");
            }
            l.replace(DESCRIPTION);
        } else if key.eq_ignore_ascii_case(b"callback") {
            if !l.is_function(-1) {
                fail(l, "callback argument given to redis.register_function must be a function");
            }
            l.replace(CALLBACK);
        } else if key.eq_ignore_ascii_case(b"flags") {
            if l.kind(-1) != Type::Table {
                fail(l, "flags argument to redis.register_function must be a table representing function flags");
            }
            flags = read_flags(l);
            l.pop(1);
        } else {
            fail(l, "unknown argument given to redis.register_function");
        }
    }
    if l.kind(NAME) == Type::Nil {
        fail(l, "redis.register_function must get a function name argument");
    }
    if l.kind(CALLBACK) == Type::Nil {
        fail(l, "redis.register_function must get a callback argument");
    }
    flags
}

/// The flags in the table on top.
fn read_flags(l: State) -> ScriptFlags {
    let mut flags = ScriptFlags::empty();
    for index in 1.. {
        l.raw_at(-1, index);
        let flag = match l.kind(-1) {
            Type::Nil => None,
            Type::String => Some(ScriptFlags::named(l.bytes(-1))),
            _ => Some(None),
        };
        l.pop(1);
        match flag {
            None => break,
            Some(Some(flag)) => flags |= flag,
            Some(None) => fail(l, "unknown flag given"),
        }
    }
    flags
}

/// A string, or a number, which is as good as one.
fn is_text(l: State, at: c_int) -> bool {
    matches!(l.kind(at), Type::String | Type::Number)
}

/// Raises an error without a place.
fn fail(l: State, text: &str) -> ! {
    value::push_error(l, text.as_bytes(), false);
    l.raise()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::reply::Resp;
    use crate::script::{Answer, Ask, Engine, Kind, Run};
    use weir_resp::Batch;

    struct Bench {
        engine: Engine,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { engine: Engine::new(Kind::Functions, 64 << 20, 1) }
        }

        /// What a library registers, or why not.
        fn load(&mut self, text: &str) -> Result<Vec<Registered>, String> {
            let lossy = |error: Vec<u8>| String::from_utf8_lossy(&error).into_owned();
            let library = self.engine.compile(format!("\n{text}").as_bytes(), c"@user_function").map_err(lossy)?;
            let mut ask = self.engine.load(library);
            let mut slices = 0;
            while ask == Ask::Slice {
                slices += 1;
                let answer = if slices > 100 { Answer::Die("FUNCTION LOAD timeout") } else { Answer::Go };
                ask = self.engine.resume(answer);
            }
            assert!(matches!(ask, Ask::Done(_)), "a library asks for nothing, but {ask:?}");
            self.engine.loaded().map_err(lossy)
        }

        /// The reply of a function that calls no command.
        fn call(&mut self, function: &Registered) -> String {
            let mut batch = Batch::new();
            batch.push_command(["FCALL", "f", "1", "key", "argument"].map(str::as_bytes)).expect("it fits");
            let argv = batch.command(0);
            let name = &function.name;
            let ask =
                self.engine.start(Run { function: function.compiled, name, argv, keys_at: 3, keys: 1, resp: Resp::V2 });
            assert!(matches!(ask, Ask::Done(_)), "{ask:?}");
            String::from_utf8_lossy(self.engine.reply().bytes()).trim_end().to_owned()
        }

        fn error(&mut self, text: &str) -> String {
            self.load(text).expect_err(text)
        }
    }

    #[test]
    fn functions_are_registered_in_both_forms() {
        let mut bench = Bench::new();
        let functions = bench
            .load(
                "local function double(x) return x .. x end
                 redis.register_function('first', function(keys, args) return double(keys[1] .. args[1]) end)
                 server.register_function{function_name='second', callback=function() return redis.sha1hex('') end,
                     flags={'no-writes', 'ALLOW-OOM'}, description='what it does'}",
            )
            .expect("it is right");
        let [first, second] = functions.as_slice() else { panic!("two functions") };
        assert_eq!((first.name.as_str(), first.flags, &first.description), ("first", ScriptFlags::empty(), &None));
        assert_eq!(second.name, "second");
        assert_eq!(second.flags, ScriptFlags::NO_WRITES | ScriptFlags::ALLOW_OOM);
        assert_eq!(second.description.as_deref(), Some(&b"what it does"[..]));
        assert_eq!(bench.call(first), "$22\r\nkeyargumentkeyargument");
        assert_eq!(bench.call(second), "$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn a_library_is_told_what_is_wrong_with_it() {
        let nonexistent = "ERR user_function:2: Script attempted to access nonexistent global variable";
        for (text, error) in [
            ("redis.register_function()", "ERR wrong number of arguments to redis.register_function"),
            (
                "redis.register_function('f', function() end, 1)",
                "ERR wrong number of arguments to redis.register_function",
            ),
            (
                "redis.register_function('f')",
                "ERR calling redis.register_function with a single argument is only applicable to Lua table \
                 (representing named arguments).",
            ),
            (
                "redis.register_function(nil, function() end)",
                "ERR first argument to redis.register_function must be a string",
            ),
            ("redis.register_function('f', 'x')", "ERR second argument to redis.register_function must be a function"),
            (
                "redis.register_function('a b', function() end)",
                "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                 character long",
            ),
            (
                "redis.register_function('f', function() end) redis.register_function('F', function() end)",
                "ERR Function already exists in the library",
            ),
            ("redis.register_function{}", "ERR redis.register_function must get a function name argument"),
            ("redis.register_function{function_name='f'}", "ERR redis.register_function must get a callback argument"),
            (
                "redis.register_function{function_name={}}",
                "ERR function_name argument given to redis.register_function must be a string",
            ),
            (
                "redis.register_function{description={}}",
                "ERR description argument given to redis.register_function must be a string",
            ),
            (
                "redis.register_function{callback=1}",
                "ERR callback argument given to redis.register_function must be a function",
            ),
            (
                "redis.register_function{flags=1}",
                "ERR flags argument to redis.register_function must be a table representing function flags",
            ),
            ("redis.register_function{flags={'x'}}", "ERR unknown flag given"),
            ("redis.register_function{flags={1}}", "ERR unknown flag given"),
            ("redis.register_function{other=1}", "ERR unknown argument given to redis.register_function"),
            ("redis.register_function{1}", "ERR unknown argument given to redis.register_function"),
            (
                "redis.register_function{[true]=1}",
                "ERR named argument key given to redis.register_function is not a string",
            ),
            ("redis.call('ping')", &format!("{nonexistent} 'call'")),
            ("redis.setresp(3)", &format!("{nonexistent} 'setresp'")),
            ("math.random()", &format!("{nonexistent} 'math'")),
            ("redis.redis.call('ping')", &format!("{nonexistent} 'redis'")),
            ("pcall(redis.register_function)", &format!("{nonexistent} 'pcall'")),
            ("x = 1", "ERR user_function:2: Attempt to modify a readonly table"),
            ("redis.x = 1", "ERR user_function:2: Attempt to modify a readonly table"),
            ("local x = nil + 1", "ERR user_function:2: attempt to perform arithmetic on a nil value"),
            ("while true do end", "ERR FUNCTION LOAD timeout"),
            ("local s = 'x' while true do s = s .. s end", "not enough memory"),
            ("bad text", "user_function:2: '=' expected near 'text'"),
        ] {
            assert_eq!(Bench::new().error(text), error, "{text}");
        }
    }

    #[test]
    fn what_a_library_took_hold_of_is_of_no_use_later() {
        let mut bench = Bench::new();
        let functions = bench
            .load(
                "local before = redis
                 redis.register_function('register', function() before.register_function('g', function() end) end)
                 redis.register_function('change', function() before.math = math end)
                 redis.register_function('same', function() return redis == before and 1 or 2 end)
                 redis.register_function('sees', function() return {type(math), type(redis.call), type(cjson.encode)} end)
                 redis.register_function('misses', function() return redis.register_function end)",
            )
            .expect("it is right");
        for (function, reply) in functions.iter().zip([
            "-ERR redis.register_function can only be called on FUNCTION LOAD command",
            "-ERR user_function:4: Attempt to modify a readonly table",
            ":2",
            "*3\r\n$5\r\ntable\r\n$8\r\nfunction\r\n$8\r\nfunction",
            "$-1",
        ]) {
            let got = bench.call(function);
            assert!(got.starts_with(reply), "{}: {got}", function.name);
        }
        // An error does not leave the poorer globals behind.
        bench.error("redis.register_function()");
        assert_eq!(bench.call(&functions[3]), "*3\r\n$5\r\ntable\r\n$8\r\nfunction\r\n$8\r\nfunction");
    }

    #[test]
    fn descriptions_do_not_outgrow_the_engine() {
        let error = Bench::new().error(
            "local d = 'x' for i = 1, 20 do d = d .. d end
             for i = 1, 1000 do redis.register_function{function_name='f' .. i, callback=function() end, description=d} end",
        );
        assert_eq!(error, "ERR not enough memory");
    }
}
