//! What concerns very many queues or messages, in slices: whoever asked for it waits for the end, and everybody else goes on.
//!
//! ```text
//!  publish to 200,000 queues ──► routed now ──────► [ 64 queues ] [ 64 queues ] ...      ──► how many have it
//!  redrive of a million      ──► what is ready now ► [ 64 messages ] [ 64 messages ] ...  ──► how many went
//! ```
//!
//! What is chosen is chosen at the beginning. What has gone meanwhile is passed over, and so is what was made under its name since:
//! numbers of queues rise. Each slice is whole in itself, and in the feed as it happened: who is killed in between has had
//! the first ones and not the others, and nobody was told otherwise.

use super::Broker;
use super::dead::died_for;
use super::publish::{Found, Incoming, Publication, Published, PutIn, Refusal};
use crate::command::effects::Effects;
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::store::Store;
use std::collections::{BTreeSet, VecDeque};
use weir_structs::queue::{DeathReason, MessageId, Parcel, When};

/// So many queues, or messages, have their turn in a row.
const SLICE: usize = 64;
/// What concerns no more than this is done in one step.
pub(super) const AT_ONCE_MAX: usize = 512;
/// Where a publisher has to wait for room, it is looked for after so many ms again.
const ROOM_MS: u64 = 10;

/// Who waits for the end of a task, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// The client; `None` if nobody does.
    pub client: Option<u64>,
    /// It wants to know the ids.
    pub with_ids: bool,
    /// Somebody must have got the message.
    pub mandatory: bool,
    /// It is to be on disk.
    pub on_disk: bool,
}

impl Waits {
    /// Nobody waits.
    pub const NOBODY: Waits = Waits { client: None, with_ids: false, mandatory: false, on_disk: false };
}

/// What has come of a task.
#[derive(Debug)]
pub struct Finished {
    /// Who waits for that.
    pub waits: Waits,
    /// What it is.
    pub end: End,
}

/// The end of a task.
#[derive(Debug)]
pub enum End {
    /// Of a publication. Queues are named if ids are wanted; otherwise they are counted among the others.
    Published(Published),
    /// So many messages were put back.
    Redriven(usize),
    /// It goes on if the client may put messages into these queues: [`Broker::go_on_redriving`].
    Asks(Redriving),
}

/// Producer, and what the message is to it.
type Idmp = (Box<[u8]>, Box<[u8]>);

/// A message on its way into many queues.
#[derive(Debug)]
struct Spread {
    found: Found,
    /// The next destination.
    at: usize,
    parcel: Parcel,
    priority: u8,
    ttl_ms: Option<u64>,
    when: When,
    idmp: Option<Idmp>,
    /// Queues with higher numbers were made later.
    newest: u64,
    published: Published,
    /// Destinations that have no room, for which the publisher waits.
    full: Vec<usize>,
}

/// Dead letters on their way back.
#[derive(Debug)]
pub struct Redriving {
    db: usize,
    /// The queue that they are in.
    uid: u64,
    to: Option<Box<[u8]>>,
    /// So many, at most.
    max: usize,
    /// So many more of them.
    left: usize,
    reason: Option<DeathReason>,
    /// Priority and place of the last one that was looked at.
    behind: Option<(u8, u64)>,
    /// What is behind this one has come later.
    end: MessageId,
    moved: usize,
    /// Into which queues they may go; `None` for any.
    allowed: Option<BTreeSet<Box<[u8]>>>,
    /// Those are still being found.
    looks: bool,
}

impl Redriving {
    /// The database.
    pub fn db(&self) -> usize {
        self.db
    }

    /// Into which queues messages would be put.
    pub fn origins(&self) -> impl Iterator<Item = &[u8]> {
        self.allowed.iter().flatten().map(|name| &**name)
    }
}

#[derive(Debug)]
enum Work {
    Spread(Box<Spread>),
    Redrive(Redriving),
}

#[derive(Debug)]
struct Task {
    waits: Waits,
    db: usize,
    work: Work,
    /// When it goes on, in Unix ms.
    from_ms: u64,
}

/// All tasks.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    all: VecDeque<Task>,
    finished: Vec<Finished>,
}

