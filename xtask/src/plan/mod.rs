//! `cargo xtask plan`: what a recipe costs, before anything is fetched or run.

mod cost;
mod recipe;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::places;
use cost::Phase;
use recipe::{Sized, Stage};

/// The paper's machine: 16 A100-40G (312 TFLOP/s each in half precision), and the days that each stage of its largest model took
/// at most.
const PAPER_DEVICES: f64 = 16.0;
const PAPER_PEAK: f64 = 312e12;
const PAPER_DAYS: [f64; 2] = [6.0, 3.0];
const DAY: f64 = 86_400.0;

/// Arguments of `cargo xtask plan`.
#[derive(Args)]
pub(crate) struct Plan {
    /// Recipe whose cost is asked for
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Devices side by side, each with as many parts of the batch
    #[arg(long, value_name = "N", default_value_t = 1)]
    devices: u64,
    /// What a device really computes, in TFLOP/s: 40% of its peak is much, 15% is common
    #[arg(long, value_name = "X")]
    tflops: f64,
    /// Size of a stored picture, in kB
    #[arg(long, value_name = "KB", default_value_t = 50.0)]
    picture: f64,
    /// Print one object a stage
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.tflops <= 0.0 || self.tflops.is_nan() || self.devices == 0 {
            bail!("--tflops must be above 0 and --devices at least 1");
        }
        let sized = Sized::read(&self.recipe, &places::root().join("recipes/models.toml"))?;
        let stages = [
            ("stage 1", Phase::Representation, &sized.recipe.stage1),
            ("stage 2", Phase::Generative, &sized.recipe.stage2),
        ];
        let mut planned = 0;
        for (number, (name, phase, stage)) in stages.into_iter().enumerate() {
            let Some(stage) = stage else { continue };
            if phase == Phase::Generative && sized.language_model.is_none() {
                bail!("the recipe has a stage2, but no [language_model]");
            }
            let estimate = self.estimate(&sized, phase, stage, PAPER_DAYS[number])?;
            match self.json {
                true => println!("{}", estimate.json(name)),
                false => print!("{}", estimate.text(name)),
            }
            planned += 1;
        }
        if planned == 0 {
            bail!("the recipe has neither stage1 nor stage2");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn estimate<'s>(&self, sized: &Sized, phase: Phase, stage: &'s Stage, days: f64) -> Result<Estimate<'s>> {
        let Stage {
            steps, batch, parts, ..
        } = *stage;
        if parts == 0 || !batch.is_multiple_of(parts) {
            bail!("a batch of {batch} cannot be cut in {parts} equal parts");
        }
        if !parts.is_multiple_of(self.devices) {
            bail!(
                "{parts} parts cannot be shared out to {} devices: each takes as many whole parts",
                self.devices
            );
        }
        let (devices, pairs) = (self.devices as f64, (batch / parts) as f64);
        let samples = (steps * batch) as f64;
        let shares = sized.shares(phase, stage);
        let compute: Vec<(&'static str, f64)> = shares.iter().map(|share| (share.name, share.flop)).collect();
        let flop: f64 = shares.iter().map(|share| share.flop).sum();
        let seconds = flop * samples / (devices * self.tflops * 1e12);
        let rate = samples / seconds;
        Ok(Estimate {
            stage,
            trained: sized.trained(phase),
            hours: seconds / 3600.0,
            rate,
            step_seconds: seconds / steps as f64,
            memory: sized.memory(phase, pairs, stage),
            network: sized.network(phase, devices, (batch / self.devices) as f64),
            reads: rate * self.picture * 1e3,
            feature_bytes: sized.feature_bytes(),
            paper: flop * samples / (PAPER_DEVICES * days * DAY),
            paper_days: days,
            compute,
            devices: self.devices,
        })
    }
}

