//! A claim of the paper as a file: which runs it compares, what of them is measured, and what should be better than what.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::places;

/// The file with the runs that claims share, and the folder of the claims.
const RUNS: &str = "runs.toml";
const CLAIMS: &str = "claims";

/// A claim of the paper, and how it is asked here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    /// Its file's name.
    #[serde(skip)]
    pub(crate) name: String,
    /// Its place in the page.
    pub(crate) number: u32,
    pub(crate) title: String,
    /// What the paper says.
    pub(crate) paper: String,
    /// How it is asked here.
    pub(crate) here: String,
    pub(crate) arms: Vec<Arm>,
    /// Pairs of arms, of which the first should be better.
    pub(crate) better: Vec<[String; 2]>,
    pub(crate) measures: Vec<Measure>,
}

/// One side of a comparison.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arm {
    pub(crate) name: String,
    /// Whose model, by its name in `runs.toml`.
    pub(crate) run: String,
    /// Which of the run's phases, where its log is read.
    #[serde(default = "last_phase")]
    pub(crate) phase: String,
    /// Options of its evaluations beside those of the measure.
    #[serde(default)]
    pub(crate) options: Vec<String>,
    /// Its place on the axis of the plot, where arms are points of a curve.
    pub(crate) at: Option<u64>,
}

fn last_phase() -> String {
    "stage2".to_owned()
}

/// What is compared, the more the better.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measure {
    pub(crate) name: String,
    /// Whether the claim is about it; else it is told beside.
    #[serde(default = "yes")]
    pub(crate) judged: bool,
    pub(crate) by: Source,
}

fn yes() -> bool {
    true
}

/// Where figures come from; of several, their mean, in which each picture or question counts as much.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Source {
    /// `blip2 evaluate` with `options` on each data set, and the named figures, `times` as large.
    Evaluate {
        options: Vec<String>,
        data: Vec<String>,
        figures: Vec<String>,
        #[serde(default = "once")]
        times: f64,
    },
    /// What evaluators of the run wrote into its log, as `evaluator/figure`: shares, told in per cent.
    Log(Vec<String>),
    /// R@1 of this model in the report of a run of the embedded default: the mean of both ways over the held-out parts, whose
    /// galleries hold false captions beside the true ones.
    Report(String),
    /// How long the phase was trained.
    Seconds,
    /// Parameters that the phase trained, in per cent of all that the run loads.
    Trained,
}

fn once() -> f64 {
    1.0
}

/// How a run is made.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Making {
    /// A model is trained.
    Training(Training),
    /// Captions are filtered.
    Filtering(Filtering),
}

/// How a model is trained; its seed is added.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training {
    /// Relative to the repository.
    pub(crate) recipe: PathBuf,
    /// Changes of the recipe.
    #[serde(default)]
    pub(crate) set: Vec<String>,
    /// About how long it takes on two cores.
    pub(crate) minutes: u64,
}

/// How captions are filtered; the seed is added.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filtering {
    /// What `blip2 capfilt` is told.
    pub(crate) capfilt: Vec<String>,
    /// About how long it takes on two cores.
    pub(crate) minutes: u64,
}

impl Making {
    /// About how long it takes on two cores.
    pub(crate) fn minutes(&self) -> u64 {
        match self {
            Self::Training(training) => training.minutes,
            Self::Filtering(filtering) => filtering.minutes,
        }
    }

    /// What may name other runs.
    fn words(&self) -> &[String] {
        match self {
            Self::Training(training) => &training.set,
            Self::Filtering(filtering) => &filtering.capfilt,
        }
    }
}

/// All claims, and the runs that they stand on.
pub(crate) struct Claims {
    pub(crate) list: Vec<Claim>,
    pub(crate) runs: BTreeMap<String, Making>,
}

impl Claims {
    /// Those of this repository.
    ///
    /// # Errors
    /// A file that is none, or names what there is not.
    pub(crate) fn read() -> Result<Self> {
        Self::of(&places::root().join("recipes/evidence"))
    }

    /// The runs and claims in `folder`, in the order of the page.
    fn of(folder: &Path) -> Result<Self> {
        let runs = parsed(&folder.join(RUNS))?;
        let mut claims = Self {
            list: Vec::new(),
            runs,
        };
        let files = folder.join(CLAIMS);
        for entry in fs::read_dir(&files).with_context(|| format!("cannot list {}", places::shown(&files)))? {
            let path = entry?.path();
            let mut claim: Claim = parsed(&path)?;
            let name = path.file_stem().unwrap_or_default();
            claim.name = name.to_string_lossy().into_owned();
            claims.check(&claim).with_context(|| places::shown(&path))?;
            claims.list.push(claim);
        }
        claims.list.sort_by_key(|claim| claim.number);
        Ok(claims)
    }

    /// The claim of this name.
    ///
    /// # Errors
    /// There is none; those that there are.
    pub(crate) fn named(&self, name: &str) -> Result<&Claim> {
        match self.list.iter().find(|claim| claim.name == name) {
            Some(claim) => Ok(claim),
            None => {
                let known: Vec<&str> = self.list.iter().map(|claim| claim.name.as_str()).collect();
                bail!("there is no claim `{name}`, but {}", known.join(", "))
            }
        }
    }