impl Tasks {
    /// When the next one goes on.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.all.iter().map(|task| task.from_ms).min()
    }

    /// Two databases have changed places.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        let swapped = |db: &mut usize| {
            if *db == a {
                *db = b;
            } else if *db == b {
                *db = a;
            }
        };
        for task in &mut self.all {
            swapped(&mut task.db);
            if let Work::Redrive(redriving) = &mut task.work {
                swapped(&mut redriving.db);
            }
        }
    }
}

impl Broker {
    /// Goes on with a task, for a slice. Gives the database in which that was; `None` if there is nothing to be done now.
    pub fn go_on(&mut self, store: &mut Store, effects: &mut Effects) -> Option<usize> {
        let now_ms = now_ms(store);
        let at = self.tasks.all.iter().position(|task| task.from_ms <= now_ms)?;
        let mut task = self.tasks.all.remove(at)?;
        let db = task.db;
        let mut ground = Ground { store, effects, db };
        ground.effects.feed_nothing();
        match &mut task.work {
            Work::Spread(spread) => {
                let goes_on = self.spread_slice(&mut ground, spread, task.waits);
                if goes_on || !spread.full.is_empty() {
                    task.from_ms = if goes_on { 0 } else { now_ms.saturating_add(ROOM_MS) };
                    self.tasks.all.push_back(task);
                } else {
                    let end = End::Published(std::mem::take(&mut spread.published));
                    self.tasks.finished.push(Finished { waits: task.waits, end });
                }
            }
            Work::Redrive(redriving) => {
                if self.redrive_slice(&mut ground, redriving) {
                    self.tasks.all.push_back(task);
                } else if let Work::Redrive(redriving) = task.work {
                    let end = if redriving.looks { End::Asks(redriving) } else { End::Redriven(redriving.moved) };
                    self.tasks.finished.push(Finished { waits: task.waits, end });
                }
            }
        }
        Some(db)
    }

    /// Whether a task can go on.
    pub fn has_tasks(&self, now_ms: u64) -> bool {
        self.tasks.next_ms().is_some_and(|from_ms| from_ms <= now_ms)
    }

