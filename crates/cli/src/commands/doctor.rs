//! `blip2 doctor`

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use blip2::home;
use clap::Args;

use crate::device::DeviceChoice;
use crate::output;

/// What `cargo xtask assets` puts under `assets` in the home folder.
const ASSETS: [(&str, &str); 9] = [
    ("vit-s/vit_s_focus.onnx", "image encoder"),
    ("bert/model.safetensors", "first weights of the Q-Former"),
    ("bert/vocab.txt", "vocabulary of the Q-Former"),
    ("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "language model"),
    ("noto/icons.json", "drawings"),
    ("fluent-emoji/icons.json", "drawings"),
    ("twemoji/icons.json", "drawings"),
    ("openmoji/icons.json", "drawings"),
    ("cldr/annotations.json", "names of the drawings"),
];

#[derive(Args)]
#[command(
    after_help = "Each line says `ok` or `missing`, and what to do. Exit code 1 where something is missing."
)]
pub(crate) struct Doctor {
    /// Device to check
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
}

/// One line of the report.
struct Finding {
    what: String,
    /// What was found; or what is wrong, and what to do.
    state: Result<String, String>,
}

impl Doctor {
    pub(crate) fn run(self) -> Result<()> {
        let mut findings = vec![self.device(), threads(), processor()];
        match home() {
            Ok(home) => {
                findings.push(folder(&home));
                findings.extend(ASSETS.map(|(path, what)| asset(&home.join("assets").join(path), what)));
            }
            Err(error) => findings.push(Finding {
                what: "home".to_owned(),
                state: Err(error.to_string()),
            }),
        }
        for Finding { what, state } in &findings {
            let (word, detail) = match state {
                Ok(detail) => ("ok     ", detail),
                Err(detail) => ("missing", detail),
            };
            output::line(format_args!("{word}  {what}: {detail}"))?;
        }
        match findings.iter().filter(|finding| finding.state.is_err()).count() {
            0 => Ok(()),
            1 => bail!("one thing is missing; its line above says what to do"),
            count => bail!("{count} things are missing; their lines above say what to do"),
        }
    }

    /// A device that computes what it should.
    fn device(&self) -> Finding {
        let opened = self.device.open();
        Finding {
            what: "device".to_owned(),
            state: opened
                .map(|device| format!("{device:?} computes as it should"))
                .map_err(|error| format!("{error:#}")),
        }
    }
}

fn threads() -> Finding {
    let limit = std::env::var("RAYON_NUM_THREADS")
        .ok()
        .filter(|limit| !limit.is_empty());
    let cores = std::thread::available_parallelism().map_err(|error| error.to_string());
    let state = cores.map(|cores| match limit {
        Some(limit) => format!("{cores} cores, of which RAYON_NUM_THREADS allows {limit}"),
        None => format!("{cores} cores, all used (RAYON_NUM_THREADS sets fewer)"),
    });
    Finding {
        what: "threads".to_owned(),
        state,
    }
}

/// Wide vectors make the difference between minutes and an hour of training.
fn processor() -> Finding {
    let found: Vec<&str> = features()
        .into_iter()
        .filter_map(|(name, has)| has.then_some(name))
        .collect();
    let state = if found.is_empty() {
        Err(
            "no wide vector instructions (AVX2 or NEON): everything works, but slowly; use another machine"
                .to_owned(),
        )
    } else {
        Ok(format!("{} with {}", std::env::consts::ARCH, found.join(", ")))
    };
    Finding {
        what: "processor".to_owned(),
        state,
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("FMA", std::arch::is_x86_feature_detected!("fma")),
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![("NEON", std::arch::is_aarch64_feature_detected!("neon"))]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

fn folder(home: &Path) -> Finding {
    let state = if home.is_dir() {
        Ok(home.display().to_string())
    } else {
        Err(format!(
            "{} is not there: `cargo xtask assets` makes it",
            home.display()
        ))
    };
    Finding {
        what: "home".to_owned(),
        state,
    }
}

fn asset(file: &PathBuf, what: &str) -> Finding {
    let state = match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() > 0 => Ok(format!(
            "{} ({:.1} MB)",
            file.display(),
            metadata.len() as f64 / 1e6
        )),
        Ok(_) => Err(format!(
            "{} is empty: `cargo xtask assets` fetches it again",
            file.display()
        )),
        Err(_) => Err(format!("{}: `cargo xtask assets` fetches it", file.display())),
    };
    Finding {
        what: what.to_owned(),
        state,
    }
}
