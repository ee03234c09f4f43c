//! Whole topologies of exchanges and queues beside a model that is as simple as can be.
//!
//! ```text
//!  a random command ──► the model: what is to come of it ─┐
//!          └──────────► the server, without its network ──┴──► replies alike; queues, exchanges and counts alike
//! ```
//!
//! Time moves from one moment at which something is due to the next, so that both do the same in the same order. Every so
//! often the server is dropped where it stands and another one started from its append-only file, or from its snapshot.
//!
//! In which order an exchange finds its destinations means nothing, but decides which queue has a message first. The model
//! takes that order from the exchange, and asserts that what it finds is what should be found.
//!
//! `WEIR_MODEL_STEPS=100000 cargo test --profile quick --test broker_model` takes that many steps for each mode. With
//! `WEIR_MODEL_TOLD=1000` as many of the last ones are told of a run that fails, and `WEIR_MODEL_SEED=7` begins from another
//! seed. The same seed is the same run: nothing in it is left to the clock of the machine, nor to how fast its threads are.

mod in_process;
#[path = "broker_model/model.rs"]
mod model;
#[path = "broker_model/steps.rs"]
mod steps;

use in_process::random::Rng;
use in_process::{BEGIN_US, InProcess, append_command, facts, move_clock, now_us};
use model::Model;
use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use steps::Step;
use weir::store::ValueRef;
use weir_structs::queue::Figures;

/// Steps of each run, unless the environment says otherwise.
const STEPS: usize = 4_000;
/// With so many steps everything happens that can.
const MANY: usize = 20_000;
/// After so many steps everything is compared.
const COMPARE_EVERY: usize = 25;
/// About so many steps are between two restarts.
const STEPS_A_LIFE: usize = 250;
/// About so many steps are between two moments at which the file begins to be written anew.
const STEPS_A_REWRITE: usize = 200;
/// Bodies of queues with more than so many bytes go to files.
const LONG_QUEUE_BYTES: &str = "3kb";
/// Turns of the loop that one moment may take.
const TURNS_MAX: usize = 200_000;
/// For so long a thread or a disk may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
/// Steps that are told of a run that fails.
const TOLD: usize = 40;

/// Where a server finds again what another one had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    /// A file of commands, rewritten now and then as commands.
    Commands,
    /// The same, rewritten as a snapshot in front of commands.
    AppendOnly,
    /// A snapshot.
    Snapshot,
}

struct World {
    host: InProcess,
    client: usize,
    kept: Kept,
    model: Model,
}

fn now_ms() -> u64 {
    u64::try_from(now_us() / 1000).expect("it is after 1970")
}

fn start(folder: &Path, kept: Kept, at_us: i64) -> InProcess {
    let folder = folder.to_str().expect("a name in UTF-8");
    let (appendonly, preamble) = match kept {
        Kept::Commands => ("yes", "no"),
        Kept::AppendOnly => ("yes", "yes"),
        Kept::Snapshot => ("no", "yes"),
    };
    let options = ["--dir", folder, "--appendonly", appendonly, "--aof-use-rdb-preamble", preamble];
    let more = ["--appendfsync", "no", "--mq-page-after", LONG_QUEUE_BYTES];
    let mut host = InProcess::start(&[&options[..], &more].concat(), facts());
    move_clock(at_us - BEGIN_US);
    host.server.begin_turn();
    host.server.load_at_start().expect("what is there can be read");
    host
}

impl World {
    fn begin(folder: &Path, kept: Kept) -> World {
        let mut host = start(folder, kept, BEGIN_US);
        wait_until_loaded(&mut host);
        let client = host.connect(false);
        World { host, client, kept, model: Model::new(now_ms()) }
    }

    fn call(&mut self, words: &[String]) -> String {
        let mut bytes = Vec::new();
        append_command(&mut bytes, words);
        self.host.arrive(self.client, &bytes);
        self.host.turn();
        String::from_utf8_lossy(&std::mem::take(&mut self.host.connections[self.client].received)).into_owned()
    }

