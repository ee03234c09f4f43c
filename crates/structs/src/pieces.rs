//! Queues, exchanges and stores that come in pieces, as they encode themselves: out of a snapshot, or out of commands.

use crate::exchange::ExchangeBuilder;
use crate::queue::{ParcelPool, QueueBuilder};
use crate::tree::TreeBuilder;
use crate::value::Big;

/// One that is being put together. Its first piece is the head.
#[derive(Debug)]
pub struct BigPieces(Pieces);

#[derive(Debug)]
enum Pieces {
    NewQueue,
    Queue(Box<QueueBuilder>),
    NewExchange,
    Exchange(Box<ExchangeBuilder>),
    NewTree,
    Tree(Box<TreeBuilder>),
}

impl BigPieces {
    /// A queue of which nothing has come.
    pub fn queue() -> BigPieces {
        BigPieces(Pieces::NewQueue)
    }

    /// The same of an exchange.
    pub fn exchange() -> BigPieces {
        BigPieces(Pieces::NewExchange)
    }

    /// The same of a store of the registry.
    pub fn tree() -> BigPieces {
        BigPieces(Pieces::NewTree)
    }

    /// Takes the next piece, whose bytes may be anything. `None` if it does not belong there; what is here is of no use then.
    pub fn take(&mut self, piece: &[u8], parcels: &mut ParcelPool) -> Option<()> {
        match &mut self.0 {
            Pieces::Queue(queue) => queue.piece_with(piece, parcels).ok()?,
            Pieces::Exchange(exchange) => exchange.piece(piece).ok()?,
            Pieces::Tree(tree) => tree.piece(piece).ok()?,
            Pieces::NewQueue => self.0 = Pieces::Queue(Box::new(QueueBuilder::new(piece).ok()?)),
            Pieces::NewExchange => self.0 = Pieces::Exchange(Box::new(ExchangeBuilder::new(piece).ok()?)),
            Pieces::NewTree => self.0 = Pieces::Tree(Box::new(TreeBuilder::new(piece).ok()?)),
        }
        Some(())
    }

    /// What has come, if that is all of it.
    pub fn finish(self) -> Option<Big> {
        match self.0 {
            Pieces::Queue(queue) => queue.finish().ok().map(Big::from),
            Pieces::Exchange(exchange) => exchange.finish().ok().map(Big::from),
            Pieces::Tree(tree) => tree.finish().ok().map(Big::from),
            Pieces::NewQueue | Pieces::NewExchange | Pieces::NewTree => None,
        }
    }
}