/// The costs of a stage.
struct Estimate<'s> {
    stage: &'s Stage,
    devices: u64,
    trained: u64,
    /// Operations a pair.
    compute: Vec<(&'static str, f64)>,
    hours: f64,
    /// Pairs a second, all devices together.
    rate: f64,
    step_seconds: f64,
    /// Bytes of a device.
    memory: Vec<(&'static str, f64)>,
    /// Bytes that a device receives in a step.
    network: Vec<(&'static str, f64)>,
    /// Bytes a second of stored pictures, all devices together.
    reads: f64,
    feature_bytes: f64,
    /// Operations a second that each of the paper's devices needs at least for this in the paper's time.
    paper: f64,
    paper_days: f64,
}

fn sum(shares: &[(&'static str, f64)]) -> f64 {
    shares.iter().map(|(_, value)| value).sum()
}

impl Estimate<'_> {
    fn text(&self, name: &str) -> String {
        let Stage {
            steps, batch, parts, ..
        } = self.stage;
        let samples = (steps * batch) as f64;
        let rows = |shares: &[(&'static str, f64)], scale: f64, unit: &str| -> String {
            let line =
                |(name, value): &(&str, f64)| format!("    {name:<36} {:>10.2} {unit}\n", value / scale);
            shares.iter().map(line).collect()
        };
        format!(
            "{name}: {steps} steps of {batch} pairs in {parts} parts of {}, {:.1} million samples, {} trained parameters\n\
             \x20 operations a pair, {:.1} GFLOP; {:.1} TFLOP a step\n{}\
             \x20 memory of a device, about {:.1} GB\n{}\
             \x20 received by each of {} devices in a step, {:.1} MB\n{}\
             \x20 pictures read: {:.0} a second, {:.1} MB/s; stored features instead: {:.1} kB a picture, {:.1} GB/s\n\
             \x20 {:.2} s a step, {:.1} hours ({:.1} days)\n\
             \x20 the paper took at most {} days on 16 A100 for its largest model: {:.1} TFLOP/s from each would do this in that \
             time, {:.0}% of its peak\n",
            batch / parts,
            samples / 1e6,
            self.trained,
            sum(&self.compute) / 1e9,
            sum(&self.compute) * *batch as f64 / 1e12,
            rows(&self.compute, 1e9, "GFLOP"),
            sum(&self.memory) / 1e9,
            rows(&self.memory, 1e9, "GB"),
            self.devices,
            sum(&self.network) / 1e6,
            rows(&self.network, 1e6, "MB"),
            self.rate,
            self.reads / 1e6,
            self.feature_bytes / 1e3,
            self.rate * self.feature_bytes / 1e9,
            self.step_seconds,
            self.hours,
            self.hours / 24.0,
            self.paper_days,
            self.paper / 1e12,
            100.0 * self.paper / PAPER_PEAK,
        )
    }

    fn json(&self, name: &str) -> Value {
        let table = |shares: &[(&'static str, f64)]| -> Value {
            let entries = shares
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)));
            Value::Object(entries.collect())
        };
        json!({
            "stage": name,
            "steps": self.stage.steps,
            "batch": self.stage.batch,
            "parts": self.stage.parts,
            "devices": self.devices,
            "samples": self.stage.steps * self.stage.batch,
            "trained_parameters": self.trained,
            "flop_a_pair": table(&self.compute),
            "memory_bytes": table(&self.memory),
            "received_bytes_a_step": table(&self.network),
            "picture_bytes_a_second": self.reads,
            "feature_bytes_a_picture": self.feature_bytes,
            "seconds_a_step": self.step_seconds,
            "hours": self.hours,
            "paper_flops_a_device": self.paper,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(recipe: &str) -> Sized {
        let folder = places::root().join("recipes");
        Sized::read(&folder.join(recipe), &folder.join("models.toml")).expect("a recipe of the repository")
    }

    fn stage(section: &str) -> Stage {
        toml::from_str(section).expect("a stage")
    }

    #[test]
    fn recomputation_takes_a_forward_pass_and_leaves_what_goes_into_layers() {
        let sized = sized("paper/stage2-vit-g-opt-2.7b.toml");
        let [plain, recomputed] = ["", "recompute = [\"qformer\", \"language\"]"]
            .map(|keys| stage(&format!("steps = 1\nbatch = 16\nparts = 16\n{keys}")));
        let costs = |stage: &Stage| {
            let shares = sized.shares(Phase::Generative, stage).into_iter();
            let memory = sized.memory(Phase::Generative, 1.0, stage).into_iter();
            shares
                .map(|share| (share.name, share.flop))
                .chain(memory)
                .collect::<Vec<_>>()
        };
        let ratio = |name: &str| {
            let of = |stage| {
                costs(stage)
                    .into_iter()
                    .find(|(found, _)| *found == name)
                    .expect("a cost")
                    .1
            };
            of(&recomputed) / of(&plain)
        };
        assert_eq!(ratio("language model"), 1.5);
        assert!((ratio("Q-Former") - 4.0 / 3.0).abs() < 1e-12);
        assert_eq!(ratio("image keys and values"), 1.0);
        // 32 layers: 32 numbers and one whole layer of 10, instead of 320.
        assert!((ratio("activations of the language model") - 42.0 / 320.0).abs() < 1e-12);
        assert_eq!(ratio("trained parameters"), 1.0);
        let one = stage("steps = 1\nbatch = 1\nrecompute = \"qformer\"");
        assert!(one.recomputes("qformer") && !one.recomputes("language"));
    }

    /// The integers of LAVIS's own log and of the paper's table 2.
    #[test]
    fn as_much_is_trained_as_was_published() {
        for (recipe, phase, expected) in [
            ("paper/stage1-vit-g.toml", Phase::Representation, 186_705_470),
            ("paper/stage1-vit-l.toml", Phase::Representation, 183_165_758),
            ("paper/stage2-vit-g-opt-2.7b.toml", Phase::Generative, 107_133_696),
            ("paper/stage2-vit-g-opt-6.7b.toml", Phase::Generative, 108_314_880),
            (
                "paper/stage2-vit-g-flan-t5-xl.toml",
                Phase::Generative,
                106_739_968,
            ),
            (
                "paper/stage2-vit-g-flan-t5-xxl.toml",
                Phase::Generative,
                108_314_880,
            ),
            ("paper/stage2-vit-l-opt-2.7b.toml", Phase::Generative, 103_593_984),
            (
                "paper/stage2-vit-l-flan-t5-xl.toml",
                Phase::Generative,
                103_200_256,
            ),
        ] {
            assert_eq!(sized(recipe).trained(phase), expected, "{recipe}");
        }
    }

    /// Figures that were calculated apart from this: 521 GFLOP a picture, 214 GFLOP a pair less what sharing keys and values
    /// saves, 723,712 bytes of features.
    #[test]
    fn the_paper_s_stage_1_costs_what_was_calculated() {
        let sized = sized("paper/stage1-vit-g.toml");
        let shares = sized.shares(Phase::Representation, &stage("steps = 1\nbatch = 1"));
        let (encoder, rest) = shares.split_first().expect("the encoder comes first");
        assert!((encoder.flop / 1e9 - 521.0).abs() < 1.0, "{}", encoder.flop);
        let qformer: f64 = rest.iter().map(|share| share.flop).sum();
        assert!((qformer / 1e9 - 181.0).abs() < 2.0, "{qformer}");
        assert_eq!(sized.feature_bytes(), 723_712.0);
    }

    #[test]
    fn devices_take_whole_parts() {
        let plan = |devices| Plan {
            recipe: PathBuf::new(),
            devices,
            tflops: 100.0,
            picture: 50.0,
            json: false,
        };
        let sized = sized("paper/stage1-vit-g.toml");
        let stage = sized.recipe.stage1.as_ref().expect("stage 1");
        let hours = |devices| {
            let estimate = plan(devices).estimate(&sized, Phase::Representation, stage, 6.0);
            estimate.map(|estimate| estimate.hours)
        };
        let (one, sixteen) = (hours(1).expect("a plan"), hours(16).expect("a plan"));
        assert!((one / sixteen - 16.0).abs() < 1e-9);
        let refused = hours(3).unwrap_err().to_string();
        assert!(
            refused.contains("16 parts cannot be shared out to 3 devices"),
            "{refused}"
        );
    }
}
