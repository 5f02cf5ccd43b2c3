//! `blip2 data check`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Result, bail};
use blip2_data::sets::{Dataset, Summary};
use clap::Args;

use super::{sets, sheet};
use crate::generation::at_least;
use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  blip2 data check folder:photos
  blip2 data check parquet:data#split=train --sheet data.html
  blip2 data check recipe.toml --samples 10000 --json
  blip2 data check 'tsv:Train_GCC-training.tsv#images=cc3m'

Told are: samples, those that can be used, why the others cannot; sizes of pictures; texts a sample and words a text; pictures and
keys that come twice. A word for a reason, such as picture_missing, is the same in the log of a training run.
With --json, one object a data set: name, samples, usable, skipped, left_out and warnings (by reason), examples, width, height,
texts, words and answers (least, median, mean, most), blank_texts, questions, repeated_pictures, repeated_keys.
Exit 1 where a data set cannot be opened or has no sample that can be used.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// The data set: `format:path#key=value,...`, or a TOML file with [[data]] entries
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Look at N samples that lie evenly apart [default: all]
    #[arg(long, value_name = "N", value_parser = at_least(1))]
    samples: Option<usize>,
    /// Write a page with 60 of the pictures and their texts
    #[arg(long, value_name = "FILE.html")]
    sheet: Option<PathBuf>,
    /// Take pictures without any text for samples, too
    #[arg(long)]
    textless: bool,
    /// Write one JSON object a data set
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(self) -> Result<()> {
        let threads = available_parallelism().map_or(1, usize::from);
        let mut shown = Vec::new();
        let mut useless = Vec::new();
        for opened in sets(&self.spec, self.textless)? {
            let (_, set) = opened?;
            let indices = spaced(set.len(), self.samples.map_or(u64::MAX, |samples| samples as u64));
            let bar = progress::bar(indices.len() as u64, set.name());
            let summary = Summary::of(&*set, &indices, threads, || bar.inc(1));
            bar.finish_and_clear();
            if self.json {
                output::json(&summary)?;
            } else {
                tell(&summary, &*set)?;
            }
            if summary.usable == 0 {
                useless.push(summary.name);
            }
            if self.sheet.is_some() {
                shown.push(set);
            }
        }
        if let Some(file) = &self.sheet {
            sheet::write(file, &shown)?;
        }
        if !useless.is_empty() {
            bail!("no sample of {} can be used", useless.join(", "));
        }
        Ok(())
    }
}

/// At most `most` of the indices below `count`, evenly apart.
pub(super) fn spaced(count: u64, most: u64) -> Vec<u64> {
    let chosen = count.min(most);
    let place = |number: u64| (u128::from(number) * u128::from(count) / u128::from(chosen.max(1))) as u64;
    (0..chosen).map(place).collect()
}

fn tell(summary: &Summary, set: &dyn Dataset) -> Result<()> {
    let of = match set.len() {
        all if all == summary.samples => String::new(),
        all => format!(" of {all}"),
    };
    output::line(format_args!(
        "{}: {}{of} samples, {} can be used",
        summary.name, summary.samples, summary.usable
    ))?;
    for (what, counts) in [
        ("skipped", &summary.skipped),
        ("left out", &summary.left_out),
        ("odd", &summary.warnings),
    ] {
        counted(what, counts)?;
    }
    if summary.usable > 0 {
        let mut rows = vec![("width", summary.width), ("height", summary.height)];
        if summary.texts.most > 0 {
            rows.extend([("texts a sample", summary.texts), ("words a text", summary.words)]);
        }
        if summary.questions > 0 {
            rows.push(("answers a question", summary.answers));
        }
        for (what, spread) in rows {
            output::line(format_args!(
                "  {what:20} {} to {}, median {}, mean {:.1}",
                spread.least, spread.most, spread.median, spread.mean
            ))?;
        }
    }
    for (what, count) in [
        ("blank texts", summary.blank_texts),
        ("questions", summary.questions),
        ("repeated pictures", summary.repeated_pictures),
        ("repeated keys", summary.repeated_keys),
    ] {
        if count > 0 {
            output::line(format_args!("  {what:20} {count}"))?;
        }
    }
    summary.examples.iter().try_for_each(|example| {
        output::line(format_args!(
            "  {}: {}: {}",
            example.key, example.reason, example.problem
        ))
    })
}

fn counted(what: &str, counts: &BTreeMap<String, u64>) -> Result<()> {
    let mut counts = counts.iter();
    counts.try_for_each(|(reason, count)| output::line(format_args!("  {what:20} {count} {reason}")))
}
