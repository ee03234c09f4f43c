//! An engine: one Lua with everything in it, and a stack on which its scripts run.
//!
//! ```text
//!   server                                engine's stack
//!   ──────                                ──────────────
//!   start(script, keys, arguments)
//!   resume(Start)      ───────────────►   KEYS, ARGV, the script ...
//!                                         redis.call('GET', k)
//!   Ask::Call          ◄───────────────
//!   runs it, writes its reply
//!   resume(Go)         ───────────────►   the reply becomes a value ...
//!   Ask::Slice         ◄───────────────   so many instructions later
//!   resume(Go)         ───────────────►   ...
//!   Ask::Done          ◄───────────────   the reply of the script
//! ```
//!
//! A script has a C stack of its own, so it can be left at any point, whatever Lua is in the middle of, and gone back to
//! later: the room knows no server, and the server goes on serving others while a script runs for ever. Switching costs a few
//! nanoseconds. The stack is bounded by a page that must not be touched; Lua itself stops at 200 calls between Lua and C.
//!
//! What must stay true: nobody touches the state of Lua from outside while a script is on its way, except for what is
//! asked for in [`Engine::batch`] and [`Engine::answer`].

use super::api;
use super::functions::Registered;
use super::lib;
use super::load::{self, Load};
use super::lua::{self, State};
use super::random;
use super::sandbox;
use super::value;
use crate::command::reply::{BlobAt, Output, Resp};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use mlua::{Lua, LuaOptions, StdLib};
use std::ffi::CStr;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use weir_resp::{Argv, Batch};

/// Bytes of the C stack that a script runs on. Only what was used of it takes memory.
const STACK_BYTES: usize = 16 << 20;

/// Instructions of Lua after which the server is asked whether to go on.
pub(super) const SLICE_INSTRUCTIONS: c_int = 1000;

/// Longest text of an error from a script that the reply repeats.
const ERROR_TEXT_MAX: usize = 64 * 1024;

/// What an engine is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// EVAL: scripts, which find their arguments in the globals KEYS and ARGV.
    Scripts,
    /// FCALL: functions of libraries, which get keys and arguments as two tables.
    Functions,
}

/// What a script wants, or that it has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// The command in [`Engine::batch`] is to be executed, for a client that speaks the script's version of the protocol, and
    /// its reply be put into [`Engine::answer`]. Refusals are errors there too.
    Call(Resp),
    /// Whether the client's user might run the command in [`Engine::batch`]: `:1` or `:0` into [`Engine::answer`], or an error.
    MayCall,
    /// Nothing: it has run for a while.
    Slice,
    /// It is over. Its reply is in [`Engine::reply`].
    Done(Outcome),
}

/// How a script ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With a value.
    Value,
    /// With an error, which is its reply. `counted`: it is the one of a command, which is counted already.
    Error {
        /// See above.
        counted: bool,
    },
}

/// What the server says to a script that asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Go on; what was asked for has been done.
    Go,
    /// End, with this error. It cannot be caught.
    Die(&'static str),
}

/// A compiled script or function that the engine keeps, by its number. See [`Engine::forget`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Compiled(pub(super) c_int);

/// How a run is to be.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// What runs.
    pub function: Compiled,
    /// What errors call it: its hash, or its name.
    pub name: &'a str,
    /// The command, in which keys and arguments stand.
    pub argv: Argv<'a>,
    /// Where the keys begin.
    pub keys_at: usize,
    /// How many they are; behind them are the other arguments.
    pub keys: usize,
    /// The version of the protocol in which the reply is written.
    pub resp: Resp,
}

/// What an engine and the functions that its scripts call have in common.
pub(super) struct Shared {
    yielder: *const Yielder<Answer, Ask>,
    /// The command that is asked for.
    pub(super) batch: Batch,
    /// The reply to it.
    pub(super) answer: Output,
    /// The script's reply.
    pub(super) reply: Output,
    pub(super) outcome: Outcome,
    /// The run that is on.
    pub(super) run: Option<Run<'static>>,
    /// What errors call what runs.
    pub(super) name: String,
    /// The protocol that the script speaks, since it called `redis.setresp`.
    pub(super) resp: Resp,
    /// The protocol that its caller speaks.
    pub(super) client_resp: Resp,
    /// It has been told to end, with this error.
    pub(super) dead: Option<&'static str>,
    /// State of `math.random`.
    pub(super) random: u64,
    /// Tables that scripts see and must not change: what tells each from others.
    pub(super) sealed: Vec<usize>,
    /// The globals, which the engine changes and scripts do not.
    pub(super) globals: c_int,
    pub(super) handler: c_int,
    runner: c_int,
    /// The library that is being loaded.
    pub(super) load: Option<Load>,
    /// The globals that a library sees meanwhile.
    pub(super) load_globals: c_int,
}

