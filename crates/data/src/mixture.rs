//! Several data sets as one endless sequence: by size, each sample once an epoch, or by weight, each set again as soon as it
//! ends. Which sample stands at a position depends on the position alone.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::Stream;
use crate::order::{Order, WINDOW, ends, holder};
use crate::recent::Recent;
use crate::sets::Dataset;

/// So many choices are made together: shares are exact to one in this number.
const BLOCK: usize = 1 << 14;

/// A data set as a part of a mixture.
#[derive(Clone)]
pub struct Part {
    /// Where the samples come from.
    pub set: Arc<dyn Dataset>,
    /// Its share of the mixture, above 0; of all sets or of none. Without shares all sets are one, and each sample of it is
    /// seen once an epoch.
    pub weight: Option<f64>,
    /// What texts of this set follow in training.
    pub prompt: Option<String>,
}

impl Part {
    /// A set by its size, without prompt.
    pub fn new(set: Arc<dyn Dataset>) -> Self {
        Self {
            set,
            weight: None,
            prompt: None,
        }
    }
}

/// How sets are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixing {
    /// Decides all choices.
    pub seed: u64,
    /// How many neighbouring positions come from one set, where sets have weights. 1 mixes samples; the size of a batch gives
    /// batches of one set each, as LAVIS's `MultiIterLoader`.
    pub together: u64,
    /// How many shards are mixed with each other.
    pub window: usize,
}

impl Mixing {
    /// Single samples under `seed`, from windows of [`WINDOW`] shards.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            together: 1,
            window: WINDOW,
        }
    }
}

/// Why sets cannot be mixed, or a run not go on.
#[derive(Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum MixtureError {
    /// There is no set, or a set without samples.
    #[error("{0}")]
    Nothing(String),
    /// Weights of some sets, or a weight that is no share.
    #[error("the weight of {name} is {weight}: give all sets a weight above 0, or none")]
    Weight {
        /// The set.
        name: String,
        /// What it has.
        weight: String,
    },
    /// More sets than shares can be told apart.
    #[error("{0} sets with weights: at most {BLOCK} can be mixed")]
    TooMany(usize),
    /// The checkpoint belongs to another mixture.
    #[error(
        "cannot go on: the {what} of the checkpoint is {saved}, that of the data now is {now}; a run resumes only on the data \
         it was begun with"
    )]
    Other {
        /// What differs.
        what: &'static str,
        /// In the checkpoint.
        saved: String,
        /// Now.
        now: String,
    },
}

/// How far a run has come; part of its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The seed of the order.
    pub seed: u64,
    /// Whole epochs behind it: so many times as many samples as all sets have together.
    pub epoch: u64,
    /// Samples of this epoch behind it.
    pub position: u64,
    /// What the indices stand for, [`Mixture::fingerprint`].
    pub fingerprint: String,
}

/// Which sample stands at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The set, by its number in the mixture.
    pub set: usize,
    /// How often all samples of the set, or of all sets where they are mixed by size, were seen before.
    pub epoch: u64,
    /// The index within the set.
    pub index: u64,
}

/// Data sets in one endless sequence.
pub struct Mixture {
    parts: Vec<Part>,
    mixing: Mixing,
    groups: Vec<Group>,
    /// How many of each block belong to the groups before each, and at the end [`BLOCK`].
    shares: Vec<u64>,
    recent: Recent<Block>,
}

/// Sets that are seen in one order.
struct Group {
    order: Order,
    /// The number of the first set.
    first: usize,
    /// How many samples lie in front of each set, and at the end how many there are.
    before: Vec<u64>,
}

/// To which group each of [`BLOCK`] neighbours belongs, and how many of the same stand before it in the block.
struct Block(Vec<(u16, u16)>);

impl Mixture {
    /// Mixes `parts`.
    ///
    /// # Errors
    /// If there is nothing to see, or weights that are no shares.
    pub fn new(parts: Vec<Part>, mixing: Mixing) -> Result<Self, MixtureError> {
        if parts.is_empty() {
            return Err(MixtureError::Nothing("there is no data set".into()));
        }
        if let Some(part) = parts.iter().find(|part| part.set.is_empty()) {
            return Err(MixtureError::Nothing(format!(
                "{} has no samples",
                part.set.name()
            )));
        }
        let weights = weights(&parts)?;
        let all = |range: Range<usize>, seed| Group::new(&parts, range, seed, mixing.window);
        let (groups, shares) = match &weights {
            None => (vec![all(0..parts.len(), mixing.seed)], vec![0, BLOCK as u64]),
            Some(weights) => {
                let seed = |set: usize| Stream::new(mixing.seed, "data set", set as u64).bits();
                let groups = (0..parts.len()).map(|set| all(set..set + 1, seed(set)));
                (groups.collect(), ends(shares(weights)?.into_iter()))
            }
        };
        let mixing = Mixing {
            together: mixing.together.max(1),
            ..mixing
        };
        Ok(Self {
            parts,
            mixing,
            groups,
            shares,
            recent: Recent::new(),
        })
    }

    /// The sets.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Decides all choices.
    pub fn seed(&self) -> u64 {
        self.mixing.seed
    }