    fn say(&mut self, words: &str) -> String {
        self.call(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    /// Does what is due at this moment. The server may be busy for longer, with what has nothing to do with queues.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            self.host.turn();
            let broker = &self.host.server.broker;
            if !broker.has_news_of_policies() && broker.next_alarm_ms().is_none_or(|due_ms| due_ms > now_ms()) {
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    fn go_to(&mut self, ms: u64) {
        move_clock(i64::try_from(ms - now_ms()).expect("soon") * 1000);
        self.settle();
    }

    /// Lets time pass, from each moment with something to do to the next.
    fn pass(&mut self, ms: u64) {
        let end_ms = now_ms() + ms;
        while let Some(due_ms) = self.model.next_due_ms().filter(|due_ms| *due_ms <= end_ms) {
            // What the server was to look at meanwhile is looked at before.
            if due_ms > now_ms() + 1 {
                self.go_to(due_ms - 1);
            }
            self.go_to(due_ms.max(now_ms()));
            self.model.pass_to(now_ms(), &self.host.server.store);
        }
        self.go_to(end_ms);
        self.model.pass_to(end_ms, &self.host.server.store);
    }

    /// Ends the server where it stands and starts another one. Says whether either is not as it should be.
    fn restart(&mut self, folder: &Path) -> Result<(), String> {
        match self.kept {
            Kept::Snapshot => assert_eq!(self.say("SAVE"), "+OK\r\n"),
            // A server that is killed takes its threads with it; here they would go on in files that the next one has.
            _ => self.wait_while(&["aof_rewrite_in_progress:1"]),
        }
        self.compare().map_err(|what| format!("before the restart: {what}"))?;
        let then_us = now_us();
        let nowhere = tempfile::tempdir().expect("a folder");
        // The old one is gone before the new one begins, for there is one of them at the files.
        self.host = start(nowhere.path(), Kept::Snapshot, then_us);
        self.host = start(folder, self.kept, then_us);
        wait_until_loaded(&mut self.host);
        self.client = self.host.connect(false);
        self.settle();
        self.model.restarted(&self.host.server.store);
        self.model.pass_to(now_ms(), &self.host.server.store);
        self.compare().map_err(|what| format!("after the restart: {what}"))
    }

    /// Has the file written anew. Steps go on while it is written; what is in it is as things are now, for how often something
    /// was handed out is in the file and in nothing that is added to it.
    fn rewrite(&mut self) {
        self.wait_while(&["aof_rewrite_in_progress:1"]);
        assert!(self.say("BGREWRITEAOF").starts_with('+'));
        self.wait_while(&["aof_rewrite_in_progress:1", "current_save_keys_total:0"]);
    }

    /// Lets threads work, but no time pass, as long as INFO has all of these fields.
    fn wait_while(&mut self, fields: &[&str]) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let text = self.say("INFO persistence");
            if !fields.iter().all(|field| text.contains(&format!("\n{field}\r"))) {
                return;
            }
            thread::yield_now();
        }
        panic!("{fields:?} do not end");
    }

    /// Says where the server and the model differ.
    fn compare(&self) -> Result<(), String> {
        let store = &self.host.server.store;
        let mut names = BTreeSet::new();
        for entry in store.entries(0) {
            let name = String::from_utf8_lossy(entry.key()).into_owned();
            match entry.value() {
                ValueRef::Queue(queue) => self.model.compare_queue(&name, queue)?,
                ValueRef::Exchange(exchange) => self.model.compare_exchange(&name, exchange)?,
                _ => {}
            }
            names.insert(name);
        }
        let own: BTreeSet<String> = self.model.names().collect();
        if names != own {
            return Err(format!("the keys are {names:?} and should be {own:?}"));
        }
        let broker = &self.host.server.broker;
        let (queues, exchanges, totals) = broker.totals();
        let figures = Figures { away_bytes: 0, ..totals.figures() };
        let counted = (queues, exchanges, figures, broker.happened().messages);
        let wanted = self.model.totals();
        if counted != wanted {
            return Err(format!("in all there are\n  {counted:?} and should be\n  {wanted:?}"));
        }
        self.model.adds_up()
    }
}

fn wait_until_loaded(host: &mut InProcess) {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        host.turn();
        if !host.server.is_loading() {
            return;
        }
    }
    panic!("loading does not end");
}

fn run(seed: u64, kept: Kept, steps: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rng = Rng(seed);
    let mut world = World::begin(folder.path(), kept);
    let mut told: Vec<String> = Vec::new();
    let fails = |told: &[String], what: &str| {
        let from = told.len().saturating_sub(number_of("WEIR_MODEL_TOLD", TOLD));
        panic!(
            "seed {seed}, {kept:?}, after {} steps, the last of which are\n{}\n{what}",
            told.len(),
            told[from..].join("\n")
        );
    };
    let (mut restarts, mut away) = (0, 0);
    for number in 1..=steps {
        let step = steps::next(&mut rng, &world.model);
        match step {
            Step::Pass(ms) => {
                told.push(format!("+ {ms}"));
                world.pass(ms as u64);
            }
            Step::Back(ms) => {
                told.push(format!("- {ms}"));
                move_clock(-1000 * i64::try_from(ms).expect("a short time"));
                world.settle();
                world.model.pass_to(now_ms(), &world.host.server.store);
            }
            Step::Call(words) => {
                told.push(format!("{} > {}", now_ms(), words.join(" ")));
                let wanted = world.model.call(&words, &world.host.server.store);
                let got = world.call(&words);
                world.settle();
                world.model.pass_to(now_ms(), &world.host.server.store);
                if !wanted.fits(&got) {
                    fails(&told, &format!("answered {got:?} and not {wanted:?}"));
                }
            }
        }
        if rng.below(STEPS_A_REWRITE) == 0 && kept != Kept::Snapshot {
            told.push("rewrite".to_owned());
            world.rewrite();
        }
        away += usize::from(world.host.server.broker.totals().2.figures().away_bytes > 0);
        let ends = rng.below(STEPS_A_LIFE) == 0 || number == steps;
        if (number % COMPARE_EVERY == 0 || ends)
            && let Err(what) = world.compare()
        {
            fails(&told, &what);
        }
        if ends {
            told.push("restart".to_owned());
            restarts += 1;
            if let Err(what) = world.restart(folder.path()) {
                fails(&told, &what);
            }
        }
    }
    assert!(
        restarts > 0 && away > steps / 50 && (steps < MANY || world.model.has_seen_everything()),
        "seed {seed}: too little has happened: bodies were elsewhere after {away} of {steps} steps"
    );
}

fn number_of(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

/// Runs from a seed, unless the environment names another one.
fn run_from(seed: usize, kept: Kept) {
    run(number_of("WEIR_MODEL_SEED", seed) as u64, kept, number_of("WEIR_MODEL_STEPS", STEPS));
}

#[test]
fn topologies_are_as_the_model_says_over_restarts_from_files_of_commands() {
    run_from(1, Kept::Commands);
}

#[test]
fn topologies_are_as_the_model_says_over_restarts_from_rewritten_files() {
    run_from(2, Kept::AppendOnly);
}

#[test]
fn topologies_are_as_the_model_says_over_restarts_from_snapshots() {
    run_from(3, Kept::Snapshot);
}
