//! Directives whose arguments have a form of their own: lists, pairs, classes, letters, percentages, and the lines that
//! exist in files only.
//!
//! Each is one [`Special`]: how `CONFIG GET` shows it, how a line is read, and which lines `CONFIG REWRITE` writes. The
//! readers take bytes from files and clients; they bound what they keep and never index.

use std::path::Path;

use super::directive::{Special, must_be_one_of};
use super::model::Config;
use super::syntax::{format_memory, parse_integer, parse_memory, quote, word};
use super::values::*;

/// Addresses `bind` takes.
const BIND_ADDRESSES_MAX: usize = 16;
/// Points `save` keeps; more are refused rather than checked on every turn.
const SAVE_POINTS_MAX: usize = 1024;
/// Percentiles that INFO reports for each command.
const PERCENTILES_MAX: usize = 64;

const NOT_TEXT: &str = "argument must be UTF-8 text without NUL bytes";
const BAD_DIRECTIVE: &str = "Bad directive or wrong number of arguments";

/// A text argument; the error names what is wrong with it.
fn text(argument: &[u8]) -> Result<&str, String> {
    match std::str::from_utf8(argument) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(NOT_TEXT.to_owned()),
    }
}

/// The one line of a directive that fits in one.
fn single_line(name: &str, value: &str, changed: bool) -> Vec<(String, bool)> {
    let value = if value.is_empty() { "\"\"" } else { value };
    vec![(format!("{name} {value}"), changed)]
}

fn nothing_to_clear(_: &mut Config) {}

pub(super) static BIND: Special = Special {
    type_name: "list of addresses",
    get: |config| config.bind.join(" ").into(),
    set: |config, arguments| {
        config.bind = addresses(arguments)?;
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, defaults| {
        let addresses: Vec<String> = config.bind.iter().map(|address| word(address.as_bytes())).collect();
        single_line("bind", &addresses.join(" "), config.bind != defaults.bind)
    },
};

fn addresses(arguments: &[&[u8]]) -> Result<Vec<String>, String> {
    let given = arguments.iter().filter(|argument| !argument.is_empty());
    let addresses = given.map(|argument| text(argument).map(str::to_owned)).collect::<Result<Vec<_>, _>>()?;
    if addresses.len() > BIND_ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".to_owned());
    }
    Ok(addresses)
}

pub(super) static RDMA_BIND: Special = Special {
    type_name: "list of addresses",
    get: |config| config.rdma_bind.join(" ").into(),
    set: |_, arguments| {
        if arguments.iter().all(|argument| argument.is_empty()) {
            return Ok(());
        }
        Err("No RDMA building support.".to_owned())
    },
    clear: nothing_to_clear,
    lines: |_, _| Vec::new(),
};

pub(super) static SAVE: Special = Special {
    type_name: "pairs of seconds and changes",
    get: |config| save_pairs(&config.save).join(" ").into(),
    set: |config, arguments| {
        let points = save_points(arguments).ok_or("Invalid save parameters")?;
        if points.is_empty() {
            config.save.clear();
        }
        config.save.extend(points);
        if config.save.len() > SAVE_POINTS_MAX {
            return Err("Invalid save parameters".to_owned());
        }
        Ok(())
    },
    clear: |config| config.save.clear(),
    lines: |config, defaults| {
        let changed = config.save != defaults.save;
        if config.save.is_empty() {
            return single_line("save", "", changed);
        }
        save_pairs(&config.save).iter().map(|pair| (format!("save {pair}"), changed)).collect()
    },
};

fn save_pairs(points: &[SavePoint]) -> Vec<String> {
    points.iter().map(|point| format!("{} {}", point.seconds, point.changes)).collect()
}

fn save_points(arguments: &[&[u8]]) -> Option<Vec<SavePoint>> {
    let pairs = arguments.chunks(2).map(|pair| match pair {
        [seconds, changes] => {
            let seconds = loose_count(seconds).filter(|seconds| *seconds >= 1)?;
            let changes = loose_count(changes).filter(|changes| *changes <= i32::MAX.unsigned_abs().into())?;
            Some(SavePoint { seconds, changes })
        }
        _ => None,
    });
    pairs.collect()
}

/// A count as C reads it: a leading `+` and zeros are forgiven.
fn loose_count(argument: &[u8]) -> Option<u64> {
    let digits = argument.strip_prefix(b"+").unwrap_or(argument);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    u64::try_from(count).ok()
}

