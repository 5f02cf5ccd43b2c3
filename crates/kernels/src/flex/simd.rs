//! SIMD dispatch (function multiversioning): one function, compiled for several generations of vector units and chosen when it
//! is called.

/// Declares functions whose body is compiled once for each vector unit.
///
/// In the body, `FUSED` tells whether the unit multiplies and adds in one instruction: hand it to [`multiply_add`]
/// and to the functions of [`super::math`]. Loops over slices of known equal length become vector code.
macro_rules! vectorised {
    ($($(#[$meta:meta])* fn $name:ident$(<$lifetime:lifetime>)?($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)+) => {$(
        $(#[$meta])*
        pub(crate) fn $name$(<$lifetime>)?($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body<$($lifetime,)? const FUSED: bool>($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
                fn wide$(<$lifetime>)?($($argument: $type),*) $(-> $result)? {
                    body::<true>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn middle$(<$lifetime>)?($($argument: $type),*) $(-> $result)? {
                    body::<true>($($argument),*)
                }
                match $crate::flex::simd::unit() {
                    // SAFETY: `unit` has found that this processor has what the function is compiled for.
                    $crate::flex::simd::Unit::Wide => return unsafe { wide($($argument),*) },
                    // SAFETY: as above.
                    $crate::flex::simd::Unit::Middle => return unsafe { middle($($argument),*) },
                    $crate::flex::simd::Unit::Baseline => {}
                }
            }
            body::<{ cfg!(target_arch = "aarch64") }>($($argument),*)
        }
    )+};
}
pub(crate) use vectorised;

#[cfg(target_arch = "x86_64")]
use crate::setting::{Setting, setting};

/// The vector units that kernels are compiled for.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// AVX-512.
    Wide,
    /// AVX2 with fused multiply-add and conversion from half precision, which come together.
    Middle,
    /// What every processor of the architecture has.
    Baseline,
}

/// The widest unit of this processor that the setting allows, found once.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn unit() -> Unit {
    static UNIT: std::sync::LazyLock<Unit> = std::sync::LazyLock::new(|| {
        let setting = setting();
        let fused = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (fused, wide) {
            _ if setting == Setting::Baseline => Unit::Baseline,
            (true, true) if setting != Setting::Middle => Unit::Wide,
            (true, _) => Unit::Middle,
            (false, _) => Unit::Baseline,
        }
    });
    *UNIT
}

/// `a * b + c`, in one instruction where there is one: without it, the fused form is a slow library call.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Asks for the cache line of an address before its turn comes. A hint: any address will do.
#[inline(always)]
pub(crate) fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction reads nothing and never fails.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Numbers that reductions keep apart: two of the widest vectors, so that additions need not wait for each other.
pub(crate) const LANES: usize = 32;

/// Reduces three slices of one length by `accumulate` in [`LANES`] independent lanes, from `start`, and the lanes by
/// `combine`. `accumulate` gets the lane's value and an element of each slice; where fewer are wanted, one is given twice.
#[inline(always)]
pub(crate) fn reduce(
    [a, b, c]: [&[f32]; 3],
    start: f32,
    accumulate: impl Fn(f32, [f32; 3]) -> f32,
    combine: impl Fn(f32, f32) -> f32 + Copy,
) -> f32 {
    let count = a.len() / LANES;
    let (whole_a, whole_b, whole_c) = (
        &a.as_chunks::<LANES>().0[..count],
        &b.as_chunks::<LANES>().0[..count],
        &c.as_chunks::<LANES>().0[..count],
    );
    let mut lanes = [start; LANES];
    for chunk in 0..count {
        for lane in 0..LANES {
            let elements = [whole_a[chunk][lane], whole_b[chunk][lane], whole_c[chunk][lane]];
            lanes[lane] = accumulate(lanes[lane], elements);
        }
    }
    let mut total = across(halved(settled(lanes), combine), combine);
    for index in count * LANES..a.len() {
        total = accumulate(total, [a[index], b[index], c[index]]);
    }
    total
}

/// Lanes that go through memory once, at the end of a loop that sums in vectors: otherwise what is done to single lanes
/// afterwards makes the compiler take the vectors of the loop apart.
#[inline(always)]
pub(crate) fn settled<const COUNT: usize>(lanes: [f32; COUNT]) -> [f32; COUNT] {
    std::hint::black_box(lanes)
}

/// All lanes combined into one number.
#[inline(always)]
pub(crate) fn across(lanes: [f32; 16], combine: impl Fn(f32, f32) -> f32 + Copy) -> f32 {
    let lanes: [f32; 8] = halved(lanes, combine);
    let [a, b, c, d]: [f32; 4] = halved(lanes, combine);
    combine(combine(a, c), combine(b, d))
}

/// The first half of the lanes combined with the second.
#[inline(always)]
pub(crate) fn halved<const WHOLE: usize, const HALF: usize>(
    lanes: [f32; WHOLE],
    combine: impl Fn(f32, f32) -> f32 + Copy,
) -> [f32; HALF] {
    let mut half = [0.0; HALF];
    for lane in 0..HALF {
        half[lane] = combine(lanes[lane], lanes[HALF + lane]);
    }
    half
}
