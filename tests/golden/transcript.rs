//! Transcripts as text: blocks of steps. `README.md` beside the transcripts describes the format.

use super::reply::{Expected, latin1};

/// One fact and the steps that prove it.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) title: String,
    /// Of the title.
    pub(crate) line: usize,
    /// `%weir no`: the server does something else here, on purpose.
    pub(crate) not_followed: bool,
    pub(crate) steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug)]
pub(crate) struct Step {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) action: Action,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Action {
    /// `@ b`: go on as this client.
    Client(String),
    /// `> SET k v`: send a command.
    Send(Vec<Vec<u8>>),
    /// `>> "*1\r\n"`: send these bytes.
    SendBytes(Vec<u8>),
    /// `+ 100`: let so many milliseconds pass.
    Pass(i64),
    /// `< +OK`: the current client receives this next.
    Receive(Expected),
}

/// Reads a file, in which each byte is one character.
///
/// # Errors
/// Line and reason of the first line that is not in the format.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Block>, String> {
    let text = latin1(text);
    let lines: Vec<(usize, &str)> = text
        .split('\n')
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .collect();
    let mut blocks: Vec<Block> = Vec::new();
    let mut file_has_peers = false;
    let mut at = 0;
    while let Some(&(line, content)) = lines.get(at) {
        let wrong = |why: &str| format!("line {line}: {why}: {content}");
        let (verb, rest) = content.split_once(' ').unwrap_or((content, ""));
        at += 1;
        let action = match (verb, blocks.last_mut()) {
            ("%peers", block) => {
                // Which servers confirm it is for `replay.py`.
                file_has_peers |= block.is_none();
                continue;
            }
            ("%weir", Some(block)) if rest.starts_with("no ") && block.steps.is_empty() => {
                block.not_followed = true;
                continue;
            }
            ("==", _) if !file_has_peers => return Err(wrong("no %peers before the first block")),
            ("==", _) => {
                blocks.push(Block { title: rest.to_owned(), line, not_followed: false, steps: Vec::new() });
                continue;
            }
            (_, None) => return Err(wrong("before the first block")),
            ("<", _) => {
                let (expected, after) = element(&lines, at - 1, rest, 0)?;
                at = after;
                Action::Receive(expected)
            }
            (">", _) => Action::Send(words(rest).map_err(|e| wrong(&e))?),
            (">>", _) => Action::SendBytes(words(rest).map_err(|e| wrong(&e))?.concat()),
            ("@", _) => Action::Client(rest.to_owned()),
            ("+", _) => Action::Pass(rest.parse().map_err(|_| wrong("no number of milliseconds"))?),
            _ => return Err(wrong("nothing that the format knows")),
        };
        if let Some(block) = blocks.last_mut() {
            block.steps.push(Step { line, action });
        }
    }
    match blocks.iter().find_map(unanswered) {
        Some(line) => Err(format!("line {line}: no reply given")),
        None => Ok(blocks),
    }
}

/// The line of a request without a reply right below it.
fn unanswered(block: &Block) -> Option<usize> {
    let followers = block.steps.iter().skip(1).map(Some).chain([None]);
    block.steps.iter().zip(followers).find_map(|(step, next)| {
        let asks = matches!(step.action, Action::Send(_) | Action::SendBytes(_));
        let answered = next.is_some_and(|next| matches!(next.action, Action::Receive(_)));
        (asks && !answered).then_some(step.line)
    })
}

/// One expected reply or element, which begins with `text` on line `at` of `lines`, and the index of the line behind it.
fn element(lines: &[(usize, &str)], at: usize, text: &str, level: usize) -> Result<(Expected, usize), String> {
    let line = lines[at].0;
    let mut at = at + 1;
    let Some((head, order, count)) = Expected::aggregate_head(text) else {
        return Ok((Expected::of_line(text).map_err(|e| format!("line {line}: {e}"))?, at));
    };
    let indent = format!("< {}", "  ".repeat(level + 1));
    let mut elements = Vec::new();
    while elements.len() < count {
        let below = lines.get(at).and_then(|(_, line)| line.strip_prefix(&indent));
        let Some(text) = below.filter(|text| !text.is_empty() && !text.starts_with(' ')) else {
            return Err(format!("line {line}: {text} has {} of {count} elements", elements.len()));
        };
        let (expected, after) = element(lines, at, text, level + 1)?;
        elements.push(expected);
        at = after;
    }
    Ok((Expected::Aggregate(head.to_owned(), order, elements), at))
}

/// Splits a line into words by the quoting rules of inline commands.
fn words(text: &str) -> Result<Vec<Vec<u8>>, String> {
    // Every character came from one byte.
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        if at == bytes.len() {
            return Ok(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        while let Some(&byte) = bytes.get(at) {
            match (quote, byte) {
                (Some(b'"'), b'\\') if at + 1 < bytes.len() => {
                    let (escaped, len) = escape(&bytes[at + 1..]);
                    word.push(escaped);
                    at += len;
                }
                (Some(b'\''), b'\\') if bytes.get(at + 1) == Some(&b'\'') => {
                    word.push(b'\'');
                    at += 1;
                }
                (Some(open), _) if byte == open => {
                    if bytes.get(at + 1).is_some_and(|&next| next != b' ') {
                        return Err("a closing quote is followed by more".to_owned());
                    }
                    quote = None;
                }
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b' ') => break,
                _ => word.push(byte),
            }
            at += 1;
        }
        if quote.is_some() {
            return Err("unbalanced quotes".to_owned());
        }
        words.push(word);
    }
}

/// The byte that an escape stands for, and how many bytes follow its backslash. `rest` is not empty.
fn escape(rest: &[u8]) -> (u8, usize) {
    if let [b'x', high, low, ..] = *rest
        && let Some(high) = char::from(high).to_digit(16)
        && let Some(low) = char::from(low).to_digit(16)
    {
        return ((high * 16 + low) as u8, 3);
    }
    let byte = match rest[0] {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    };
    (byte, 1)
}
