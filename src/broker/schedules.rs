//! Schedules: messages that are published again and again, at times that a pattern or a period says.
//!
//! Times are worked out from the clock alone and never from what was published before: a period's times are its multiples since
//! 1970. So nothing of a schedule has to be kept but what it is, and whoever takes over goes on at the same times. Times at
//! which nobody was there are left out.

use super::publish::Publication;
use super::tasks::Waits;
use super::{Broker, Pair};
use crate::command::effects::Effects;
use crate::command::error::Error;
use crate::command::ground::{Ground, now_ms};
use crate::store::Store;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use weir_structs::queue::When;

/// When a schedule publishes.
#[derive(Clone, Debug)]
pub enum Times {
    /// When a pattern says, in a time zone.
    Cron {
        /// As it was given.
        text: Box<[u8]>,
        /// The name of the zone; UTC without one.
        zone: Option<Box<[u8]>>,
        /// The same as it is understood.
        pattern: Box<(Cron, TimeZone)>,
    },
    /// Every so many ms.
    Every(u64),
}

impl Times {
    /// A pattern of five fields, or six with seconds in front.
    ///
    /// # Errors
    /// The pattern or the zone is none.
    pub fn cron(text: &[u8], zone: Option<&[u8]>) -> Result<Times, Error> {
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let words = std::str::from_utf8(text).map_err(|_| Error::MQ_CRON)?;
        let cron = parser.parse(words).map_err(|_| Error::MQ_CRON)?;
        let time_zone = match zone {
            None => TimeZone::UTC,
            Some(name) => {
                let name = std::str::from_utf8(name).map_err(|_| Error::MQ_ZONE)?;
                TimeZone::get(name).map_err(|_| Error::MQ_ZONE)?
            }
        };
        Ok(Times::Cron { text: text.into(), zone: zone.map(Box::from), pattern: Box::new((cron, time_zone)) })
    }

    /// The first time after a moment, in Unix ms; `None` if there is none any more.
    fn after(&self, now_ms: u64) -> Option<u64> {
        match self {
            Times::Every(ms) => now_ms.checked_div(*ms)?.checked_add(1)?.checked_mul(*ms),
            Times::Cron { pattern, .. } => {
                let (cron, zone) = &**pattern;
                let now = Timestamp::from_millisecond(i64::try_from(now_ms).ok()?).ok()?.to_zoned(zone.clone());
                let next = cron.find_next_occurrence(&now, false).ok()?;
                u64::try_from(next.timestamp().as_millisecond()).ok()
            }
        }
    }
}

/// A schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// When.
    pub times: Times,
    /// The database of its exchange.
    pub db: usize,
    /// The exchange; empty for a queue by its name.
    pub exchange: Box<[u8]>,
    /// The routing key.
    pub rkey: Box<[u8]>,
    /// What it publishes.
    pub body: Box<[u8]>,
    /// With which headers.
    pub headers: Vec<Pair>,
    /// It does nothing at the moment.
    pub paused: bool,
    /// The next time, in Unix ms.
    pub next_ms: Option<u64>,
    /// How often it has published since the start.
    pub runs: u64,
    /// What was in the way the last time.
    pub last_error: Option<Error>,
}

/// All schedules.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_name: BTreeMap<Box<[u8]>, Schedule>,
    times: BTreeSet<(u64, Box<[u8]>)>,
}

impl Schedules {
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.times.first().map(|(ms, _)| *ms)
    }

    /// Removes a schedule. Says whether there was one.
    fn remove(&mut self, name: &[u8]) -> Option<Schedule> {
        let schedule = self.by_name.remove(name)?;
        if let Some(next_ms) = schedule.next_ms {
            self.times.remove(&(next_ms, name.into()));
        }
        Some(schedule)
    }

    /// Adds a schedule, or replaces the one with this name.
    fn put(&mut self, name: &[u8], mut schedule: Schedule, now_ms: u64) {
        self.remove(name);
        schedule.next_ms = if schedule.paused { None } else { schedule.times.after(now_ms) };
        if let Some(next_ms) = schedule.next_ms {
            self.times.insert((next_ms, name.into()));
        }
        self.by_name.insert(name.into(), schedule);
    }
}

impl Broker {
    /// Adds a schedule, or replaces the one with this name.
    pub fn set_schedule(&mut self, name: &[u8], schedule: Schedule, now_ms: u64) {
        self.schedules.put(name, schedule, now_ms);
    }

    /// Removes a schedule. Says whether there was one.
    pub fn remove_schedule(&mut self, name: &[u8]) -> bool {
        self.schedules.remove(name).is_some()
    }

