//! Steps: who does what next.

use super::choices::Choices;
use super::commands::{self, Scene, Words};
use super::in_process::append_command;
use super::replies::shown;
use super::world::World;

/// Clients that are connected at the same time, at most.
const CLIENTS_MAX: usize = 6;
/// Steps of one conversation, at most.
const STEPS_MAX: usize = 500;
/// Steps between two looks at all data.
const STORE_CHECK_STEPS: usize = 64;
/// Bytes of an argument that are told.
const TOLD_BYTES_MAX: usize = 100;
const DAY_MS: i64 = 86_400_000;

/// Whether a conversation is told while it is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Only what is wrong.
    Nothing,
    /// Every step, on the standard error.
    Steps,
}

/// Holds the conversation that `input` decides on with a new server, and panics if anything is wrong. Returns how many
/// commands were made for it.
pub(crate) fn hold(input: &[u8], telling: Telling) -> usize {
    let mut conversation = Conversation { world: World::start(), telling, commands: 0 };
    let mut choices = Choices::new(input);
    for _ in 0..2 {
        conversation.world.connect();
    }
    let mut steps = 0;
    while !choices.is_empty() && steps < STEPS_MAX {
        conversation.step(&mut choices);
        steps += 1;
        if steps % STORE_CHECK_STEPS == 0 {
            conversation.world.check_store();
        }
    }
    conversation.tell(|| "the end".to_owned());
    let Conversation { world, commands, .. } = conversation;
    world.end();
    commands
}

struct Conversation {
    world: World,
    telling: Telling,
    commands: usize,
}

impl Conversation {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let client = self.someone(choices);
        match choices.below(64) {
            0..=23 => self.pipeline(choices, client, commands::from_table),
            24..=37 => self.pipeline(choices, client, commands::on_strings),
            38..=43 => self.pipeline(choices, client, commands::on_clients),
            44 | 45 => self.pipeline(choices, client, |choices, _| commands::on_settings(choices)),
            46..=48 => self.pipeline(choices, client, |choices, _| commands::on_debug(choices)),
            49 | 50 => {
                let count = choices.below(48);
                let bytes = choices.take(count).to_vec();
                self.send_bytes(client, &bytes);
            }
            51 => self.broken_frame(choices, client),
            52 => self.inline(choices, client),
            53 | 54 => {
                if self.here().len() < CLIENTS_MAX {
                    self.tell(|| "a client connects".to_owned());
                    self.world.connect();
                }
            }
            55 => {
                self.tell(|| format!("{client} leaves"));
                self.world.disconnect(client);
            }
            56 => {
                self.world.host.out_bytes_max = *choices.pick(&[1, 100, 4096, 64 * 1024, 1 << 20]);
                let bytes = self.world.host.out_bytes_max;
                self.tell(|| format!("{bytes} bytes of replies go out at once"));
            }
            57..=60 => {
                let ms = match choices.below(8) {
                    0..=3 => choices.below(4_000) as i64,
                    4 => choices.below(48) as i64 * DAY_MS / 2,
                    5 => choices.below(30) as i64 * 365 * DAY_MS,
                    6 => -(choices.below(120_000) as i64),
                    _ => -(choices.below(2_000) as i64) * DAY_MS,
                };
                self.tell(|| format!("{ms} ms pass"));
                self.world.jump(ms);
            }
            _ => {
                self.tell(|| "a turn".to_owned());
                self.world.turn();
            }
        }
        self.arrive(choices, client);
    }

    /// Who is connected.
    fn here(&self) -> Vec<usize> {
        self.world.open().map(|(number, _)| number).collect()
    }

    /// Somebody who is connected; somebody new if nobody is, or, where nobody is let in, somebody who was.
    fn someone(&mut self, choices: &mut Choices<'_>) -> usize {
        let here = self.here();
        if here.is_empty() { self.world.connect() } else { *choices.pick(&here) }
    }

    fn pipeline(&mut self, choices: &mut Choices<'_>, client: usize, make: fn(&mut Choices<'_>, &Scene) -> Words) {
        let scene = self.scene();
        let count = if choices.once_in(8) { choices.below(40) } else { 1 };
        for _ in 0..count {
            if choices.is_empty() {
                return;
            }
            let words = make(choices, &scene);
            self.tell(|| format!("{client} sends {}", told(&words, TOLD_BYTES_MAX)));
            self.commands += 1;
            self.world.send(client, &words);
        }
    }

    fn scene(&self) -> Scene {
        Scene {
            clients: self.world.open().map(|(_, connection)| (connection.id.0, connection.addr.clone())).collect(),
            now_ms: self.world.now_ms(),
        }
    }

    /// A command whose frame has something wrong with it.
    fn broken_frame(&mut self, choices: &mut Choices<'_>, client: usize) {
        let mut bytes = Vec::new();
        append_command(&mut bytes, &commands::from_table(choices, &self.scene()));
        let at = choices.below(bytes.len().min(64));
        match choices.below(4) {
            0 => bytes.truncate(at),
            1 => bytes[at] = choices.byte(),
            2 => bytes.insert(at, *choices.pick(b"0123456789-\r\n$*\0 \"'")),
            _ => drop(bytes.remove(at)),
        }
        self.send_bytes(client, &bytes);
    }

    /// A command as a person would type it.
    fn inline(&mut self, choices: &mut Choices<'_>, client: usize) {
        let mut line = told(&commands::on_strings(choices, &self.scene()), usize::MAX).into_bytes();
        line.extend_from_slice(if choices.once_in(2) { b"\n" } else { b"\r\n" });
        self.send_bytes(client, &line);
    }

    fn send_bytes(&mut self, client: usize, bytes: &[u8]) {
        self.tell(|| format!("{client} sends the bytes {}", shown(bytes)));
        self.commands += 1;
        self.world.send_bytes(client, bytes);
    }

    /// What a client has sent arrives: at once, later, or in pieces.
    fn arrive(&mut self, choices: &mut Choices<'_>, client: usize) {
        if self.world.in_flight(client) == 0 {
            return;
        }
        match choices.below(16) {
            0 | 1 => return,
            2 => {
                for _ in 0..=choices.below(16) {
                    self.world.arrive(client, 1 + choices.below(64));
                    self.world.turn();
                }
            }
            3 => {
                self.world.arrive(client, choices.below(1 << 12));
                return;
            }
            _ => {}
        }
        self.world.arrive(client, usize::MAX);
        if !choices.once_in(8) {
            self.world.turn();
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.telling == Telling::Steps {
            eprintln!("{:>15} {}", self.world.now_ms(), what());
        }
    }
}

/// A command as `redis-cli` and inline requests take it, but with the beginning only of words of more than `len_max`.
fn told(words: &Words, len_max: usize) -> String {
    let quoted = |word: &Vec<u8>| {
        let mut text = String::from("\"");
        for &byte in word.iter().take(len_max) {
            match byte {
                b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
                b' '..=b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("\\x{byte:02x}")),
            }
        }
        text.push('"');
        if word.len() > len_max {
            text.push_str(&format!("...({} bytes)", word.len()));
        }
        text
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