/// Leads to what an engine and the functions that its scripts call have in common.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Link(NonNull<Shared>);

impl Link {
    /// Works on it. What `work` does must not leave the stack that it is on, and must not raise an error in the middle of a
    /// change.
    #[inline]
    pub(super) fn with<R>(self, work: impl FnOnce(&mut Shared) -> R) -> R {
        // SAFETY: made from a box that lives as long as the engine; no two pieces of work overlap, as none suspends or calls
        // back.
        work(unsafe { &mut *self.0.as_ptr() })
    }

    /// The one that is the first value of the running function's own.
    #[inline]
    pub(super) fn own(l: State) -> Link {
        let address = l.address(lua::upvalue(1)).cast();
        // SAFETY: every function of this room that asks for it was made with the address of a box as that value.
        Link(unsafe { NonNull::new_unchecked(address) })
    }

    /// Of whoever runs on this state, which the engine keeps in its registry.
    fn registered(l: State) -> Link {
        l.push_address((&raw const LINK_KEY).cast());
        l.raw_get(lua::REGISTRY);
        let address = l.address(-1).cast();
        l.pop(1);
        Link(NonNull::new(address).expect("the registry of an engine holds its link"))
    }

    pub(super) fn address(self) -> *const std::ffi::c_void {
        self.0.as_ptr().cast_const().cast()
    }

    /// The reply to the last command: its bytes, and long values between them. It stays until the next question.
    pub(super) fn answer<'a>(self) -> (&'a [u8], &'a [BlobAt]) {
        // SAFETY: as in `with`; nobody changes the answer but the server, when it is asked for the next one.
        let answer = unsafe { &(*self.0.as_ptr()).answer };
        (answer.bytes(), answer.blobs())
    }

    /// Asks the server for something and comes back when it has answered. Raises an error if the answer is to die.
    #[inline]
    pub(super) fn ask(self, l: State, ask: Ask) {
        let yielder = self.with(|shared| shared.yielder);
        // SAFETY: set when the stack was begun, on which we are; the yielder lives there.
        match unsafe { (*yielder).suspend(ask) } {
            Answer::Go => {}
            Answer::Die(error) => {
                self.with(|shared| shared.dead = Some(error));
                die(l, error);
            }
        }
    }

    /// To be called now and then by native functions that may take long.
    pub(super) fn pause(self, l: State) {
        self.ask(l, Ask::Slice);
    }
}

static LINK_KEY: u8 = 0;

/// Ends a script, in a way that it cannot catch for long: from here on the hook is called at every instruction.
#[cold]
fn die(l: State, error: &str) -> ! {
    l.set_hook(hook, 1);
    value::push_error(l, error.as_bytes(), false);
    l.raise()
}

/// Called every [`SLICE_INSTRUCTIONS`] instructions.
extern "C-unwind" fn hook(l: State, _: *mut mlua::ffi::lua_Debug) {
    let link = Link::registered(l);
    if let Some(error) = link.with(|shared| shared.dead) {
        die(l, error);
    }
    link.pause(l);
}

/// One Lua and what belongs to it.
pub struct Engine {
    shared: NonNull<Shared>,
    state: State,
    lua: ManuallyDrop<Lua>,
    coroutine: ManuallyDrop<Coroutine<Answer, Ask, ()>>,
    running: bool,
    memory_max: usize,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("running", &self.running).finish_non_exhaustive()
    }
}

// SAFETY: all that the pointers lead to belongs to the engine alone and moves with it; neither Lua nor the stack that its
// scripts run on depend on the thread that drives them.
unsafe impl Send for Engine {}