    /// All runs that `claim` stands on: those of its arms, each behind the runs that it begins from.
    pub(crate) fn runs_of(&self, claim: &Claim) -> Vec<&str> {
        let mut names = Vec::new();
        claim.arms.iter().for_each(|arm| self.add(&arm.run, &mut names));
        names
    }

    fn add<'a>(&'a self, run: &str, names: &mut Vec<&'a str>) {
        let Some((name, making)) = self.runs.get_key_value(run) else {
            return;
        };
        for other in self.runs.keys().filter(|other| *other != name) {
            let place = place_of(other);
            if making.words().iter().any(|word| word.contains(&place)) {
                self.add(other, names);
            }
        }
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }

    /// About how many minutes `claim` takes with so many seeds where nothing is there yet.
    pub(crate) fn minutes(&self, claim: &Claim, seeds: usize) -> u64 {
        let runs = self.runs_of(claim).into_iter();
        seeds as u64 * runs.map(|run| self.runs[run].minutes()).sum::<u64>()
    }

    fn check(&self, claim: &Claim) -> Result<()> {
        if let Some(arm) = claim.arms.iter().find(|arm| !self.runs.contains_key(&arm.run)) {
            bail!("arm `{}`: there is no run `{}` in {RUNS}", arm.name, arm.run);
        }
        for name in claim.better.iter().flatten() {
            if claim.arms.iter().all(|arm| arm.name != *name) {
                bail!("better: there is no arm `{name}`");
            }
        }
        if claim.better.is_empty() || !claim.measures.iter().any(|measure| measure.judged) {
            bail!("a claim needs a pair of arms in `better` and something that is measured");
        }
        Ok(())
    }
}

/// What stands for the folder of a run in options and changes.
pub(crate) fn place_of(run: &str) -> String {
    format!("{{{run}}}")
}

fn parsed<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", places::shown(file)))?;
    toml::from_str(&text).with_context(|| format!("{} is no such file", places::shown(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_claim_of_the_repository_can_be_asked() {
        let claims = Claims::read().unwrap();
        assert!(claims.list.len() >= 3, "{}", claims.list.len());
        for claim in &claims.list {
            for run in claims.runs_of(claim) {
                if let Making::Training(training) = &claims.runs[run] {
                    let recipe = places::root().join(&training.recipe);
                    assert!(recipe.is_file(), "{run}: {}", recipe.display());
                }
            }
            assert!(claims.minutes(claim, 3) > 0, "{}", claim.name);
        }
        let mut numbers: Vec<u32> = claims.list.iter().map(|claim| claim.number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), claims.list.len());
        let error = claims.named("no-such").unwrap_err().to_string();
        assert!(error.contains(&claims.list[0].name), "{error}");
    }

    #[test]
    fn a_run_comes_behind_the_one_that_it_begins_from_and_each_once() {
        let claim = |arms: &str| {
            format!(
                "number = 1\ntitle = 't'\npaper = 'p'\nhere = 'h'\nbetter = [['a', 'b']]\n\
                 measures = [{{ name = 'm', by = {{ log = ['x/y'] }} }}]\narms = [{arms}]"
            )
        };
        let written = |claim: &str| {
            let folder = tempfile::tempdir().unwrap();
            let runs = "[base]\nrecipe = 'r'\nminutes = 2\n[after]\nrecipe = 'r'\nminutes = 3\nset = ['from={base}']\n\
                        [filtered]\ncapfilt = ['--ranker', '{base}']\nminutes = 4\n";
            fs::write(folder.path().join(RUNS), runs).unwrap();
            fs::create_dir(folder.path().join(CLAIMS)).unwrap();
            fs::write(folder.path().join("claims/one.toml"), claim).unwrap();
            Claims::of(folder.path())
        };
        let claims = written(&claim(
            "{ name = 'a', run = 'after' }, { name = 'b', run = 'base' }",
        ))
        .unwrap();
        assert_eq!(claims.runs_of(&claims.list[0]), ["base", "after"]);
        assert_eq!(claims.minutes(&claims.list[0], 3), 15);
        let filtered = written(&claim(
            "{ name = 'a', run = 'filtered' }, { name = 'b', run = 'filtered' }",
        ));
        let filtered = filtered.unwrap();
        assert_eq!(filtered.runs_of(&filtered.list[0]), ["base", "filtered"]);
        for (arms, named) in [
            ("{ name = 'a', run = 'after' }", "`b`"),
            (
                "{ name = 'a', run = 'after' }, { name = 'b', run = 'lost' }",
                "`lost`",
            ),
            ("{ name = 'a', run = 'base', colour = 1 }", "colour"),
        ] {
            let error = format!("{:#}", written(&claim(arms)).err().unwrap());
            assert!(error.contains(named) && error.contains("one.toml"), "{error}");
        }
    }
}
