//! Messages between the network and the executor.
//!
//! The network hands in [`Job`]s and gets them back with replies; what else it is to do stands in the [`Outbox`]. Nothing
//! else crosses the boundary, so the network can live on other threads.

use super::client::{ClientId, Slot};
use crate::command::reply::Output;
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
    /// The rest waits for the end of a pause.
    Paused,
    /// The last command that ran waits for data, and so does the rest.
    Blocked,
    /// The rest waits until replies have gone out.
    Full,
    /// The connection ends when the replies have gone out.
    CloseAfterReply,
}

/// What the network is to do.
#[derive(Debug)]
pub enum Order {
    /// Send this to a client whose job was [`JobState::Blocked`], and look again at that job.
    Answer(ClientId, Output),
    /// Send this to a client, behind what it already gets.
    Push(ClientId, Arc<[u8]>),
    /// End a connection at once.
    Close(ClientId),
    /// Look again at jobs that were [`JobState::Paused`].
    Resume,
    /// The addresses or ports to listen on have changed.
    Listen,
}

/// Orders that were given since the network last looked.
#[derive(Debug, Default)]
pub struct Outbox {
    orders: Vec<Order>,
}

impl Outbox {
    /// Gives an order.
    pub fn order(&mut self, order: Order) {
        self.orders.push(order);
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

    /// Takes them all, in order.
    pub fn take(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }
}