impl Engine {
    /// A new one, whose values may take so many bytes. `seed` is for `math.random`.
    pub fn new(kind: Kind, memory_max: usize, seed: u64) -> Engine {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))
            .expect("there is memory for a fresh engine, and no library is unsafe");
        let shared = NonNull::from(Box::leak(Box::new(Shared {
            yielder: std::ptr::null(),
            batch: Batch::new(),
            answer: Output::default(),
            reply: Output::default(),
            outcome: Outcome::Value,
            run: None,
            name: String::new(),
            resp: Resp::V2,
            client_resp: Resp::V2,
            dead: None,
            random: seed,
            sealed: Vec::new(),
            globals: 0,
            handler: 0,
            runner: 0,
            load: None,
            load_globals: 0,
        })));
        lib::register(&lua).expect("there is memory for the libraries of a fresh engine");
        let mut raw = std::ptr::null_mut();
        // SAFETY: nothing is done to the state but look where it is.
        unsafe { lua.exec_raw::<()>((), |at| raw = at) }.expect("looking where a state is does not fail");
        // SAFETY: it is that of `lua`, which the engine holds.
        let state = unsafe { State::from_raw(raw) };
        let link = Link(shared);
        let setup = Setup { link, kind };
        if state.pcall_native(set_up, (&raw const setup).cast()).is_err() {
            panic!("a fresh engine cannot be set up: {}", String::from_utf8_lossy(state.bytes(-1)));
        }
        state.set_hook(hook, SLICE_INSTRUCTIONS);
        let stack = DefaultStack::new(STACK_BYTES).expect("there is address space for a stack");
        let coroutine = Coroutine::with_stack(stack, move |yielder, first| run_for_ever(link, state, yielder, first));
        let mut engine = Engine {
            shared,
            state,
            lua: ManuallyDrop::new(lua),
            coroutine: ManuallyDrop::new(coroutine),
            running: false,
            memory_max: 0,
        };
        engine.set_memory_max(memory_max);
        engine
    }

    fn shared(&mut self) -> &mut Shared {
        // SAFETY: the box is the engine's, and whoever has it to change is outside of the stack that has the other link.
        unsafe { self.shared.as_mut() }
    }

    /// Limits the bytes that its values may take. Who needs more gets an error.
    pub fn set_memory_max(&mut self, bytes: usize) {
        self.memory_max = bytes;
        // What is in use already may be more: then nothing more is given out.
        let _ = self.lua.set_memory_limit(bytes.max(1));
    }

    /// Bytes that its values take.
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Compiles a text.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile(&mut self, text: &[u8], name: &CStr) -> Result<Compiled, Vec<u8>> {
        assert!(!self.running, "an engine is not used while one of its scripts is on its way");
        let mut task = Compilation { text, name, compiled: None, error: Vec::new() };
        if self.state.pcall_native(compile, (&raw mut task).cast()).is_err() {
            // It has a string as its value, or none.
            task.error = self.state.bytes(-1).to_vec();
            self.state.pop(1);
        }
        let Compilation { compiled, error, .. } = task;
        if compiled.is_none() {
            self.tidy();
        }
        compiled.map(Compiled).ok_or(error)
    }

    /// Gives up what was compiled. Its memory comes back bit by bit.
    pub fn forget(&mut self, compiled: Compiled) {
        self.state.forget(compiled.0);
    }

    /// Gives all memory back that no script needs any more.
    pub fn collect(&mut self) {
        assert!(!self.running, "an engine is not used while one of its scripts is on its way");
        // Nothing in an engine has a finalizer that could raise an error.
        self.state.collect(lua::LUA_GCCOLLECT, 0);
    }

    /// Whether a script is on its way.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Begins a run, up to its first question.
    pub fn start(&mut self, run: Run<'_>) -> Ask {
        let shared = self.begin(run.name, run.resp);
        // SAFETY: the lifetime is stretched for the time of this call: the run is taken out and copied into Lua before the
        // first question, which `resume` returns.
        shared.run = Some(unsafe { std::mem::transmute::<Run<'_>, Run<'static>>(run) });
        let ask = self.resume(Answer::Go);
        self.shared().run = None;
        ask
    }

    /// Begins to load a library, which is the compiled text of one. It asks for nothing but slices of time; when it is
    /// done, [`Engine::loaded`] says what became of it.
    pub fn load(&mut self, library: Compiled) -> Ask {
        self.begin("", Resp::V2).load = Some(Load::new(library));
        self.resume(Answer::Go)
    }

    /// What the library has registered that was loaded last.
    ///
    /// # Errors
    /// What it raised. Then it has registered nothing.
    pub fn loaded(&mut self) -> Result<Vec<Registered>, Vec<u8>> {
        let Some(load) = self.shared().load.take() else { return Ok(Vec::new()) };
        let (library, registered, error) = load.into_parts();
        self.forget(library);
        match error {
            None => Ok(registered),
            Some(error) => {
                for function in registered {
                    self.forget(function.compiled);
                }
                Err(error)
            }
        }
    }

    fn begin(&mut self, name: &str, resp: Resp) -> &mut Shared {
        assert!(!self.running, "an engine runs one script at a time");
        let shared = self.shared();
        shared.name.clear();
        shared.name.push_str(name);
        shared.resp = Resp::V2;
        shared.client_resp = resp;
        shared.dead = None;
        shared.outcome = Outcome::Value;
        shared.reply = Output::reusing(std::mem::take(&mut shared.reply).into_parts().0);
        shared
    }

    /// Goes on with a run that has asked for something.
    #[inline]
    pub fn resume(&mut self, answer: Answer) -> Ask {
        self.running = true;
        let CoroutineResult::Yield(ask) = self.coroutine.resume(answer) else {
            unreachable!("the stack of an engine never ends");
        };
        if matches!(ask, Ask::Done(_)) {
            self.running = false;
            if self.used_memory() > self.memory_max / 2 {
                self.tidy();
            }
        }
        ask
    }

    #[cold]
    fn tidy(&mut self) {
        self.collect();
    }

    /// The command that a script asks for. May be taken out while it is executed.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.shared().batch
    }

    /// Where the reply to that goes.
    pub fn answer(&mut self) -> &mut Output {
        &mut self.shared().answer
    }

    /// The reply of a script that is done. May be taken out.
    pub fn reply(&mut self) -> &mut Output {
        &mut self.shared().reply
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.running {
            // Frames of Lua are on its stack. They are left where they are, and so is what they use.
            return;
        }
        // SAFETY: dropped once, here; first the stack, on which nobody is, then Lua, then what its functions refer to.
        unsafe {
            ManuallyDrop::drop(&mut self.coroutine);
            // Finalizers run while all that they may refer to is still there, and not in the middle of the end.
            self.state.collect(lua::LUA_GCCOLLECT, 0);
            ManuallyDrop::drop(&mut self.lua);
            drop(Box::from_raw(self.shared.as_ptr()));
        }
    }
}

