//! Weir as the scenarios see it: commands of the Redis protocol, version 3.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;

use crate::Outcome;
use crate::broker::{Address, Admin, Confirm, Confirms, Consumer, Publisher, QueueKind, Way};
use crate::incoming::Incoming;

/// So many bytes of requests leave at once.
const SEND_BYTES: usize = 1 << 16;
const GET_COUNT: &[u8] = b"500";
const GET_BLOCK_MS: &[u8] = b"10000";

/// A connection: requests leave when told, replies are looked at where they lie.
struct Resp {
    socket: TcpStream,
    incoming: Incoming,
    outgoing: Vec<u8>,
}

impl Resp {
    fn connect(port: u16) -> Outcome<Resp> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        let mut resp = Resp { incoming: Incoming::new(socket.try_clone()?), socket, outgoing: Vec::new() };
        resp.put(&[b"HELLO", b"3"]);
        resp.flush_from(0)?;
        resp.reply(|_| Ok(()))?;
        Ok(resp)
    }

    fn put(&mut self, words: &[&[u8]]) {
        put_command(&mut self.outgoing, words.len(), words.iter().copied());
    }

    fn flush_from(&mut self, bytes: usize) -> Outcome<()> {
        if self.outgoing.len() >= bytes {
            self.socket.write_all(&self.outgoing)?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Waits for the next reply or push.
    fn reply<T>(&mut self, look: impl FnOnce(&[u8]) -> Outcome<T>) -> Outcome<T> {
        loop {
            let bytes = self.incoming.bytes();
            if let Some(end) = value_end(bytes)? {
                let value = &bytes[..end];
                if matches!(value[0], b'-' | b'!') {
                    return Err(refusal(value));
                }
                let found = look(value)?;
                self.incoming.consume(end);
                return Ok(found);
            }
            self.incoming.more()?;
        }
    }
}

/// Declarations, exchanges and bindings: in pipelines.
pub(crate) struct WeirAdmin {
    resp: Resp,
    waiting: usize,
}

impl WeirAdmin {
    pub(crate) fn connect(port: u16) -> Outcome<WeirAdmin> {
        Ok(WeirAdmin { resp: Resp::connect(port)?, waiting: 0 })
    }

    fn ask(&mut self, words: &[&[u8]]) -> Outcome<()> {
        self.resp.put(words);
        self.waiting += 1;
        if self.resp.outgoing.len() >= SEND_BYTES { self.sync() } else { Ok(()) }
    }
}

impl Admin for WeirAdmin {
    fn declare_queue(&mut self, name: &str, kind: QueueKind<'_>) -> Outcome<()> {
        if kind.is_quorum || kind.expires_into.is_some() {
            return Err("this kind of queue is for RabbitMQ".into());
        }
        self.ask(&[b"MQ.QUEUE", b"DECLARE", name.as_bytes()])
    }

    fn declare_exchange(&mut self, name: &str, kind: &str) -> Outcome<()> {
        self.ask(&[b"MQ.EXCHANGE", b"DECLARE", name.as_bytes(), b"TYPE", kind.as_bytes()])
    }

    fn bind(&mut self, exchange: &str, queue: &str, key: &str) -> Outcome<()> {
        self.ask(&[b"MQ.BIND", exchange.as_bytes(), b"QUEUE", queue.as_bytes(), key.as_bytes()])
    }

    fn sync(&mut self) -> Outcome<()> {
        self.resp.flush_from(0)?;
        for _ in 0..std::mem::take(&mut self.waiting) {
            self.resp.reply(|_| Ok(()))?;
        }
        Ok(())
    }

    fn ready(&mut self, queue: &str) -> Outcome<u64> {
        self.sync()?;
        self.resp.put(&[b"MQ.QUEUE", b"DECLARE", queue.as_bytes(), b"PASSIVE"]);
        self.resp.flush_from(0)?;
        self.resp.reply(|value| {
            let mut fields = Elements::of(value)?;
            while let Some(name) = fields.next()? {
                let value = fields.next()?.ok_or("a map ends with a name")?;
                if name == b"messages" {
                    return Ok(String::from_utf8_lossy(value).parse()?);
                }
            }
            Err("no number of messages".into())
        })
    }
}

/// Publishes with MQ.PUSH, or MQ.PUB where there is an exchange.
pub(crate) struct WeirPublisher {
    resp: Resp,
    confirm: Confirm,
}

impl WeirPublisher {
    pub(crate) fn connect(port: u16, confirm: Confirm) -> Outcome<WeirPublisher> {
        Ok(WeirPublisher { resp: Resp::connect(port)?, confirm })
    }
}

impl Publisher for WeirPublisher {
    fn put(&mut self, to: Address<'_>, body: &[u8], due_ms: Option<u64>) {
        let due = due_ms.map(|due_ms| due_ms.to_string());
        let publish: [&[u8]; 3] = [b"MQ.PUB", to.exchange.as_bytes(), to.key.as_bytes()];
        let push: [&[u8]; 2] = [b"MQ.PUSH", to.key.as_bytes()];
        let start = if to.exchange.is_empty() { &push[..] } else { &publish[..] };
        let delay = due.as_ref().map(|due| [b"AT".as_slice(), due.as_bytes()]);
        let confirm = (self.confirm == Confirm::Disk).then_some([b"CONFIRM".as_slice(), b"FSYNC"]);
        let words = start.iter().chain([&body]).chain(delay.iter().flatten()).chain(confirm.iter().flatten());
        let count = start.len() + 1 + 2 * usize::from(delay.is_some()) + 2 * usize::from(confirm.is_some());
        put_command(&mut self.resp.outgoing, count, words.copied());
    }

    fn flush_from(&mut self, bytes: usize) -> Outcome<()> {
        self.resp.flush_from(bytes)
    }

    fn finish(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn confirms(&self) -> Outcome<Option<Box<dyn Confirms>>> {
        Ok(Some(Box::new(Replies { incoming: Incoming::new(self.resp.socket.try_clone()?), count: 0 })))
    }
}

/// The replies to what is published.
struct Replies {
    incoming: Incoming,
    count: u64,
}

impl Confirms for Replies {
    fn wait(&mut self) -> Outcome<u64> {
        let before = self.count;
        loop {
            while let Some(end) = value_end(self.incoming.bytes())? {
                let value = &self.incoming.bytes()[..end];
                // An id, or the number of queues that were reached.
                if !matches!(value[0], b'$' | b':' | b'+') {
                    return Err(refusal(value));
                }
                self.count += 1;
                self.incoming.consume(end);
            }
            if self.count > before {
                return Ok(self.count);
            }
            self.incoming.more()?;
        }
    }
}

/// Consumes queues, either way, and acknowledges every so many messages of one.
pub(crate) struct WeirConsumer {
    resp: Resp,
    way: Way,
    ack_every: usize,
    ledger: Ledger,
}

/// What a consumer waits for and what it holds.
struct Ledger {
    queues: Vec<Held>,
    /// A MQ.GET is on its way.
    is_asking: bool,
    /// The numbers of messages in the acknowledgements whose replies are to come.
    acks: VecDeque<usize>,
}

/// What has been received of a queue and not acknowledged: receipts one behind the other.
struct Held {
    queue: Vec<u8>,
    receipts: Vec<u8>,
    ends: Vec<usize>,
}

impl WeirConsumer {
    pub(crate) fn connect(
        port: u16,
        queues: &[String],
        way: Way,
        prefetch: u16,
        ack_every: u64,
    ) -> Outcome<WeirConsumer> {
        let held = |queue: &String| Held { queue: queue.clone().into_bytes(), receipts: Vec::new(), ends: Vec::new() };
        let ledger = Ledger { queues: queues.iter().map(held).collect(), is_asking: false, acks: VecDeque::new() };
        let mut consumer = WeirConsumer { resp: Resp::connect(port)?, way, ack_every: ack_every as usize, ledger };
        if way == Way::Push {
            for queue in queues {
                let (name, prefetch) = (queue.as_bytes(), prefetch.to_string());
                consumer.resp.put(&[b"MQ.SUB", name, b"TAG", name, b"PREFETCH", prefetch.as_bytes()]);
                consumer.resp.flush_from(0)?;
                // That this consumer is the active one may be told first.
                while consumer.resp.reply(|value| Ok(value[0] == b'>'))? {}
            }
        }
        Ok(consumer)
    }

    fn ask(&mut self) {
        let number = self.ledger.queues.len().to_string();
        let start: [&[u8]; 8] =
            [b"MQ.GET", b"COUNT", GET_COUNT, b"BLOCK", GET_BLOCK_MS, b"COMPACT", b"QUEUES", number.as_bytes()];
        let names = self.ledger.queues.iter().map(|held| held.queue.as_slice());
        put_command(&mut self.resp.outgoing, start.len() + self.ledger.queues.len(), start.into_iter().chain(names));
        self.ledger.is_asking = true;
    }
}

impl Consumer for WeirConsumer {
    fn take(&mut self, message: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        if self.way == Way::Get && !self.ledger.is_asking {
            // Acknowledgements of the last messages are in front of it, and leave together with it.
            self.ask();
            self.resp.flush_from(0)?;
        }
        let mut some = false;
        loop {
            let bytes = self.resp.incoming.bytes();
            match value_end(bytes)? {
                Some(end) => {
                    some |= self.ledger.note(&bytes[..end], message)?;
                    self.resp.incoming.consume(end);
                }
                None if some => break,
                None => self.resp.incoming.more()?,
            }
        }
        match self.way {
            Way::Get => self.ledger.acknowledge(1, &mut self.resp.outgoing),
            Way::Push => {
                self.ledger.acknowledge(self.ack_every, &mut self.resp.outgoing);
                self.resp.flush_from(1)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        self.ledger.acknowledge(1, &mut self.resp.outgoing);
        self.resp.flush_from(0)?;
        while !self.ledger.acks.is_empty() {
            let ledger = &mut self.ledger;
            self.resp.reply(|value| ledger.note(value, &mut |_| Err("a message too many".into())))?;
        }
        Ok(())
    }
}

impl Ledger {
    /// Looks at one reply or push. True: it brought messages.
    fn note(&mut self, value: &[u8], message: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<bool> {
        match value[0] {
            b'>' => {
                let mut parts = Elements::of(value)?;
                match parts.next()? {
                    Some(b"mq.deliver") => parts.next()?,
                    Some(b"mq.active") => return Ok(false),
                    _ => return Err(refusal(value)),
                };
                self.receive(parts, message)?;
                Ok(true)
            }
            b'*' if !self.acks.is_empty() => {
                let wanted = self.acks.pop_front().unwrap_or_default();
                let done = value.split(|&byte| byte == b'\n').filter(|line| *line == b":1\r").count();
                if done == wanted { Ok(false) } else { Err(refusal(value)) }
            }
            b'*' if self.is_asking => {
                self.is_asking = false;
                let mut at = line_end(value).ok_or("a reply without an end")?;
                while at < value.len() {
                    let end = at + value_end(&value[at..])?.ok_or("a reply without an end")?;
                    self.receive(Elements::of(&value[at..end])?, message)?;
                    at = end;
                }
                Ok(true)
            }
            _ => Err(refusal(value)),
        }
    }

    /// Hands over a message that is given as queue, receipt, body.
    fn receive(&mut self, mut parts: Elements<'_>, message: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let mut part = || parts.next().and_then(|part| part.ok_or_else(|| "a message with too few parts".into()));
        let (queue, receipt, body): (&[u8], &[u8], &[u8]) = (part()?, part()?, part()?);
        message(body)?;
        let held = self.queues.iter_mut().find(|held| held.queue == queue).ok_or("a message of another queue")?;
        held.receipts.extend_from_slice(receipt);
        held.ends.push(held.receipts.len());
        Ok(())
    }

    /// Appends the acknowledgements of queues of which so many messages are held.
    fn acknowledge(&mut self, least: usize, to: &mut Vec<u8>) {
        for held in &mut self.queues {
            let count = held.ends.len();
            if count < least {
                continue;
            }
            let number = count.to_string();
            let start: [&[u8]; 4] = [b"MQ.ACK", &held.queue, b"IDS", number.as_bytes()];
            let starts = std::iter::once(0).chain(held.ends.iter().copied());
            let ids = starts.zip(&held.ends).map(|(from, to)| &held.receipts[from..*to]);
            put_command(to, start.len() + count, start.into_iter().chain(ids));
            held.receipts.clear();
            held.ends.clear();
            self.acks.push_back(count);
        }
    }
}

/// The elements of an aggregate that are strings or numbers, one after the other.
struct Elements<'a> {
    bytes: &'a [u8],
}

impl<'a> Elements<'a> {
    fn of(value: &'a [u8]) -> Outcome<Elements<'a>> {
        match value.first() {
            Some(b'*' | b'>' | b'%') => {
                Ok(Elements { bytes: &value[line_end(value).ok_or("an aggregate without an end")?..] })
            }
            _ => Err(refusal(value)),
        }
    }

    fn next(&mut self) -> Outcome<Option<&'a [u8]>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let end = value_end(self.bytes)?.ok_or("an element without an end")?;
        let (value, rest) = self.bytes.split_at(end);
        self.bytes = rest;
        let from = match value[0] {
            b'$' => line_end(value).unwrap_or(end - 2),
            _ => 1,
        };
        Ok(Some(&value[from.min(end - 2)..end - 2]))
    }
}

/// Where the value at the start of these bytes ends, if it is there whole.
fn value_end(bytes: &[u8]) -> Outcome<Option<usize>> {
    let mut at = 0;
    let mut open = 1_u64;
    while open > 0 {
        let Some(length) = bytes.get(at..).and_then(line_end) else { return Ok(None) };
        let line = &bytes[at + 1..at + length - 2];
        let kind = bytes[at];
        at += length;
        open -= 1;
        match kind {
            b'$' | b'=' | b'!' if line != b"-1" => at += number(line)? as usize + 2,
            b'*' | b'>' | b'~' if line != b"-1" => open += number(line)?,
            b'%' => open += 2 * number(line)?,
            b'|' => open += 2 * number(line)? + 1,
            _ => {}
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// How long the first line is, with its end.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1).filter(|&length| length >= 3)
}

fn number(digits: &[u8]) -> Outcome<u64> {
    let mut number = 0_u64;
    for digit in digits {
        if !digit.is_ascii_digit() || number > u64::from(u32::MAX) {
            return Err(format!("'{}' where a length was expected", String::from_utf8_lossy(digits)).into());
        }
        number = number * 10 + u64::from(digit - b'0');
    }
    Ok(number)
}

fn put_command<'a>(to: &mut Vec<u8>, count: usize, words: impl Iterator<Item = &'a [u8]>) {
    put_length(to, b'*', count);
    for word in words {
        put_length(to, b'$', word.len());
        to.extend_from_slice(word);
        to.extend_from_slice(b"\r\n");
    }
}

fn put_length(to: &mut Vec<u8>, kind: u8, length: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    to.push(kind);
    to.extend_from_slice(&digits[at..]);
    to.extend_from_slice(b"\r\n");
}

fn refusal(value: &[u8]) -> Box<dyn std::error::Error + Send + Sync> {
    let start = String::from_utf8_lossy(&value[..value.len().min(300)]).replace("\r\n", " ");
    format!("Weir answers {start}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_cut_where_they_end() {
        let whole: [&[u8]; 8] = [
            b"+OK\r\n",
            b":-1\r\n",
            b"$5\r\na\r\nbc\r\n",
            b"$-1\r\n",
            b"_\r\n",
            b"*2\r\n*1\r\n:1\r\n$0\r\n\r\n",
            b"%1\r\n+a\r\n*0\r\n",
            b">3\r\n$1\r\na\r\n%1\r\n+b\r\n#t\r\n,1.5\r\n",
        ];
        for value in whole {
            for cut in 0..value.len() {
                assert_eq!(value_end(&value[..cut]).expect("right so far"), None, "{value:?} to {cut}");
            }
            assert_eq!(value_end(&[value, b"+more\r\n"].concat()).expect("right"), Some(value.len()));
        }
        assert!(value_end(b"$x\r\n").is_err());
    }

    #[test]
    fn a_message_is_held_until_it_is_acknowledged() -> Outcome<()> {
        let held = Held { queue: b"q".to_vec(), receipts: Vec::new(), ends: Vec::new() };
        let mut ledger = Ledger { queues: vec![held], is_asking: true, acks: VecDeque::new() };
        let mut bodies = Vec::new();
        let mut keep = |body: &[u8]| {
            bodies.push(body.to_vec());
            Ok(())
        };
        let push = b">6\r\n$10\r\nmq.deliver\r\n$1\r\nq\r\n$1\r\nq\r\n$5\r\n1-0@1\r\n$1\r\nx\r\n%0\r\n";
        assert!(ledger.note(push, &mut keep)?);
        assert!(ledger.note(b"*1\r\n*3\r\n$1\r\nq\r\n$5\r\n2-0@1\r\n$1\r\ny\r\n", &mut keep)?);
        let mut sent = Vec::new();
        ledger.acknowledge(3, &mut sent);
        assert!(sent.is_empty());
        ledger.acknowledge(2, &mut sent);
        let wanted = "*6|$6|MQ.ACK|$1|q|$3|IDS|$1|2|$5|1-0@1|$5|2-0@1|";
        assert_eq!(String::from_utf8_lossy(&sent).replace("\r\n", "|"), wanted);
        assert!(ledger.note(b"*2\r\n:1\r\n:-1\r\n", &mut |_| Ok(())).is_err());
        assert_eq!(bodies, [b"x", b"y"]);
        Ok(())
    }
}
