//! The vector units of processors, and how programs are held to one of them: so one machine measures and proves all units
//! up to its own.

use std::fmt;
use std::process::Command;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// The variable that says which kernels of ours run.
pub(crate) const KERNELS: &str = "BLIP2_KERNELS";

/// What multiplies, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unit {
    /// Intel's AMX: tile registers of bfloat16
    Amx,
    /// AVX-512, with its instructions for bfloat16 where the processor has them
    Avx512,
    /// AVX2 with FMA
    Avx2,
    /// SSE2 of every x86-64 processor
    Baseline,
    /// What an Arm processor has
    Neon,
}

impl Unit {
    /// All units, the best first.
    pub(crate) const ALL: [Self; 5] = [Self::Amx, Self::Avx512, Self::Avx2, Self::Baseline, Self::Neon];

    /// The unit that was asked for, else the best of this machine.
    ///
    /// # Errors
    /// This machine has not the one that was asked for.
    pub(crate) fn choose(asked: Option<Self>) -> Result<Self> {
        let present: Vec<Self> = Self::present().collect();
        match (asked, present.first()) {
            (Some(unit), _) if present.contains(&unit) => Ok(unit),
            (None, Some(best)) => Ok(*best),
            (None, None) => bail!("nothing is known of the vector units of this processor"),
            (Some(unit), _) => {
                let names: Vec<&str> = present.iter().map(|unit| unit.name()).collect();
                bail!(
                    "this processor has no {} ({unit}): what it can be held to is {}",
                    unit.title(),
                    names.join(", ")
                )
            }
        }
    }

    /// The units of this machine, the best first.
    pub(crate) fn present() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|unit| unit.is_present())
    }

    /// As it is named on the command line and in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Baseline => "baseline",
            Self::Neon => "neon",
        }
    }

    /// As it is written above a table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Amx => "AMX",
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Baseline => "SSE2",
            Self::Neon => "NEON",
        }
    }

    /// Whether PyTorch multiplies numbers in bfloat16 by instructions: without, it takes thirty times as long as in f32.
    pub(crate) fn multiplies_bf16(self) -> bool {
        !matches!(self, Self::Avx2 | Self::Baseline)
    }

    /// Keeps our program within this unit.
    pub(crate) fn hold_ours(self, command: &mut Command) {
        let kernels = match self {
            Self::Amx | Self::Neon => "",
            Self::Avx512 | Self::Avx2 | Self::Baseline => self.name(),
        };
        set(command, KERNELS, kernels);
    }

    /// Keeps PyTorch and the libraries that it multiplies with within this unit.
    pub(crate) fn hold_peer(self, command: &mut Command) {
        // MKL's name for AMX changes with its generations: what it finds by itself is no more than that.
        let [onednn, aten, mkl] = match self {
            Self::Amx => ["AVX512_CORE_AMX", "avx512", ""],
            Self::Avx512 => ["AVX512_CORE_BF16", "avx512", "AVX512"],
            Self::Avx2 => ["AVX2", "avx2", "AVX2"],
            Self::Baseline => ["SSE41", "default", "SSE4_2"],
            Self::Neon => [""; 3],
        };
        set(command, "ONEDNN_MAX_CPU_ISA", onednn);
        set(command, "ATEN_CPU_CAPABILITY", aten);
        set(command, "MKL_ENABLE_INSTRUCTIONS", mkl);
        // On AMD's processors MKL takes AVX2 whatever it is allowed, but for the branch that it has for all.
        let branch = match self {
            Self::Baseline => "COMPATIBLE",
            _ => "",
        };
        set(command, "MKL_CBWR", branch);
        // What a user has set for NumPy's library says nothing of the unit.
        for variable in ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"] {
            command.env_remove(variable);
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_present(self) -> bool {
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match self {
            Self::Amx => wide && flags().iter().any(|flag| flag == "amx_bf16"),
            Self::Avx512 => wide,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Baseline => true,
            Self::Neon => false,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_present(self) -> bool {
        self == Self::Neon && cfg!(target_arch = "aarch64")
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What the kernel says that the processor has: the compiler's own test knows no tile registers yet.
#[cfg(target_arch = "x86_64")]
fn flags() -> Vec<String> {
    let flags = fact("flags").unwrap_or_default();
    flags.split_whitespace().map(str::to_owned).collect()
}

/// The processor's name, as the kernel has it.
pub(crate) fn processor() -> String {
    fact("model name").unwrap_or_else(|| format!("a processor of {}", std::env::consts::ARCH))
}

/// What the kernel says of the first processor under this name.
fn fact(name: &str) -> Option<String> {
    let facts = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut facts = facts.lines().filter_map(|line| line.split_once(':'));
    facts.find_map(|(known, fact)| (known.trim() == name).then(|| fact.trim().to_owned()))
}

/// The unit that our program works with: the one that the environment holds it to, else the best.
pub(crate) fn at_work() -> String {
    let held = std::env::var(KERNELS).unwrap_or_default();
    let held = Unit::ALL.into_iter().find(|unit| unit.name() == held);
    match held.or_else(|| Unit::present().next()) {
        Some(unit) => unit.title().to_owned(),
        None => "an unknown unit".to_owned(),
    }
}

/// Gives the process a variable, or with an empty value takes it away.
fn set(command: &mut Command, variable: &str, value: &str) {
    match value {
        "" => command.env_remove(variable),
        _ => command.env(variable, value),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_measures_its_best_unit_unless_it_is_told_otherwise() {
        let best = Unit::choose(None).unwrap();
        assert_eq!(Unit::choose(Some(best)).unwrap(), best);
        let none = match cfg!(target_arch = "x86_64") {
            true => Unit::Neon,
            false => Unit::Avx2,
        };
        let error = Unit::choose(Some(none)).unwrap_err().to_string();
        assert!(
            error.contains(none.title()) && error.contains(best.name()),
            "{error}"
        );
    }

    #[test]
    fn both_sides_are_held_to_the_same_unit() {
        let told = |unit: Unit| {
            let mut command = Command::new("none");
            unit.hold_ours(&mut command);
            unit.hold_peer(&mut command);
            let told = command
                .get_envs()
                .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?)));
            told.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            told(Unit::Avx2),
            "ATEN_CPU_CAPABILITY=avx2 BLIP2_KERNELS=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2"
        );
        assert_eq!(told(Unit::Neon), "");
    }
}