/// What lives on the engine's stack: one run after the other.
fn run_for_ever(link: Link, l: State, yielder: &Yielder<Answer, Ask>, _: Answer) {
    link.with(|shared| shared.yielder = yielder);
    loop {
        let random = link.with(|shared| shared.random);
        l.push_kept(link.with(|shared| shared.runner));
        if let Err(fault) = l.pcall(0, 0, 0) {
            // Outside of the script itself there is only want of memory.
            let text = if fault == lua::Fault::Memory { b"not enough memory" } else { l.bytes(-1) };
            link.with(|shared| {
                shared.reply = Output::default();
                value::write_fault(shared, text);
            });
        }
        l.set_top(0);
        if l.hook_instructions() != SLICE_INSTRUCTIONS {
            l.set_hook(hook, SLICE_INSTRUCTIONS);
        }
        let outcome = link.with(|shared| {
            // What a script makes of the generator is its own affair.
            shared.random = random::fresh(random);
            shared.outcome
        });
        // The next answer is the start of the next run.
        yielder.suspend(Ask::Done(outcome));
    }
}

/// One run: arguments, the script, its reply. Its own values are the link and the words KEYS and ARGV.
extern "C-unwind" fn run_script(l: State) -> c_int {
    let link = Link::own(l);
    let Some(run) = link.with(|shared| shared.run.take()) else { return load::run(l, link) };
    l.push_kept(link.with(|shared| shared.handler));
    let handler = l.top();
    let by_globals = l.kind(lua::upvalue(2)) == lua::Type::String;
    let (keys_at, args_at) = (run.keys_at, run.keys_at + run.keys);
    if by_globals {
        l.push_kept(link.with(|shared| shared.globals));
        l.push_value(lua::upvalue(2));
        push_arguments(l, run.argv, keys_at, args_at);
        l.raw_set(-3);
        l.push_value(lua::upvalue(3));
        push_arguments(l, run.argv, args_at, run.argv.len());
        l.raw_set(-3);
        l.pop(1);
    }
    l.push_kept(run.function.0);
    if !by_globals {
        push_arguments(l, run.argv, keys_at, args_at);
        push_arguments(l, run.argv, args_at, run.argv.len());
    }
    match l.pcall(if by_globals { 0 } else { 2 }, 1, handler) {
        Ok(()) => value::write_reply(l, link),
        Err(lua::Fault::Memory) => link.with(|shared| value::write_fault(shared, b"not enough memory")),
        Err(lua::Fault::Raised) => value::write_error(l, link),
    }
    0
}

