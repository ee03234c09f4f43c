//! Messages between the network and the executor.
//!
//! The network hands in [`Job`]s and gets them back with replies; what else it is to do stands in the [`Outbox`]. Nothing
//! else crosses the boundary, so the network can live on other threads.

use super::client::{ClientId, Slot};
use crate::command::reply::{Output, Resp};
use crate::pubsub::{Audience, AudienceKey};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir_resp::{Batch, ProtocolError};

/// What one connection wants executed.
#[derive(Debug)]
pub struct Job {
    /// The client.
    pub slot: Slot,
    /// Its commands.
    pub batch: Batch,
    /// Number of them that are done.
    pub next: usize,
    /// The protocol error that stands behind the last command, if any.
    pub error: Option<ProtocolError>,
    /// Replies.
    pub out: Output,
    /// What became of it.
    pub state: JobState,
    /// Execution stops when this many bytes of replies wait; what is left is handed in again when they have gone out.
    pub out_bytes_max: usize,
    /// Instead, the client is as good as gone then: its connection will end.
    pub ends_at_max: bool,
}

/// How far a job got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobState {
    /// There are commands to execute.
    Ready,
    /// Every command is done.
    Done,
    /// The rest waits for the end of a pause, or until others have been given what is theirs.
    Paused,
    /// The last command that ran waits for data, and so does the rest.
    Blocked,
    /// The last command that ran is a script, and in the middle of it. It will be answered, and the rest waits for that.
    Suspended,
    /// The rest waits until replies have gone out, or messages that it made.
    Full,
    /// The rest waits for the next turn: this one has lasted long.
    Unfinished,
    /// All of it does.
    Untouched,
    /// The connection ends when the replies have gone out.
    CloseAfterReply,
}

/// What the network is to do.
#[derive(Debug)]
pub enum Order {
    /// Send this to a client whose job was [`JobState::Blocked`] or [`JobState::Suspended`], and look again at that job.
    Answer(ClientId, Output),
    /// Send this to a client, behind what it already gets.
    Push(ClientId, Arc<[u8]>),
    /// Send this to many clients, behind what they already get.
    FanOut(Box<FanOut>),
    /// End a connection at once.
    Close(ClientId),
    /// Look again at jobs that were [`JobState::Paused`].
    Resume,
    /// The addresses or ports to listen on have changed.
    Listen,
}

/// Messages in a row that all go to the same clients.
///
/// Clients are named by their slots alone: orders are carried out before anybody else can have the slot of one who has gone.
#[derive(Debug)]
pub struct FanOut {
    recipients: Vec<Slot>,
    audience: Option<AudienceKey>,
    /// The messages in RESP2.
    bytes: Vec<u8>,
    /// Where each begins: what RESP3 writes differently is that byte.
    starts: Vec<usize>,
}

impl FanOut {
    /// Who gets the messages, and what they get.
    pub fn into_parts(self) -> (Vec<Slot>, Frames) {
        (self.recipients, Frames { resp2: self.bytes.into(), resp3: None, starts: self.starts })
    }
}

/// Messages in both versions of the protocol; in RESP3 if somebody asks for that.
#[derive(Debug)]
pub struct Frames {
    resp2: Arc<[u8]>,
    resp3: Option<Arc<[u8]>>,
    starts: Vec<usize>,
}

impl Frames {
    /// Their bytes.
    #[inline]
    pub fn encoded(&mut self, resp: Resp) -> &Arc<[u8]> {
        match resp {
            Resp::V2 => &self.resp2,
            Resp::V3 => self.resp3.get_or_insert_with(|| as_pushes(self.resp2.to_vec(), &self.starts)),
        }
    }
}

fn as_pushes(mut frames: Vec<u8>, starts: &[usize]) -> Arc<[u8]> {
    for &start in starts {
        if let Some(kind) = frames.get_mut(start) {
            *kind = b'>';
        }
    }
    frames.into()
}

/// A fan-out of so many bytes takes no further message.
const FAN_OUT_BYTES: usize = 64 * 1024;
/// With about so many bytes in it the outbox is to be emptied before more is done.
const OUTBOX_BYTES: usize = 8 * 1024 * 1024;

/// Orders that were given since the network last looked.
#[derive(Debug, Default)]
pub struct Outbox {
    orders: Vec<Order>,
    /// Bytes behind them, about.
    bytes: usize,
}

impl Outbox {
    /// Gives an order.
    pub fn order(&mut self, order: Order) {
        let message = if let Order::Push(_, message) = &order { message.len() } else { 0 };
        self.bytes += size_of::<Order>() + message;
        self.orders.push(order);
    }

    /// Orders a message, in RESP2, to be sent to all of an audience but those who are `left_out`. Where nothing was ordered
    /// since the last one to the same audience, it is put behind that.
    pub(super) fn fan_out(&mut self, audience: Audience<'_>, left_out: &[Slot], write: impl FnOnce(&mut Vec<u8>)) {
        let key = left_out.is_empty().then_some(audience.key);
        if let Some(Order::FanOut(last)) = self.orders.last_mut()
            && key.is_some()
            && last.audience == key
            && last.bytes.len() < FAN_OUT_BYTES
        {
            let start = last.bytes.len();
            last.starts.push(start);
            write(&mut last.bytes);
            self.bytes += last.bytes.len() - start;
            return;
        }
        let recipients = audience.subscribers.iter().map(|subscriber| Slot(subscriber.0));
        let recipients: Vec<Slot> = recipients.filter(|slot| !left_out.contains(slot)).collect();
        if recipients.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.bytes += size_of::<FanOut>() + size_of_val(&*recipients) + bytes.len();
        self.order(Order::FanOut(Box::new(FanOut { recipients, audience: key, bytes, starts: vec![0] })));
    }

    /// Whether there is so much in it that it is to be emptied before more is done.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= OUTBOX_BYTES
    }

    /// Whether there are any.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Whether [`Order::Listen`] is among them; it is taken out. It comes before the reply to whoever gave it, so that a
    /// client that connects to the new port when it has the reply finds it open.
    pub fn take_listen(&mut self) -> bool {
        let before = self.orders.len();
        self.orders.retain(|order| !matches!(order, Order::Listen));
        self.orders.len() < before
    }

    /// Whether somebody is sent a message that it has not asked for in this moment.
    #[inline]
    pub fn has_messages(&self) -> bool {
        self.orders.iter().any(|order| matches!(order, Order::Push(..)))
    }

    /// Which of these clients orders name, so that what they got so far must go out before. Looks at each order once.
    pub fn named_among(&self, clients: &[(ClientId, Slot)]) -> HashSet<Slot> {
        let slots: HashMap<ClientId, Slot> = clients.iter().copied().collect();
        let among: HashSet<Slot> = clients.iter().map(|&(_, slot)| slot).collect();
        let mut named = HashSet::new();
        for order in &self.orders {
            match order {
                Order::Answer(id, _) | Order::Push(id, _) | Order::Close(id) => named.extend(slots.get(id)),
                Order::FanOut(fan_out) => named.extend(fan_out.recipients.iter().filter(|slot| among.contains(slot))),
                Order::Resume | Order::Listen => {}
            }
        }
        named
    }

    /// Takes them all, in order.
    pub fn take(&mut self) -> Vec<Order> {
        self.bytes = 0;
        std::mem::take(&mut self.orders)
    }
}