    /// Stops a schedule or lets it go on. Says whether there is one.
    pub fn pause_schedule(&mut self, name: &[u8], paused: bool, now_ms: u64) -> bool {
        let Some(mut schedule) = self.schedules.remove(name) else { return false };
        schedule.paused = paused;
        self.schedules.put(name, schedule, now_ms);
        true
    }

    /// All schedules, by name.
    pub fn schedules(&self) -> impl Iterator<Item = (&[u8], &Schedule)> {
        self.schedules.by_name.iter().map(|(name, schedule)| (&**name, schedule))
    }

    /// Publishes what a schedule says, now. `None` if there is no such schedule. `in_slices`: if it goes to very many queues it
    /// may get there a little later.
    pub fn run_schedule(
        &mut self,
        store: &mut Store,
        effects: &mut Effects,
        name: &[u8],
        in_slices: bool,
    ) -> Option<Result<(), Error>> {
        let schedule = self.schedules.by_name.get(name)?.clone();
        let headers: Vec<(&[u8], &[u8])> = schedule.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let publication = Publication {
            exchange: &schedule.exchange,
            rkey: &schedule.rkey,
            cc: &[],
            body: &schedule.body,
            headers: &headers,
            priority: 0,
            ttl_ms: None,
            when: When::Now,
            group: None,
            idmp: None,
            reply_to: None,
            correlation: None,
            all_or_none: false,
        };
        let mut ground = Ground { store, effects, db: schedule.db };
        ground.effects.feed_nothing();
        let published = match in_slices {
            true => self.publish_in_slices(&mut ground, &publication, Waits::NOBODY),
            false => self.publish(&mut ground, &publication).map(Some),
        };
        let published = published.and_then(|published| match published.and_then(|published| published.refused) {
            Some(refusal) => Err(refusal.error()),
            None => Ok(()),
        });
        if let Some(schedule) = self.schedules.by_name.get_mut(name) {
            schedule.runs += 1;
            schedule.last_error = published.clone().err();
        }
        Some(published)
    }

    /// Publishes what is due of one schedule. Gives the database in which that was; `None` if none is due.
    pub fn run_due_schedule(&mut self, store: &mut Store, effects: &mut Effects) -> Option<usize> {
        let now_ms = now_ms(store);
        let (_, name) = self.schedules.times.first().filter(|(ms, _)| *ms <= now_ms)?.clone();
        let schedule = self.schedules.remove(&name)?;
        let db = schedule.db;
        self.schedules.put(&name, schedule, now_ms);
        // What is in the way is told with the schedule.
        let _ = self.run_schedule(store, effects, &name, true);
        Some(db)
    }

    /// Policies and schedules as commands that make them anew, each with the database in which it is to be run.
    pub fn commands(&self) -> Vec<(usize, Vec<Vec<u8>>)> {
        let mut commands = Vec::new();
        for policy in self.policies() {
            let mut words: Vec<Vec<u8>> = vec![b"MQ.POLICY".to_vec(), b"SET".to_vec(), policy.name.to_vec()];
            words.extend([b"PATTERN".to_vec(), policy.pattern.to_vec()]);
            words.extend([b"APPLY".to_vec(), policy.applies_to.name().into()]);
            words.extend([b"PRIORITY".to_vec(), policy.priority.to_string().into()]);
            if policy.operator {
                words.push(b"OPERATOR".to_vec());
            }
            words.extend([b"DEF".to_vec(), policy.definition.len().to_string().into()]);
            words.extend(policy.definition.iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]));
            commands.push((0, words));
        }
        for (name, schedule) in self.schedules() {
            let mut words: Vec<Vec<u8>> = vec![b"MQ.SCHEDULE".to_vec(), b"SET".to_vec(), name.to_vec()];
            match &schedule.times {
                Times::Every(ms) => words.extend([b"EVERY".to_vec(), ms.to_string().into()]),
                Times::Cron { text, zone, .. } => {
                    words.extend([b"CRON".to_vec(), text.to_vec()]);
                    words.extend(zone.iter().flat_map(|zone| [b"ZONE".to_vec(), zone.to_vec()]));
                }
            }
            words.extend([b"PUB".to_vec(), schedule.exchange.to_vec(), schedule.rkey.to_vec(), schedule.body.to_vec()]);
            if !schedule.headers.is_empty() {
                words.extend([b"HEADERS".to_vec(), schedule.headers.len().to_string().into()]);
                words.extend(schedule.headers.iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]));
            }
            commands.push((schedule.db, words));
            if schedule.paused {
                commands.push((schedule.db, vec![b"MQ.SCHEDULE".to_vec(), b"PAUSE".to_vec(), name.to_vec()]));
            }
        }
        commands
    }
}