/// A table of arguments.
fn push_arguments(l: State, argv: Argv<'_>, from: usize, to: usize) {
    l.push_table(to.saturating_sub(from), 0);
    for (index, at) in (from..to).enumerate() {
        l.push_string(argv.at(at));
        l.set_raw_at(-2, c_int::try_from(index + 1).unwrap_or(c_int::MAX));
    }
}

struct Setup {
    link: Link,
    kind: Kind,
}

/// Builds the world of a fresh engine.
extern "C-unwind" fn set_up(l: State) -> c_int {
    // SAFETY: `Engine::new` gives a setup, which has nothing to drop.
    let Setup { link, kind } = unsafe { std::ptr::read(l.address(1).cast::<Setup>()) };
    l.push_address((&raw const LINK_KEY).cast());
    l.push_address(link.address());
    l.raw_set(lua::REGISTRY);
    api::register(l, link, kind);
    sandbox::close(l, link);
    if kind == Kind::Functions {
        load::register(l, link);
    }
    l.push_function(value::on_error, 0);
    let handler = l.keep();
    l.push_address(link.address());
    let values = match kind {
        Kind::Scripts => {
            l.push_string(b"KEYS");
            l.push_string(b"ARGV");
            3
        }
        Kind::Functions => 1,
    };
    l.push_function(run_script, values);
    let runner = l.keep();
    link.with(|shared| (shared.handler, shared.runner) = (handler, runner));
    0
}

struct Compilation<'a> {
    text: &'a [u8],
    name: &'a CStr,
    compiled: Option<c_int>,
    error: Vec<u8>,
}

