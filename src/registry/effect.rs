//! What is repeated of changes in stores: revisions, times and numbers as they were.
//!
//! ```text
//!  CFG.EFFECT PUT store epoch revision time-ms path value lease flags
//!  CFG.EFFECT DEL store epoch revision time-ms path*
//!  CFG.EFFECT DELPREFIX store epoch revision time-ms prefix
//!  CFG.EFFECT GRANT store epoch id ttl-ms TIME|CONN
//!  CFG.EFFECT REVOKE store id
//!  CFG.EFFECT SET store epoch option value
//!  CFG.EFFECT COMPACT store revision
//!  CFG.EFFECT EPOCH store epoch
//!  CFG.EFFECT PIECE store piece      a part of all that is in a store, which follow each other
//!  CFG.EFFECT WHOLE store            it is there, of the pieces before
//! ```
//!
//! Records of one revision follow each other; the first with a higher one ends it. Where a record makes a store, it has the
//! epoch that the record says.

use super::Registry;
use super::options::set_option;
use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::ground::Ground;
use weir_structs::number::parse_u64;
use weir_structs::pieces::BigPieces;
use weir_structs::queue::ParcelPool;
use weir_structs::tree::{REVISION_MAX, Revision, Tree, Write, check_stored_path};

/// Revisions and epochs are below this, so that replies and signed counters of clients hold them.
const NUMBER_MAX: u64 = i64::MAX as u64;

impl Registry {
    /// Does what an effect says. `words` begin behind `CFG.EFFECT`.
    ///
    /// # Errors
    /// It is not what this server writes; what stands in front of the mistake is done.
    pub fn repeat_effect(&mut self, ground: &mut Ground<'_>, mut words: Words<'_>) -> Result<(), Error> {
        let (which, store) = (words.expect()?, words.expect()?);
        let words = &mut words;
        match which.to_ascii_uppercase().as_slice() {
            b"PUT" => {
                let (epoch, revision, time_ms) = (number(words)?, number(words)?, number(words)?);
                let (path, value) = (words.expect()?, words.expect()?);
                let (lease, flags) = (number(words)?, unsigned(words)?);
                self.repeat(ground, store, Some(epoch), |tree| {
                    let fits = fits(tree, revision) && check_stored_path(path).is_ok();
                    fits && tree.write(revision, time_ms, Write::Put { path, value, lease, flags })
                })?;
            }
            b"DEL" => {
                let (epoch, revision, time_ms) = (number(words)?, number(words)?, number(words)?);
                while words.left() > 0 {
                    let path = words.expect()?;
                    self.repeat(ground, store, Some(epoch), |tree| {
                        fits(tree, revision) && tree.write(revision, time_ms, Write::Del { path })
                    })?;
                }
            }
            b"DELPREFIX" => {
                let (epoch, revision, time_ms) = (number(words)?, number(words)?, number(words)?);
                let prefix = words.expect()?;
                self.repeat(ground, store, Some(epoch), |tree| {
                    fits(tree, revision) && tree.delete_prefix(revision, time_ms, prefix) > 0
                })?;
            }
            b"GRANT" => {
                let (epoch, id, ttl_ms) = (number(words)?, number(words)?, number(words)?);
                let conn = match words.expect()? {
                    b"CONN" => true,
                    b"TIME" => false,
                    _ => return Err(Error::CFG_EFFECT),
                };
                let due_ms = ground.now_ms().saturating_add(ttl_ms);
                self.repeat(ground, store, Some(epoch), |tree| id > 0 && tree.grant(id, ttl_ms, conn, due_ms))?;
                self.lease_granted(ground, store);
            }
            b"REVOKE" => {
                let id = number(words)?;
                self.repeat(ground, store, None, |tree| tree.forget_lease(id))?;
                self.lease_ended(ground, store, id);
            }
            b"SET" => {
                let (epoch, name, value) = (number(words)?, words.expect()?, words.expect()?);
                self.repeat(ground, store, Some(epoch), |tree| set_option(tree.options_mut(), name, value).is_ok())?;
            }
            b"COMPACT" => {
                let revision = number(words)?;
                self.repeat(ground, store, None, |tree| tree.compact(revision))?;
                self.note_untidy(ground, store);
            }
            b"EPOCH" => {
                let epoch = number(words)?;
                self.repeat(ground, store, Some(epoch), |_| true)?;
            }
            b"PIECE" => {
                let piece = words.expect()?;
                let key = (ground.db, Box::from(store));
                let mut pieces = self.unfinished.remove(&key).unwrap_or_else(BigPieces::tree);
                pieces.take(piece, &mut ParcelPool::default()).ok_or(Error::CFG_EFFECT)?;
                self.unfinished.insert(key, pieces);
            }
            b"WHOLE" => {
                let begun = self.unfinished.remove(&(ground.db, Box::from(store)));
                let big = begun.and_then(BigPieces::finish).ok_or(Error::CFG_EFFECT)?;
                let key = ground.store.key(store);
                ground.store.db(ground.db).put_big(key, big);
                ground.effects.changed(1);
            }
            _ => return Err(Error::SYNTAX),
        }
        if words.left() > 0 { Err(Error::SYNTAX) } else { Ok(()) }
    }

    /// Lets `change` do something to a store again, which says whether it fits. It is made if it is missing and its epoch is
    /// known.
    fn repeat(
        &mut self,
        ground: &mut Ground<'_>,
        store: &[u8],
        epoch: Option<u64>,
        change: impl FnOnce(&mut Tree) -> bool,
    ) -> Result<(), Error> {
        let key = ground.store.key(store);
        match ground.store.db(ground.db).get_mut(key) {
            Some(mut entry) => entry.try_change(|value| {
                let Some(mut tree) = value.tree_mut() else { return (false, Err(Error::WRONG_TYPE)) };
                if let Some(epoch) = epoch.filter(|epoch| *epoch != tree.epoch()) {
                    tree.set_epoch(epoch);
                }
                if change(&mut tree) { (true, Ok(())) } else { (false, Err(Error::CFG_EFFECT)) }
            })?,
            None => {
                let mut tree = Tree::new(epoch.ok_or(Error::CFG_NO_STORE)?);
                if !change(&mut tree) {
                    return Err(Error::CFG_EFFECT);
                }
                self.settle_new(ground, store, tree);
            }
        }
        ground.effects.changed(1);
        Ok(())
    }
}

/// Whether a write of this revision may follow.
fn fits(tree: &Tree, revision: Revision) -> bool {
    (1..=REVISION_MAX).contains(&revision) && revision >= tree.revision()
}

fn unsigned(words: &mut Words<'_>) -> Result<u64, Error> {
    parse_u64(words.expect()?).ok_or(Error::CFG_EFFECT)
}

/// The same of what is below [`NUMBER_MAX`].
fn number(words: &mut Words<'_>) -> Result<u64, Error> {
    Some(unsigned(words)?).filter(|number| *number < NUMBER_MAX).ok_or(Error::CFG_EFFECT)
}
