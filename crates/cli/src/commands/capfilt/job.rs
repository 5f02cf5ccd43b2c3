//! What a run of CapFilt was asked for: by options, by a recipe, and by default.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use blip2::capfilt::Settings;
use blip2_data::sets::{DataSpec, Dataset};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::commands::data::only_set;
use crate::generation::{at_least, probability};
use crate::model::named;
use crate::part::Part;

/// More captions than any picture has.
const ALL: usize = u32::MAX as usize;

/// Options, and keys of a recipe's table `[capfilt]`.
#[derive(Args, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Options {
    /// Who writes: the folder or hub name of a BLIP captioner, or of any model that `blip2 caption` takes
    #[arg(long, value_name = "DIR")]
    captioner: Option<String>,
    /// Who compares: the folder or hub name of a CLIP, or of any model that `blip2 match` takes
    #[arg(long, value_name = "DIR")]
    ranker: Option<String>,
    /// Captions drawn for a picture [default: 10]; with 0 its own are ranked alone, and no captioner is needed
    #[arg(long, value_name = "N", value_parser = at_least(0))]
    number: Option<usize>,
    /// Captions kept for a picture [default: 2; all where none is drawn]
    #[arg(long, value_name = "N", value_parser = at_least(1))]
    keep: Option<usize>,
    /// Draw among the likeliest tokens that together have this probability [default: 0.9]
    #[arg(long, value_name = "X", value_parser = probability)]
    top_p: Option<f32>,
    /// Most tokens of a caption [default: 30]
    #[arg(long, value_name = "N", value_parser = at_least(1))]
    max_new_tokens: Option<usize>,
    /// Decides what is drawn [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Everything that decides what is written.
#[derive(Serialize)]
pub(super) struct Job {
    /// Absent where nothing is drawn.
    pub(super) captioner: Option<String>,
    pub(super) ranker: String,
    number: usize,
    keep: usize,
    top_p: f32,
    max_new_tokens: usize,
    seed: u64,
    shard: String,
    data: DataSpec,
    fingerprint: String,
}

impl Job {
    /// The job, and the data set that it is about.
    pub(super) fn prepare(
        spec: Option<&str>,
        recipe: Option<&Path>,
        options: &Options,
        shard: Part,
    ) -> Result<(Self, Box<dyn Dataset>)> {
        let written = recipe.map_or_else(|| Ok(Options::default()), Options::read)?;
        let of_recipe = recipe.map(named);
        let text = spec
            .or(of_recipe.as_deref())
            .context("name a data set, or a --recipe that does")?;
        let (data, set) = only_set(text)?;
        let model = |key: &str, option: &Option<String>, of_recipe: &Option<String>| {
            option.as_ref().or(of_recipe.as_ref()).cloned().with_context(|| {
                format!("no {key} is named: give --{key}, or `{key}` in the recipe's table [capfilt]")
            })
        };
        let usual = Settings::default();
        let seed = options.seed.or(written.seed).unwrap_or(usual.seed);
        let size =
            |option: Option<usize>, of_recipe: Option<usize>, usual| option.or(of_recipe).unwrap_or(usual);
        let number = size(options.number, written.number, usual.number);
        let captioner = || model("captioner", &options.captioner, &written.captioner);
        let job = Self {
            captioner: (number > 0).then(captioner).transpose()?,
            ranker: model("ranker", &options.ranker, &written.ranker)?,
            number,
            keep: size(
                options.keep,
                written.keep,
                if number > 0 { usual.keep } else { ALL },
            ),
            top_p: options.top_p.or(written.top_p).unwrap_or(usual.top_p),
            max_new_tokens: size(
                options.max_new_tokens,
                written.max_new_tokens,
                usual.max_new_tokens,
            ),
            seed,
            shard: shard.to_string(),
            fingerprint: set.fingerprint(),
            data,
        };
        if job.keep == 0 || job.max_new_tokens == 0 {
            bail!("`keep` and `max_new_tokens` of [capfilt] are at least 1");
        }
        if !(job.top_p > 0.0 && job.top_p <= 1.0) {
            bail!(
                "`top_p` of [capfilt] lies above 0 and at most at 1, not at {}",
                job.top_p
            );
        }
        Ok((job, set))
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            number: self.number,
            keep: self.keep,
            top_p: self.top_p,
            max_new_tokens: self.max_new_tokens,
            seed: self.seed,
        }
    }
}

impl Options {
    fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Recipe {
            #[serde(default)]
            capfilt: Options,
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", named(path)))?;
        let recipe: Recipe =
            toml::from_str(&text).with_context(|| format!("{} is no recipe of CapFilt", named(path)))?;
        Ok(recipe.capfilt)
    }
}