    /// How many samples all sets have together: an epoch.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.set.len()).sum()
    }

    /// Whether there are none; there always are.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a sample among all of all sets, one set behind the other, below [`Mixture::len`]: what is stored of samples
    /// is found by it.
    pub fn number(&self, set: usize, index: u64) -> u64 {
        let before = self.parts[..set].iter();
        before.map(|part| part.set.len()).sum::<u64>() + index
    }

    /// Which sample stands at `position`, counted from the first of the run.
    pub fn at(&self, position: u64) -> Place {
        let (group, place) = self.choose(position);
        let Group { order, first, before } = &self.groups[group];
        let (epoch, position) = (place / order.len(), place % order.len());
        let index = order.index(epoch, position);
        let set = holder(before, index);
        Place {
            set: first + set,
            epoch,
            index: index - before[set],
        }
    }

    /// The group at `position`, and how many samples of it were seen before.
    fn choose(&self, position: u64) -> (usize, u64) {
        if self.groups.len() == 1 {
            return (0, position);
        }
        let (unit, within) = (position / self.mixing.together, position % self.mixing.together);
        let (number, place) = (unit / BLOCK as u64, unit % BLOCK as u64);
        let block = self.recent.get(number, || self.block(number));
        let (group, before) = block.0[place as usize];
        let share = self.shares[usize::from(group) + 1] - self.shares[usize::from(group)];
        let units = number * share + u64::from(before);
        (group.into(), units * self.mixing.together + within)
    }

    fn block(&self, number: u64) -> Block {
        let mut groups: Vec<u16> = Vec::with_capacity(BLOCK);
        for (group, share) in self.shares.windows(2).enumerate() {
            groups.extend((share[0]..share[1]).map(|_| group as u16));
        }
        Stream::new(self.mixing.seed, "choice of data sets", number).shuffle(&mut groups);
        let mut seen = vec![0; self.groups.len()];
        let placed = groups.into_iter().map(|group| {
            let before = seen[usize::from(group)];
            seen[usize::from(group)] += 1;
            (group, before)
        });
        Block(placed.collect())
    }

    /// Changes when what a position stands for changes.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for part in &self.parts {
            hash.update(part.set.fingerprint());
            hash.update(part.set.len().to_le_bytes());
        }
        for number in self
            .shares
            .iter()
            .chain([&self.mixing.together, &(self.mixing.window as u64)])
        {
            hash.update(number.to_le_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What to keep of a run that saw the samples before `position`.
    pub fn progress(&self, position: u64) -> Progress {
        Progress {
            seed: self.mixing.seed,
            epoch: position / self.len(),
            position: position % self.len(),
            fingerprint: self.fingerprint(),
        }
    }

    /// The position with which a run goes on that was left at `progress`.
    ///
    /// # Errors
    /// If it was begun with another seed or with other data.
    pub fn resume(&self, progress: &Progress) -> Result<u64, MixtureError> {
        let pairs = [
            ("seed", progress.seed.to_string(), self.mixing.seed.to_string()),
            ("fingerprint", progress.fingerprint.clone(), self.fingerprint()),
        ];
        for (what, saved, now) in pairs {
            if saved != now {
                return Err(MixtureError::Other { what, saved, now });
            }
        }
        Ok(progress.epoch * self.len() + progress.position)
    }
}

impl Group {
    fn new(parts: &[Part], range: Range<usize>, seed: u64, window: usize) -> Self {
        let first = range.start;
        let sets = &parts[range];
        let runs: Vec<u64> = sets.iter().flat_map(|part| part.set.runs()).collect();
        Self {
            order: Order::new(seed, &runs, window),
            first,
            before: ends(sets.iter().map(|part| part.set.len())),
        }
    }
}

/// The weights of all sets, or nothing where none has one.
fn weights(parts: &[Part]) -> Result<Option<Vec<f64>>, MixtureError> {
    if parts.iter().all(|part| part.weight.is_none()) {
        return Ok(None);
    }
    let weights = parts.iter().map(|part| {
        let weight = part.weight.filter(|weight| weight.is_finite() && *weight > 0.0);
        weight.ok_or_else(|| MixtureError::Weight {
            name: part.set.name().to_owned(),
            weight: part.weight.map_or("absent".into(), |weight| weight.to_string()),
        })
    });
    weights.collect::<Result<_, _>>().map(Some)
}

/// How many of [`BLOCK`] each weight gets, at least one: rounded down, and what is left to those that lost most.
fn shares(weights: &[f64]) -> Result<Vec<u64>, MixtureError> {
    if weights.len() > BLOCK {
        return Err(MixtureError::TooMany(weights.len()));
    }
    let free = (BLOCK - weights.len()) as f64;
    let sum: f64 = weights.iter().sum();
    // One each is given beforehand, and taken off what the weights ask for.
    let wanted: Vec<f64> = weights
        .iter()
        .map(|weight| (weight / sum * BLOCK as f64 - 1.0).max(0.0))
        .collect();
    let scale = free / wanted.iter().sum::<f64>();
    let mut shares: Vec<u64> = wanted.iter().map(|wanted| 1 + (wanted * scale) as u64).collect();
    let mut by_loss: Vec<usize> = (0..weights.len()).collect();
    let loss = |set: &usize| (wanted[*set] * scale).fract();
    by_loss.sort_by(|left, right| loss(right).total_cmp(&loss(left)));
    let left = BLOCK as u64 - shares.iter().sum::<u64>();
    for set in by_loss.iter().cycle().take(left as usize) {
        shares[*set] += 1;
    }
    Ok(shares)
}
