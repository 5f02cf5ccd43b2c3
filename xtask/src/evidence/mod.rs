//! The claims of the paper, in the small: trains what a claim needs, measures it, and writes what came out into
//! `docs/evidence.md`.

mod claim;
mod cost;
mod measure;
mod page;
mod runs;
mod verdict;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use self::claim::{Claim, Claims};
use self::page::Findings;
use self::runs::{Maker, Runs};
use self::verdict::Row;
use crate::launch::build;
use crate::{assets, places};

const PAGE: &str = "evidence.md";

#[derive(Args)]
pub(crate) struct Reproduce {
    /// Claims, by the names of their files in recipes/evidence/claims/ [default: none; they are listed]
    names: Vec<String>,
    /// Seeds of the runs
    #[arg(long = "seed", value_name = "N", default_values_t = [42_u64, 43, 44])]
    seeds: Vec<u64>,
    /// Folder of the runs, which claims share [default: runs/evidence]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Change one key of every recipe
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder with evidence.md and the plots [default: docs]
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
    /// Cache folder [default: $BLIP2_HOME, else blip2 in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Neither fetch nor verify the assets first
    #[arg(long)]
    no_assets: bool,
}

impl Reproduce {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let claims = Claims::read()?;
        let asked = self.names.iter().map(|name| claims.named(name));
        let asked: Vec<&Claim> = asked.collect::<Result<_>>()?;
        let page = Page(self.docs.unwrap_or_else(|| places::root().join("docs")));
        if !asked.is_empty() {
            let home = places::home(self.home)?;
            if !self.no_assets {
                assets::ensure(&home)?;
            }
            let runs = Runs {
                claims: &claims,
                folder: self.runs.unwrap_or_else(|| places::root().join("runs/evidence")),
                binary: build("blip2")?,
                home,
                set: self.set,
            };
            for claim in asked {
                page.tell(&ask(&runs, claim, &self.seeds)?)?;
            }
        }
        page.complete(&claims, self.seeds.len())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Trains what `claim` needs, and measures it.
fn ask<'a>(runs: &Runs, claim: &'a Claim, seeds: &'a [u64]) -> Result<Findings<'a>> {
    let mut made = Vec::new();
    for run in runs.claims.runs_of(claim) {
        for seed in seeds {
            let by = runs.finish(run, *seed)?.by;
            made.push(((run, by), *seed));
        }
    }
    let (mut rows, mut measured) = (Vec::new(), BTreeSet::<Maker>::new());
    for measure in &claim.measures {
        for arm in &claim.arms {
            let curves = seeds
                .iter()
                .map(|seed| runs.measure(arm, measure, *seed, &mut measured));
            rows.push(Row {
                measure: measure.name.clone(),
                arm: arm.name.clone(),
                curves: curves.collect::<Result<_>>()?,
            });
        }
    }
    let makers = made.chunk_by(|(one, _), (other, _)| one == other);
    let makers = makers.map(|same| {
        let seeds: Vec<String> = same.iter().map(|(_, seed)| seed.to_string()).collect();
        let (run, by) = &same[0].0;
        format!("run `{run}`, seeds {}: {by}", seeds.join(", "))
    });
    let measured = measured.iter().map(|by| format!("evaluated {by}"));
    Ok(Findings {
        claim,
        seeds,
        rows,
        made: makers.chain(measured).collect(),
    })
}

/// The folder with the page.
struct Page(PathBuf);

impl Page {
    fn file(&self) -> PathBuf {
        self.0.join(PAGE)
    }

    fn read(&self) -> Result<String> {
        let file = self.file();
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", places::shown(&file)))
    }

    fn tell(&self, findings: &Findings<'_>) -> Result<()> {
        let name = &findings.claim.name;
        let plot = format!("evidence-{name}.svg");
        let section = findings.section(&plot);
        println!("{section}");
        write(&self.0.join(plot), &findings.plot())?;
        write(&self.file(), &page::replaced(&self.read()?, name, &section))
    }

    /// Says of every claim that has no section how it is asked, and lists all.
    fn complete(&self, claims: &Claims, seeds: usize) -> Result<()> {
        let mut page = self.read()?;
        for claim in &claims.list {
            let minutes = claims.minutes(claim, seeds);
            let state = match page::holds(&page, &claim.name) {
                (_, true) => "told in docs".to_owned(),
                (_, false) => {
                    let section = page::open_question(claim, minutes);
                    page = page::replaced(&page, &claim.name, &section);
                    format!("not run yet, about {minutes} minutes")
                }
            };
            println!("{:<14} {} ({state})", claim.name, claim.title);
        }
        write(&self.file(), &page)
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", places::shown(file)))
}
