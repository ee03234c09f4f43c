//! Loops compiled for several widths of vectors, of which the widest that the processor can run is called.
//!
//! A kernel is a plain safe function whose loops the compiler turns into vector instructions. It is compiled once as it is
//! and once more for each set of instructions below; calling one of those copies is the only unsafe step. What this pays
//! is measured by `cargo bench -p weir-structs --bench bitmaps`.

/// Calls the copy of `$kernel` that was compiled for the widest vectors of this processor.
macro_rules! widest {
    ($($(#[$note:meta])* fn $name:ident($($arg:ident: $kind:ty),*) $(-> $out:ty)? = $kernel:ident;)*) => {$(
        $(#[$note])*
        #[inline]
        fn $name($($arg: $kind),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")]
                fn avx512($($arg: $kind),*) $(-> $out)? {
                    $kernel($($arg),*)
                }
                #[target_feature(enable = "avx2,popcnt")]
                fn avx2($($arg: $kind),*) $(-> $out)? {
                    $kernel($($arg),*)
                }
                if is_x86_feature_detected!("avx512vpopcntdq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the processor has the instructions that this copy is compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
                    // SAFETY: likewise.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $kernel($($arg),*)
        }
    )*};
}

pub(crate) use widest;
