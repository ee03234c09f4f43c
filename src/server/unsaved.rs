//! What follows where data cannot be saved, or are not worth saving any more: changes are refused while snapshots fail, and
//! when everything was flushed the snapshot of before is replaced by an empty one.

use super::Server;
use super::gates::Armed;
use crate::command::error::Error;

impl Server {
    /// Why nothing may be changed now, by a client or a script; `None` if it may.
    pub(super) fn write_refusal(&self) -> Option<Error> {
        let snapshots_fail = !self.snapshots.last_ok;
        let minds = self.config.stop_writes_on_bgsave_error && !self.config.save.is_empty();
        if snapshots_fail && minds {
            return Some(Error::MISCONF_SNAPSHOT);
        }
        self.append_only_failure().map(Error::append_only_fails)
    }

    /// Arms the gate that refuses changes, or disarms it; in every turn.
    #[inline]
    pub(super) fn mind_unsaved(&mut self) {
        let is_due = self.write_refusal().is_some();
        self.armed.set(Armed::UNSAVED, is_due);
    }

    /// Everything was flushed: what a snapshot would save is gone, and where there are save points the file of before must not
    /// bring it back.
    #[cold]
    pub(super) fn all_flushed(&mut self) {
        self.cancel_rdb_snapshot();
        self.begin_base_anew();
        if !self.config.save.is_empty() {
            // The log says why it failed; what is in memory is right all the same.
            let _ = self.save_snapshot();
        }
    }
}