pub(super) static OUTPUT_BUFFER_LIMIT: Special = Special {
    type_name: "class, hard limit, soft limit, soft seconds; repeated",
    get: |config| {
        let [normal, replica, pubsub] = &config.client_output_buffer_limit;
        let shown = [("normal", normal), ("slave", replica), ("pubsub", pubsub)]
            .map(|(class, limit)| format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds));
        shown.join(" ").into()
    },
    set: |config, arguments| {
        let mut limits = config.client_output_buffer_limit;
        for quad in arguments.chunks(4) {
            let [class, hard, soft, seconds] = quad else {
                return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
            };
            let limit = output_limit(hard, soft, seconds);
            let class = client_class(class).ok_or("Invalid client class specified in buffer limit configuration.")?;
            let limit = limit.ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
            let [normal, replica, pubsub] = &mut limits;
            match class {
                ClientClass::Normal => *normal = limit,
                ClientClass::Replica => *replica = limit,
                ClientClass::Pubsub => *pubsub = limit,
            }
        }
        config.client_output_buffer_limit = limits;
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, defaults| {
        let limits = config.client_output_buffer_limit.iter().zip(&defaults.client_output_buffer_limit);
        let classes = ["normal", "replica", "pubsub"].iter().zip(limits);
        let lines = classes.map(|(class, (limit, default))| {
            let hard = format_memory(limit.hard_bytes);
            let soft = format_memory(limit.soft_bytes);
            (format!("client-output-buffer-limit {class} {hard} {soft} {}", limit.soft_seconds), limit != default)
        });
        lines.collect()
    },
};

/// The class of clients with that name, ignoring ASCII case.
pub(super) fn client_class(name: &[u8]) -> Option<ClientClass> {
    let named = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if named("normal") {
        Some(ClientClass::Normal)
    } else if named("slave") || named("replica") {
        Some(ClientClass::Replica)
    } else if named("pubsub") {
        Some(ClientClass::Pubsub)
    } else {
        None
    }
}

fn output_limit(hard: &[u8], soft: &[u8], seconds: &[u8]) -> Option<OutputBufferLimit> {
    let bytes = |argument| parse_memory(std::str::from_utf8(argument).ok()?);
    Some(OutputBufferLimit { hard_bytes: bytes(hard)?, soft_bytes: bytes(soft)?, soft_seconds: loose_count(seconds)? })
}