extern "C-unwind" fn compile(l: State) -> c_int {
    let task = l.address(1).cast::<Compilation<'_>>();
    // SAFETY: `Engine::compile` gives a compilation and waits.
    let (text, name) = unsafe { ((*task).text, (*task).name) };
    match l.compile(text, name.to_bytes()) {
        Ok(()) => {
            let kept = l.keep();
            // SAFETY: as above.
            unsafe { (*task).compiled = Some(kept) };
        }
        Err(_) => {
            let error = l.bytes(-1);
            let error = error.get(..ERROR_TEXT_MAX).unwrap_or(error).to_vec();
            // SAFETY: as above.
            unsafe { (*task).error = error };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script for which every command replies with its arguments joined; gives its reply and how often it paused.
    struct Bench {
        engine: Engine,
        pauses_max: usize,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { engine: Engine::new(Kind::Scripts, 64 << 20, 1), pauses_max: 20_000 }
        }

        fn run(&mut self, text: &str) -> String {
            let compiled = match self.engine.compile(text.as_bytes(), c"@user_script") {
                Ok(compiled) => compiled,
                Err(error) => return format!("does not compile: {}", String::from_utf8_lossy(&error)),
            };
            let mut batch = Batch::new();
            batch.push_command(["EVAL", text, "1", "key", "argument"].map(str::as_bytes)).expect("it fits");
            let argv = batch.command(0);
            let run = Run { function: compiled, name: "f", argv, keys_at: 3, keys: 1, resp: Resp::V2 };
            let mut ask = self.engine.start(run);
            let mut pauses = 0;
            while !matches!(ask, Ask::Done(_)) {
                let mut answer = Answer::Go;
                if ask == Ask::Slice {
                    pauses += 1;
                    if pauses > self.pauses_max {
                        answer = Answer::Die("ERR killed");
                    }
                } else {
                    let words: Vec<Vec<u8>> = self.engine.batch().command(0).iter().map(<[u8]>::to_vec).collect();
                    let out = self.engine.answer();
                    *out = Output::default();
                    Reply::new(out, Resp::V2).bulk(&words.join(&b' '));
                }
                ask = self.engine.resume(answer);
            }
            self.engine.forget(compiled);
            String::from_utf8_lossy(self.engine.reply().bytes()).into_owned()
        }
    }

    use crate::command::reply::Reply;

    fn check(cases: &[(&str, &str)]) {
        let mut bench = Bench::new();
        for (text, reply) in cases {
            assert_eq!(bench.run(text).trim_end(), *reply, "{text}");
        }
    }

    #[test]
    fn a_script_gets_its_arguments_and_calls_commands() {
        check(&[
            ("return KEYS[1]", "$3\r\nkey"),
            ("return ARGV[1]", "$8\r\nargument"),
            ("return redis.call('GET', KEYS[1])", "$7\r\nGET key"),
            ("return redis.call('X', 1, 1.5, 1e100)", "$14\r\nX 1 1.5 1e+100"),
            ("return {1, {2, 'x'}, true, false}", "*4\r\n:1\r\n*2\r\n:2\r\n$1\r\nx\r\n:1\r\n$-1"),
            ("return {ok = 'fine'}", "+fine"),
        ]);
    }

    #[test]
    fn an_error_says_where() {
        check(&[
            ("\nerror('boo')", "-ERR user_script:2: boo script: f, on @user_script:2."),
            (
                "return redis.call()",
                "-ERR Please specify at least one argument for this redis lib call script: f, on @user_script:1.",
            ),
            ("x = 1", "-ERR user_script:1: Attempt to modify a readonly table script: f, on @user_script:1."),
            (
                "return x",
                "-ERR user_script:1: Script attempted to access nonexistent global variable 'x' script: f, on @user_script:1.",
            ),
        ]);
    }

    #[test]
    fn what_is_sealed_cannot_be_changed() {
        for text in [
            "_G.x = 1",
            "redis.call = 1",
            "redis = 1",
            "string.rep = 1",
            "rawset(_G, 'x', 1)",
            "rawset(redis, 'call', 1)",
            "setmetatable(_G, {})",
            "setmetatable(string, {})",
            "table.insert(math, 1)",
            "table.remove(math)",
            "table.sort(math)",
            "getmetatable('').__index = 1",
            "getmetatable('').__index.rep = 1",
            "getmetatable(_G).__index = 1",
        ] {
            let reply = Bench::new().run(text);
            assert!(reply.contains("Attempt to modify a readonly table"), "{text}: {reply}");
        }
        let mut bench = Bench::new();
        assert_eq!(bench.run("local n = 0 for k in pairs(redis) do n = n + 1 end return n > 20"), ":1\r\n");
        assert_eq!(bench.run("return next(math) ~= nil"), ":1\r\n");
        assert_eq!(bench.run("return tostring(getmetatable(redis))"), "$3\r\nnil\r\n");
        assert_eq!(bench.run("return redis == server"), ":1\r\n");
        assert_eq!(bench.run("return ('x'):rep(3)"), "$3\r\nxxx\r\n");
    }

    #[test]
    fn what_would_run_for_ever_can_be_ended() {
        for text in [
            "while true do end",
            "while true do pcall(function() while true do end end) end",
            "while true do pcall(pcall, error) end",
            "local f = function() while true do end end while true do coroutine.wrap(function() pcall(f) end)() end",
            "return string.find(string.rep('a', 1000), string.rep('a-', 50) .. 'b')",
            "return string.find(string.rep('a', 10000000), string.rep('a', 5000000) .. 'b')",
            "while true do xpcall(function() while true do end end, function() while true do end end) end",
        ] {
            let mut bench = Bench::new();
            bench.pauses_max = 100;
            let reply = bench.run(text);
            assert!(reply.contains("killed"), "{text}: {reply}");
            assert_eq!(bench.run("return 1"), ":1\r\n");
        }
    }

    #[test]
    fn memory_and_depth_are_bounded() {
        for (text, error) in [
            ("local t = {} while true do t[#t + 1] = {} end", "not enough memory"),
            ("local s = 'x' while true do s = s .. s end", "not enough memory"),
            ("return #string.rep('x', 1e9)", "not enough memory"),
            ("return #string.rep('x', 1e300)", "not enough memory"),
            (
                "local t = {} t[1] = string.rep('x', 1e6) for i = 2, 200 do t[i] = t[1] end return #table.concat(t)",
                "not enough memory",
            ),
            ("local function f() return f() + 1 end return f()", "stack overflow"),
            ("local f f = function() return pcall(f) end return f()", ""),
            ("local s = string.rep('{', 10000) return loadstring('return ' .. s)", ""),
            ("return string.find(string.rep('a', 99), string.rep('(a', 99))", "too many captures"),
            ("return string.find(string.rep('a', 999), string.rep('a?', 100000))", "pattern too complex"),
            ("local f f = function() return (string.gsub('a', 'a', f)) end return f()", ""),
            ("return unpack({}, 0, 2^31 - 1)", "too many results to unpack"),
            ("return unpack({}, -2147483648, 2147483647)", "too many results to unpack"),
            ("local t = {} t[1] = t return t", "reached lua stack limit"),
            ("return table.insert({}, 2^31 - 2, 1)", ""),
        ] {
            let mut bench = Bench::new();
            let reply = bench.run(text);
            assert!(reply.contains(error), "{text}: {reply}");
            assert_eq!(bench.run("return 1"), ":1\r\n", "after {text}");
        }
    }
}
