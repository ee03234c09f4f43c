//! Transparent huge pages, which cost memory and latency where small pieces of memory are touched at random.

use std::io;

/// Keeps the kernel from giving this process (and its children) transparent huge pages: `disable-thp yes`.
///
/// Where only who asks gets them, libraries do ask, so there too. Does nothing where the kernel has them off. Returns whether something was changed. Errors: the
/// kernel refuses; the server tells so and goes on.
pub fn disable_huge_pages() -> io::Result<bool> {
    const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    // No such file means no such feature.
    let possible = std::fs::read_to_string(SETTING).is_ok_and(|text| !text.contains("[never]"));
    if !possible {
        return Ok(false);
    }
    let on: libc::c_ulong = 1;
    let unused: libc::c_ulong = 0;
    // SAFETY: this request takes plain integers.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_can_be_refused_without_privileges() {
        disable_huge_pages().unwrap();
    }
}