pub(super) static OOM_SCORE_ADJ_VALUES: Special = Special {
    type_name: "three integers",
    get: |config| config.oom_score_adj_values.map(|value| value.to_string()).join(" ").into(),
    set: |config, arguments| {
        let [primary, replica, child] = arguments else {
            return Err("wrong number of arguments".to_owned());
        };
        config.oom_score_adj_values = [oom_score(primary)?, oom_score(replica)?, oom_score(child)?];
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, defaults| {
        let values = config.oom_score_adj_values;
        let shown = values.map(|value| value.to_string()).join(" ");
        single_line("oom-score-adj-values", &shown, values != defaults.oom_score_adj_values)
    },
};

fn oom_score(argument: &[u8]) -> Result<i32, String> {
    let score = std::str::from_utf8(argument).ok().and_then(|text| text.parse().ok());
    score
        .filter(|score| (-2000..=2000).contains(score))
        .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".to_owned())
}

pub(super) static NOTIFY_KEYSPACE_EVENTS: Special = Special {
    type_name: "letters",
    get: |config| config.notify_keyspace_events.letters().into(),
    set: |config, arguments| {
        let [letters] = arguments else {
            return Err("wrong number of arguments".to_owned());
        };
        let flags = std::str::from_utf8(letters).ok().and_then(NotifyFlags::parse);
        config.notify_keyspace_events =
            flags.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned())?;
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, defaults| {
        let flags = config.notify_keyspace_events;
        // What is shown leaves out `n` beside `A`; what is written must not.
        let hidden = if flags.has_all(NotifyFlags::ALL.with(NotifyFlags::NEW)) { "n" } else { "" };
        let shown = quote(format!("{}{hidden}", flags.letters()).as_bytes());
        single_line("notify-keyspace-events", &shown, flags != defaults.notify_keyspace_events)
    },
};

pub(super) static PERCENTILES: Special = Special {
    type_name: "list of percentiles",
    get: |config| percentiles_shown(&config.latency_tracking_info_percentiles).into(),
    set: |config, arguments| {
        let given = if arguments.len() <= PERCENTILES_MAX { Some(arguments) } else { None };
        let given = given.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        config.latency_tracking_info_percentiles =
            given.iter().map(|argument| percentile(argument)).collect::<Result<_, _>>()?;
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, defaults| {
        let percentiles = &config.latency_tracking_info_percentiles;
        let changed = *percentiles != defaults.latency_tracking_info_percentiles;
        single_line("latency-tracking-info-percentiles", &percentiles_shown(percentiles), changed)
    },
};

fn percentile(argument: &[u8]) -> Result<f64, String> {
    let number = std::str::from_utf8(argument).ok().and_then(|text| text.parse::<f64>().ok());
    let number = number.filter(|number| !number.is_nan());
    let number = number.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
    if !(0.0..=100.0).contains(&number) {
        return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned());
    }
    Ok(number)
}

/// Six digits behind the point, without trailing zeros.
fn percentiles_shown(percentiles: &[f64]) -> String {
    let shown = percentiles.iter().map(|percentile| {
        let digits = format!("{percentile:.6}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    });
    shown.collect::<Vec<_>>().join(" ")
}

pub(super) static MAXMEMORY_CLIENTS: Special = Special {
    type_name: "memory or percent of maxmemory",
    get: |config| match config.maxmemory_clients {
        MemoryOrPercent::Bytes(bytes) => bytes.to_string().into(),
        MemoryOrPercent::Percent(percent) => format!("{percent}%").into(),
    },
    set: |config, arguments| {
        let [argument] = arguments else {
            return Err("wrong number of arguments".to_owned());
        };
        config.maxmemory_clients = memory_or_percent(argument)?;
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, defaults| {
        let shown = match config.maxmemory_clients {
            MemoryOrPercent::Bytes(bytes) => format_memory(bytes),
            MemoryOrPercent::Percent(percent) => format!("{percent}%"),
        };
        single_line("maxmemory-clients", &shown, config.maxmemory_clients != defaults.maxmemory_clients)
    },
};

fn memory_or_percent(argument: &[u8]) -> Result<MemoryOrPercent, String> {
    let invalid = || "argument must be a memory or percent value".to_owned();
    let text = std::str::from_utf8(argument).map_err(|_| invalid())?;
    let Some(percent) = text.strip_suffix('%') else {
        let bytes = parse_memory(text).filter(|bytes| i64::try_from(*bytes).is_ok());
        return bytes.map(MemoryOrPercent::Bytes).ok_or_else(invalid);
    };
    let percent = parse_integer(percent).filter(|percent| *percent >= 0).ok_or_else(invalid)?;
    match u8::try_from(percent) {
        Ok(0) => Ok(MemoryOrPercent::Bytes(0)),
        Ok(percent @ 1..=100) => Ok(MemoryOrPercent::Percent(percent)),
        _ => Err("percentage argument must be less or equal to 100".to_owned()),
    }
}

pub(super) static SHUTDOWN_ON_SIGINT: Special = Special {
    type_name: "set of default, save, nosave, now, force, safe, failover",
    get: |config| shutdown_shown(config.shutdown_on_sigint).into(),
    set: |config, arguments| {
        config.shutdown_on_sigint = shutdown_flags(arguments)?;
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, defaults| {
        let flags = config.shutdown_on_sigint;
        single_line("shutdown-on-sigint", &shutdown_shown(flags), flags != defaults.shutdown_on_sigint)
    },
};

pub(super) static SHUTDOWN_ON_SIGTERM: Special = Special {
    type_name: "set of default, save, nosave, now, force, safe, failover",
    get: |config| shutdown_shown(config.shutdown_on_sigterm).into(),
    set: |config, arguments| {
        config.shutdown_on_sigterm = shutdown_flags(arguments)?;
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, defaults| {
        let flags = config.shutdown_on_sigterm;
        single_line("shutdown-on-sigterm", &shutdown_shown(flags), flags != defaults.shutdown_on_sigterm)
    },
};

fn shutdown_shown(flags: ShutdownFlags) -> String {
    if flags.is_default() {
        return "default".to_owned();
    }
    let set = ShutdownFlags::NAMES.iter().filter(|(_, bit)| flags.0 & bit != 0);
    set.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

fn shutdown_flags(arguments: &[&[u8]]) -> Result<ShutdownFlags, String> {
    let names = || must_be_one_of(&ShutdownFlags::NAMES.map(|(name, _)| name));
    if arguments.is_empty() {
        return Err(names());
    }
    let mut flags = ShutdownFlags::default();
    for argument in arguments {
        let mut known = ShutdownFlags::NAMES.iter();
        let (_, bit) = known.find(|(name, _)| argument.eq_ignore_ascii_case(name.as_bytes())).ok_or_else(names)?;
        flags.0 |= bit;
    }
    if flags.save() && flags.nosave() {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    Ok(flags)
}

pub(super) static DIR: Special = Special {
    type_name: "path",
    get: |config| config.dir.clone().into(),
    set: |config, arguments| {
        let [argument] = arguments else {
            return Err("wrong number of arguments".to_owned());
        };
        let path = text(argument)?;
        if path.is_empty() {
            return Err("dir can't be empty".to_owned());
        }
        // The default names no folder yet: loading puts the folder that the process was started in.
        config.dir = if config.dir.is_empty() { path.to_owned() } else { existing_folder(&config.dir, path)? };
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, _| vec![(format!("dir {}", quote(config.dir.as_bytes())), true)],
};

/// The absolute path of `path` as seen from `base`; it must be a folder.
fn existing_folder(base: &str, path: &str) -> Result<String, String> {
    let full = Path::new(base).join(path);
    let resolved = full.canonicalize().map_err(|error| os_reason(&error))?;
    if !resolved.is_dir() {
        return Err("Not a directory".to_owned());
    }
    resolved.into_os_string().into_string().map_err(|_| NOT_TEXT.to_owned())
}

/// The words of the operating system alone, as C's `strerror` gives them.
pub(super) fn os_reason(error: &std::io::Error) -> String {
    let words = error.to_string();
    match words.rfind(" (os error ") {
        Some(end) => words.get(..end).unwrap_or(&words).to_owned(),
        None => words,
    }
}

pub(super) static REPLICAOF: Special = Special {
    type_name: "host and port, or no one",
    get: |config| match &config.replicaof {
        Some(primary) => format!("{} {}", primary.host, primary.port).into(),
        None => Vec::new(),
    },
    set: |config, arguments| {
        let (host, port) = match arguments {
            [host, port] => (*host, *port),
            // The default, and a value taken away.
            [] => {
                config.replicaof = None;
                return Ok(());
            }
            _ => return Err("wrong number of arguments".to_owned()),
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            config.replicaof = None;
            return Ok(());
        }
        let port = loose_count(port).and_then(|port| u16::try_from(port).ok()).ok_or("Invalid master port")?;
        config.replicaof = Some(ReplicaOf { host: text(host)?.to_owned(), port });
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |config, _| match &config.replicaof {
        Some(primary) => vec![(format!("replicaof {} {}", word(primary.host.as_bytes()), primary.port), true)],
        None => Vec::new(),
    },
};

pub(super) static USER: Special = Special {
    type_name: "name and ACL rules; repeated",
    get: |_| Vec::new(),
    set: |config, arguments| {
        let (name, rules) = arguments.split_first().ok_or(BAD_DIRECTIVE)?;
        if config.users.iter().any(|user| user.name == *name) {
            return Err(format!(
                "Error in user declaration '{}': Duplicate user found. A user can only be defined once in config files",
                String::from_utf8_lossy(name)
            ));
        }
        let rules = rules.iter().map(|rule| rule.to_vec()).collect();
        config.users.push(UserLine { name: name.to_vec(), rules });
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |_, _| Vec::new(),
};

pub(super) static RENAME_COMMAND: Special = Special {
    type_name: "old and new name; repeated",
    get: |_| Vec::new(),
    set: |config, arguments| {
        let [from, to] = arguments else {
            return Err(BAD_DIRECTIVE.to_owned());
        };
        config.renamed_commands.push(RenamedCommand { from: text(from)?.to_owned(), to: text(to)?.to_owned() });
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |_, _| Vec::new(),
};

pub(super) static LOADMODULE: Special = Special {
    type_name: "path and arguments; repeated",
    get: |_| Vec::new(),
    set: |config, arguments| {
        let (path, rest) = arguments.split_first().ok_or(BAD_DIRECTIVE)?;
        let arguments = rest.iter().map(|argument| argument.to_vec()).collect();
        config.modules.push(ModuleLine { path: text(path)?.to_owned(), arguments });
        Ok(())
    },
    clear: nothing_to_clear,
    lines: |_, _| Vec::new(),
};

/// The loader reads the named files itself; this row is for the reference page.
pub(super) static INCLUDE: Special = Special {
    type_name: "path or glob; repeated",
    get: |_| Vec::new(),
    set: |_, _| Err(BAD_DIRECTIVE.to_owned()),
    clear: nothing_to_clear,
    lines: |_, _| Vec::new(),
};
