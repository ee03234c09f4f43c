//! How ready the kernel is to kill this process when memory runs out: `oom-score-adj`, `oom-score-adj-values`.

use std::io;
use std::path::PathBuf;

/// `oom-score-adj`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomScoreMode {
    /// `no`: as it was before it was changed.
    No,
    /// `relative` or `yes`: the value is added to what it was before.
    Relative,
    /// `absolute`: the value is what is written.
    Absolute,
}

impl OomScoreMode {
    /// The mode of that name in the configuration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<OomScoreMode> {
        match name.to_ascii_lowercase().as_str() {
            "no" => Some(OomScoreMode::No),
            "yes" | "relative" => Some(OomScoreMode::Relative),
            "absolute" => Some(OomScoreMode::Absolute),
            _ => None,
        }
    }
}

/// Which of the three values of `oom-score-adj-values` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessClass {
    /// A server that takes writes.
    Primary = 0,
    /// A server that follows another.
    Replica = 1,
    /// A process that saves or checks in the background.
    Background = 2,
}

/// The process's score, and what it was before it was changed.
#[derive(Debug)]
pub struct OomScore {
    path: PathBuf,
    /// Read when the first change is made, and forgotten when that is taken back: somebody else may change it then.
    before: Option<i32>,
}

impl Default for OomScore {
    fn default() -> OomScore {
        OomScore { path: PathBuf::from("/proc/self/oom_score_adj"), before: None }
    }
}

impl OomScore {
    /// Applies the configuration (values from -2000 to 2000) for the class of process that this is now. The result is
    /// kept within the kernel's -1000 to 1000. `No` writes back what was there before, if it was changed.
    ///
    /// Errors: the kernel refuses; to lower the score takes privileges (`CAP_SYS_RESOURCE`).
    pub fn apply(&mut self, mode: OomScoreMode, values: [i32; 3], class: ProcessClass) -> io::Result<()> {
        let value = values[class as usize];
        let before = match (mode, self.before) {
            (OomScoreMode::No, None) => return Ok(()),
            (_, Some(before)) => before,
            (_, None) => {
                let text = std::fs::read_to_string(&self.path)?;
                text.trim().parse().map_err(|_| io::Error::other(format!("unexpected score '{}'", text.trim())))?
            }
        };
        let score = match mode {
            OomScoreMode::No => before,
            OomScoreMode::Relative => before.saturating_add(value),
            OomScoreMode::Absolute => value,
        };
        std::fs::write(&self.path, score.clamp(-1000, 1000).to_string())?;
        self.before = (mode != OomScoreMode::No).then_some(before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_follow_mode_and_class_and_come_back() {
        let path = std::env::temp_dir().join(format!("weir-oom-{}", std::process::id()));
        std::fs::write(&path, "50\n").unwrap();
        let mut score = OomScore { path: path.clone(), before: None };
        let values = [0, 200, 2000];
        for (mode, class, expected) in [
            (OomScoreMode::No, ProcessClass::Replica, "50\n"),
            (OomScoreMode::Relative, ProcessClass::Replica, "250"),
            (OomScoreMode::Relative, ProcessClass::Primary, "50"),
            (OomScoreMode::Absolute, ProcessClass::Background, "1000"),
            (OomScoreMode::Absolute, ProcessClass::Replica, "200"),
            (OomScoreMode::No, ProcessClass::Replica, "50"),
        ] {
            score.apply(mode, values, class).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "{mode:?} {class:?}");
        }
        // While it is off, what somebody else writes stays, and is what the next change begins with.
        std::fs::write(&path, "22").unwrap();
        for (mode, expected) in [(OomScoreMode::No, "22"), (OomScoreMode::Relative, "222"), (OomScoreMode::No, "22")] {
            score.apply(mode, values, ProcessClass::Replica).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(OomScoreMode::from_name("YES"), Some(OomScoreMode::Relative));
        assert_eq!(OomScoreMode::from_name("maybe"), None);
    }

    #[test]
    fn this_process_may_make_itself_likelier_to_be_killed() {
        let mut score = OomScore::default();
        score.apply(OomScoreMode::Relative, [0, 1, 2], ProcessClass::Primary).unwrap();
        score.apply(OomScoreMode::No, [0, 1, 2], ProcessClass::Primary).unwrap();
    }
}
