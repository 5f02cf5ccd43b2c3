//! GEMM by AMX: products by the tile registers of Intel's AMX, in assembly: Rust has no stable intrinsics for them.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _MM_HINT_ET0, _mm_prefetch};

use super::block::{Initial, Target};
use super::pack::{Digits, PANEL, Tile};

/// Whether processor and system let this process use tiles of bfloat16.
pub(super) fn available() -> bool {
    const NEEDED: u32 = 1 << 22 | 1 << 24;
    let features = if __cpuid(0).eax >= 7 {
        __cpuid_count(7, 0).edx
    } else {
        0
    };
    features & NEEDED == NEEDED && permitted()
}

/// Asks Linux for the registers, which it gives to those who ask: they make the state of a thread 8 KiB larger.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: the call takes two numbers and touches no memory of the process; `syscall` changes rax, rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// All eight tile registers of this thread, until this is dropped: six for results and left operands, two for right ones.
pub(super) struct Configured {
    /// Of results and left operands.
    rows: usize,
    /// Registers belong to the thread.
    _here: std::marker::PhantomData<*const ()>,
}

/// The argument of `ldtilecfg`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configured {
    /// All of them 16 rows of 64 bytes. Call where [`available`].
    pub(super) fn new() -> Self {
        Self::for_rows(PANEL)
    }

    /// So many rows for results and left operands. Call where [`available`].
    pub(super) fn for_rows(rows: usize) -> Self {
        assert!((1..=PANEL).contains(&rows), "a tile has at most 16 rows");
        let mut configuration = Configuration {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        configuration.row_bytes[..8].fill(64);
        configuration.rows[..6].fill(rows as u8);
        configuration.rows[6..8].fill(PANEL as u8);
        // SAFETY: the instruction reads the 64 bytes of the configuration; compiled code never uses these registers.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &configuration, options(readonly, nostack, preserves_flags))
        };
        Self {
            rows,
            _here: std::marker::PhantomData,
        }
    }

    /// Adds the products of rows of pairs, the first blocks of all of them before their second ones, with the tiles of a panel.
    /// There must be as many rows as were asked for.
    pub(super) fn few(&self, tiles: &[Tile], x: &[[u32; PANEL]], sums: &mut [[f32; PANEL]]) {
        assert!(
            sums.len() == self.rows && x.len() >= tiles.len() * self.rows,
            "sums and blocks for all rows"
        );
        if tiles.is_empty() {
            return;
        }
        // SAFETY: the loop reads as many tiles as there are, and as many blocks of each row; there is a sum for each row of
        // the registers, which are configured as long as `self` lives, on its thread.
        unsafe {
            asm!(
                "tileloadd tmm0, [{sums} + {row}]",
                "2:",
                "tileloadd tmm4, [{x} + {row}]",
                "tileloadd tmm6, [{tile} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                // The tile after next, from memory: sooner than the processor guesses.
                ".set .Lline, 0",
                ".rept 16",
                "prefetcht0 [{tile} + 2048 + .Lline]",
                ".set .Lline, .Lline + 64",
                ".endr",
                "add {x}, {step}",
                "add {tile}, 1024",
                "dec {count}",
                "jnz 2b",
                "tilestored [{sums} + {row}], tmm0",
                sums = in(reg) sums.as_mut_ptr(),
                row = in(reg) 64usize,
                x = inout(reg) x.as_ptr() => _,
                step = in(reg) self.rows * size_of::<[u32; PANEL]>(),
                tile = inout(reg) tiles.as_ptr() => _,
                count = inout(reg) tiles.len() => _,
                options(nostack),
            );
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: the instruction gives the registers back that were taken, on the same thread.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// The loop over two panels of each operand, with the steps of one round, and what comes before and after it: sums of
/// four tiles of the target in tmm0 to tmm3.
macro_rules! block {
    ($left:ident, $right:ident, $rounds:ident, $target:ident, $initial:ident, $ahead:ident, $bytes:literal, $step_ahead:literal, [$($step:literal,)+]) => {
        asm!(
            "test {initial}, {initial}",
            "jz 3f",
            "tileloadd tmm0, [{initial} + {initial_stride}]",
            "tileloadd tmm1, [{initial} + {initial_stride} + 64]",
            "lea {initial}, [{initial} + 8*{initial_stride}]",
            "lea {initial}, [{initial} + 8*{initial_stride}]",
            "tileloadd tmm2, [{initial} + {initial_stride}]",
            "tileloadd tmm3, [{initial} + {initial_stride} + 64]",
            "jmp 2f",
            "3:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            $($step,)+
            concat!("add {ahead}, ", $step_ahead),
            concat!("add {left0}, ", $bytes),
            concat!("add {left1}, ", $bytes),
            concat!("add {right0}, ", $bytes),
            concat!("add {right1}, ", $bytes),
            "dec {rounds}",
            "jnz 2b",
            "tilestored [{target} + {stride}], tmm0",
            "tilestored [{target} + {stride} + 64], tmm1",
            "lea {target}, [{target} + 8*{stride}]",
            "lea {target}, [{target} + 8*{stride}]",
            "tilestored [{target} + {stride}], tmm2",
            "tilestored [{target} + {stride} + 64], tmm3",
            initial = inout(reg) $initial.first => _,
            initial_stride = in(reg) $initial.stride * size_of::<f32>(),
            left0 = inout(reg) $left.as_ptr() => _,
            left1 = inout(reg) $left[$left.len() / 2..].as_ptr() => _,
            right0 = inout(reg) $right.as_ptr() => _,
            right1 = inout(reg) $right[$right.len() / 2..].as_ptr() => _,
            row = in(reg) 64usize,
            ahead = inout(reg) $ahead => _,
            rounds = inout(reg) $rounds => _,
            target = inout(reg) $target.first => _,
            stride = in(reg) $target.stride * size_of::<f32>(),
            options(nostack),
        )
    };
}

/// Four tiles of the target from two panels of each operand.
///
/// Of three digits, those six of the nine products count whose places add up to at most the third: the others are below
/// the precision of a number. They are made in the order that keeps most operands in their registers.
///
/// On the way, an eighth of as many bytes as an operand has is fetched from `ahead` on, wherever that is.
///
/// # Safety
///
/// The tiles must be configured, both operands of one length, whole numbers of `digits`, the target valid for writing a
/// block, and `initial` for reading one.
pub(super) unsafe fn block(
    left: &[Tile],
    right: &[Tile],
    ahead: *const Tile,
    digits: Digits,
    target: Target,
    initial: Option<Initial>,
) {
    let rounds = left.len() / 2 / digits.tiles();
    if rounds == 0 {
        return;
    }
    // The target comes while the products are made: it is written behind them.
    for row in 0..2 * PANEL {
        let row = target.first.wrapping_add(row * target.stride);
        // SAFETY: to ask for memory changes nothing, wherever it is; every processor of the architecture can.
        unsafe {
            _mm_prefetch::<_MM_HINT_ET0>(row.cast());
            _mm_prefetch::<_MM_HINT_ET0>(row.wrapping_add(PANEL).cast());
        }
    }
    let initial = initial.unwrap_or(Initial {
        first: std::ptr::null(),
        stride: 0,
    });
    // SAFETY: the loop reads the tiles of each of the four panels; the caller promises the rest.
    unsafe {
        match digits {
            Digits::Single | Digits::Rounded => unreachable!("these tiles hold no digits"),
            Digits::One => block!(
                left,
                right,
                rounds,
                target,
                initial,
                ahead,
                1024,
                256,
                [
                    "prefetcht1 [{ahead}]",
                    "prefetcht1 [{ahead} + 64]",
                    "prefetcht1 [{ahead} + 128]",
                    "prefetcht1 [{ahead} + 192]",
                    "tileloadd tmm4, [{left0} + {row}]",
                    "tileloadd tmm6, [{right0} + {row}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{right1} + {row}]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{left1} + {row}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                ]
            ),
            Digits::Three => block!(
                left,
                right,
                rounds,
                target,
                initial,
                ahead,
                3072,
                768,
                [
                    // First digit of the left, third of the right.
                    "tileloadd tmm4, [{left0} + {row}]",
                    "tileloadd tmm6, [{right0} + {row} + 2048]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{right1} + {row} + 2048]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{left1} + {row}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "prefetcht1 [{ahead}]",
                    "prefetcht1 [{ahead} + 64]",
                    // First and second.
                    "tileloadd tmm6, [{right0} + {row} + 1024]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tileloadd tmm7, [{right1} + {row} + 1024]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "prefetcht1 [{ahead} + 128]",
                    "prefetcht1 [{ahead} + 192]",
                    // Second and second.
                    "tileloadd tmm4, [{left0} + {row} + 1024]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{left1} + {row} + 1024]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "prefetcht1 [{ahead} + 256]",
                    "prefetcht1 [{ahead} + 320]",
                    // Second and first.
                    "tileloadd tmm6, [{right0} + {row}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tileloadd tmm7, [{right1} + {row}]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "prefetcht1 [{ahead} + 384]",
                    "prefetcht1 [{ahead} + 448]",
                    // Third and first.
                    "tileloadd tmm4, [{left0} + {row} + 2048]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{left1} + {row} + 2048]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "prefetcht1 [{ahead} + 512]",
                    "prefetcht1 [{ahead} + 576]",
                    // First and first.
                    "tileloadd tmm4, [{left0} + {row}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{left1} + {row}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "prefetcht1 [{ahead} + 640]",
                    "prefetcht1 [{ahead} + 704]",
                ]
            ),
        }
    }
}
