//! What `BLIP2_KERNELS` in the environment asks for, read once.

use std::sync::LazyLock;

/// Which code runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Setting {
    /// The best kernels for this processor.
    Automatic,
    /// The same, and tile registers for products of any size, also where those are not worth it.
    Tiles,
    /// The same, and our operations for GPUs also where they are not taken by themselves.
    Gpu,
    /// No kernels: the definitions.
    Composed,
    /// Kernels for at most AVX-512.
    Wide,
    /// Kernels for at most AVX2.
    Middle,
    /// Kernels for what every processor of the architecture has.
    Baseline,
}

/// The setting of this process.
///
/// # Panics
///
/// On a value that is none of `tiles`, `gpu`, `composed`, `avx512`, `avx2` and `baseline`.
pub(crate) fn setting() -> Setting {
    static SETTING: LazyLock<Setting> = LazyLock::new(|| match std::env::var("BLIP2_KERNELS").as_deref() {
        Err(std::env::VarError::NotPresent) | Ok("") => Setting::Automatic,
        Ok("tiles") => Setting::Tiles,
        Ok("gpu") => Setting::Gpu,
        Ok("composed") => Setting::Composed,
        Ok("avx512") => Setting::Wide,
        Ok("avx2") => Setting::Middle,
        Ok("baseline") => Setting::Baseline,
        other => {
            panic!(
                "BLIP2_KERNELS is {other:?}: leave it unset, or say tiles, gpu, composed, avx512, avx2 or baseline"
            )
        }
    });
    *SETTING
}
