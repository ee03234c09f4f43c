//! Unix milliseconds as a date on the operator's wall.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment, with the calendar of the local time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LocalTime {
    pub(super) unix_ms: i64,
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
    /// East of Greenwich.
    pub(super) utc_offset_s: i64,
}

/// The system clock; before 1970 counts as 1970.
pub(super) fn unix_now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl LocalTime {
    /// The time zone is the one of `TZ` or the system, as the C library knows it.
    pub(super) fn at(unix_ms: i64) -> LocalTime {
        let seconds: libc::time_t = unix_ms.div_euclid(1_000);
        let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
        // SAFETY: both pointers are to live locals of the right types, and localtime_r keeps neither.
        let found = unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
        // SAFETY: all-zero bytes are a valid `tm` (integers and a null pointer), whatever localtime_r wrote over them.
        let parts = unsafe { parts.assume_init() };
        if found.is_null() {
            return LocalTime { unix_ms, ..LocalTime::EPOCH };
        }
        // The C library keeps these within a calendar's ranges.
        let small = |value: libc::c_int| u8::try_from(value).unwrap_or(0);
        LocalTime {
            unix_ms,
            year: i64::from(parts.tm_year) + 1900,
            month: small(parts.tm_mon).min(11) + 1,
            day: small(parts.tm_mday),
            hour: small(parts.tm_hour),
            minute: small(parts.tm_min),
            second: small(parts.tm_sec),
            utc_offset_s: parts.tm_gmtoff,
        }
    }

    /// Stands in where a year does not fit the C library's integers.
    pub(super) const EPOCH: LocalTime =
        LocalTime { unix_ms: 0, year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, utc_offset_s: 0 };

    pub(super) fn month_name(&self) -> &'static str {
        const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        NAMES[usize::from(self.month.clamp(1, 12)) - 1]
    }

    pub(super) fn millisecond(&self) -> i64 {
        self.unix_ms.rem_euclid(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_and_the_offset_agree_with_the_unix_time() {
        for unix_ms in [0, 951_782_400_123, 1_795_350_640_111, 4_102_444_799_999] {
            let time = LocalTime::at(unix_ms);
            // Days from the civil date, by Howard Hinnant's formula.
            let (year, month) = (time.year - i64::from(time.month <= 2), i64::from(time.month));
            let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(time.day) - 1;
            let year_of_era = year.rem_euclid(400);
            let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
            let days = year.div_euclid(400) * 146_097 + day_of_era - 719_468;
            let seconds =
                days * 86_400 + i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second)
                    - time.utc_offset_s;
            assert_eq!(seconds * 1_000 + time.millisecond(), unix_ms);
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_not_a_panic() {
        LocalTime::at(i64::MAX);
        LocalTime::at(i64::MIN);
    }
}
