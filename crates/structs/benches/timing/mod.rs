//! How long steps take: of the processor, so that what else runs on the machine does not count.

use std::time::Duration;

/// Does something so many times, and prints the mean and the longest time of a step.
pub(crate) fn each(what: &str, times: usize, mut step: impl FnMut(usize)) {
    let (mut longest, began) = (Duration::ZERO, processor_time());
    let mut before = began;
    // One reading of the clock for several steps: it costs as much as a step.
    for number in 0..times {
        step(number);
        if number % 32 == 31 {
            let now = processor_time();
            longest = longest.max(now - before);
            before = now;
        }
    }
    report(what, times, processor_time() - began, longest);
}

/// Prints the mean and the longest time of so many steps.
pub(crate) fn report(what: &str, times: usize, took: Duration, longest: Duration) {
    let mean = took.as_nanos() as f64 / times.max(1) as f64;
    println!("{what:<28}{mean:>9.1} ns    longest {longest:?}");
}

/// What this thread has used of a processor.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is there on Linux, and the pointer is to a place for its reading.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