    /// What has been finished since the last call.
    pub fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.tasks.finished)
    }

    /// Whether that is something.
    #[inline]
    pub fn has_finished(&self) -> bool {
        !self.tasks.finished.is_empty()
    }

    /// A client has gone: what it asked for is done without it, but for what would have to wait.
    pub fn leaves_tasks(&mut self, client: u64) {
        for task in self.tasks.all.iter_mut().filter(|task| task.waits.client == Some(client)) {
            task.waits.client = None;
            task.from_ms = 0;
        }
    }

    /// Publishes a message in slices, if it goes to very many destinations. `None` if it does: what comes of it is among
    /// [`Broker::take_finished`] later. If one queue is full whose publishers wait, the others have it before.
    ///
    /// # Errors
    /// As with [`Broker::publish`].
    pub fn publish_in_slices(
        &mut self,
        ground: &mut Ground<'_>,
        publication: &Publication<'_>,
        waits: Waits,
    ) -> Result<Option<Published>, Error> {
        let newest = self.last_uid;
        self.publish_or(ground, publication, |broker, db, found, incoming| {
            if found.len() <= AT_ONCE_MAX || publication.all_or_none {
                return false;
            }
            let spread = Spread {
                found: std::mem::take(found),
                at: 0,
                parcel: incoming.parcel.clone(),
                priority: incoming.priority,
                ttl_ms: incoming.ttl_ms,
                when: incoming.when,
                idmp: incoming.idmp.map(|(producer, id)| (producer.into(), id.into())),
                newest,
                published: Published::default(),
                full: Vec::new(),
            };
            let work = Work::Spread(Box::new(spread));
            broker.tasks.all.push_back(Task { waits, db, work, from_ms: 0 });
            true
        })
    }

    /// Puts a message into some more queues. Says whether there are others.
    fn spread_slice(&mut self, ground: &mut Ground<'_>, spread: &mut Spread, waits: Waits) -> bool {
        let idmp = spread.idmp.as_ref().map(|(producer, id)| (&**producer, &**id));
        let incoming = Incoming {
            parcel: &spread.parcel,
            priority: spread.priority,
            ttl_ms: spread.ttl_ms,
            when: spread.when,
            idmp,
            story: None,
            newest: spread.newest,
        };
        let again = spread.at >= spread.found.len();
        let destinations: Vec<usize> = if again {
            let some = spread.full.len().min(SLICE);
            spread.full.drain(..some).collect()
        } else {
            let from = spread.at;
            spread.at = spread.found.len().min(from + SLICE);
            (from..spread.at).collect()
        };
        for at in destinations {
            let (target, name) = spread.found.at(at);
            // If something else is there it is as if nothing were.
            match self.put_into(ground, target, name, incoming, &mut spread.published) {
                Ok(Some(PutIn::In(id) | PutIn::Known(id))) if waits.with_ids => {
                    spread.published.queues.push((name.into(), id));
                }
                Ok(Some(PutIn::In(_) | PutIn::Known(_))) => spread.published.others += 1,
                Ok(Some(PutIn::Refused(Refusal::Wait(_)))) if waits.client.is_some() => spread.full.push(at),
                Ok(Some(PutIn::Refused(refusal))) => spread.published.refused = Some(refusal),
                Ok(Some(PutIn::NoQueue) | None) | Err(_) => {}
            }
        }
        self.feed_puts(ground);
        spread.at < spread.found.len()
    }

    /// Begins to put messages back, as [`Broker::redrive`] does, if they are very many. Says whether it has; then what comes of
    /// it is among [`Broker::take_finished`] later. `asks`: the client may not put messages everywhere.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn redrive_in_slices(
        &mut self,
        ground: &Ground<'_>,
        name: &[u8],
        to: Option<&[u8]>,
        max: usize,
        reason: Option<DeathReason>,
        (client, asks): (u64, bool),
    ) -> Result<bool, Error> {
        let queue = ground.queue(name)?.ok_or_else(|| Error::mq_no_queue(name))?;
        if queue.figures().ready <= AT_ONCE_MAX as u64 {
            return Ok(false);
        }
        let redriving = Redriving {
            db: ground.db,
            uid: queue.uid(),
            to: to.map(Box::from),
            max,
            left: max,
            reason,
            behind: None,
            end: queue.last_id(),
            moved: 0,
            allowed: (asks && to.is_none()).then(BTreeSet::new),
            looks: asks && to.is_none(),
        };
        let waits = Waits { client: Some(client), ..Waits::NOBODY };
        self.tasks.all.push_back(Task { waits, db: ground.db, work: Work::Redrive(redriving), from_ms: 0 });
        Ok(true)
    }

    /// The client may put messages into the queues that [`End::Asks`] has asked for.
    pub fn go_on_redriving(&mut self, waits: Waits, redriving: Redriving) {
        let db = redriving.db;
        let redriving = Redriving { looks: false, behind: None, left: redriving.max, ..redriving };
        self.tasks.all.push_back(Task { waits, db, work: Work::Redrive(redriving), from_ms: 0 });
    }

    /// Puts some more messages back, or looks where they would go. Says whether there are others.
    fn redrive_slice(&mut self, ground: &mut Ground<'_>, redriving: &mut Redriving) -> bool {
        let Some(name) = self.places(redriving.db).get(redriving.uid).map(|place| place.name.clone()) else {
            return false;
        };
        let Ok(Some(queue)) = ground.queue(&name) else {
            return false;
        };
        let some: Vec<_> = queue.ready_behind(redriving.behind).take(SLICE).collect();
        for (id, priority, key) in &some {
            redriving.behind = Some((*priority, key.to_u64()));
            let Ok(Some(queue)) = ground.queue(&name) else {
                return false;
            };
            if *key > redriving.end && *priority == 0 {
                // Of the lowest priority, behind everything that there was.
                return false;
            }
            if *key > redriving.end || !died_for(queue, *id, redriving.reason) {
                continue;
            }
            if redriving.left == 0 {
                return false;
            }
            redriving.left -= 1;
            if redriving.looks {
                let origin = queue.message(*id).and_then(|message| Some(message.story?.deaths.first()?.queue.clone()));
                redriving.allowed.get_or_insert_default().extend(origin);
                continue;
            }
            let put = self.put_back(ground, &name, *id, redriving.to.as_deref(), redriving.allowed.as_ref());
            redriving.moved += usize::from(put == Ok(true));
        }
        some.len() == SLICE
    }
}
