//! CPU dispatch of matrix products: which part of the processor multiplies.

use std::sync::LazyLock;

/// The parts of processors that multiply numbers in bfloat16, and the one that every processor has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    /// Intel's AMX: products of tiles.
    #[cfg(target_arch = "x86_64")]
    Tiles,
    /// Products of pairs: AVX-512 BF16, with VNNI for those of four bytes; on Arm, `bfdot`.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Pairs,
    /// Single precision.
    Single,
}

/// The best of this processor that the setting allows, found once.
pub(super) fn unit() -> Unit {
    static UNIT: LazyLock<Unit> = LazyLock::new(find);
    *UNIT
}

/// Whether there is a unit for bfloat16.
pub(crate) fn multiplies() -> bool {
    unit() != Unit::Single
}

/// Whether tile registers multiply: the one unit that is fast enough to make products in single precision of digits.
pub(crate) fn in_tiles() -> bool {
    #[cfg(target_arch = "x86_64")]
    return unit() == Unit::Tiles;
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn find() -> Unit {
    Unit::Single
}

#[cfg(target_arch = "aarch64")]
fn find() -> Unit {
    use crate::setting::{Setting, setting};

    let allowed = setting() != Setting::Baseline;
    match allowed && std::arch::is_aarch64_feature_detected!("bf16") {
        true => Unit::Pairs,
        false => Unit::Single,
    }
}

#[cfg(target_arch = "x86_64")]
fn find() -> Unit {
    use crate::flex::simd;
    use crate::setting::{Setting, setting};

    let wide = matches!(simd::unit(), simd::Unit::Wide);
    if !(wide && is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni")) {
        return Unit::Single;
    }
    if matches!(setting(), Setting::Automatic | Setting::Tiles | Setting::Gpu) && super::tiles::available() {
        Unit::Tiles
    } else {
        Unit::Pairs
    }
}
