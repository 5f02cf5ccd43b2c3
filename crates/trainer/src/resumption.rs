//! What of a recipe may be another one when a run goes on.

use toml::{Table, Value};

use crate::TrainError;
use crate::checkpoint::digest;

/// Keys of a stage that decide how it is run, not what it learns.
const OPERATIONAL: [&str; 6] = [
    "checkpoint_every",
    "compare_every",
    "keep",
    "log_every",
    "recompute",
    "skip_bad_steps",
];
/// Keys of a stage with which a run is led on that has diverged.
const STEERING: [&str; 4] = ["optimizer.clip_norm", "pretrained_rate", "query_rate", "schedule"];
/// Keys of how data are read.
const READING: [&str; 3] = ["ahead", "max_skipped", "threads"];

/// A resolved recipe, and what of it decides whether a run is the same.
pub(crate) struct Resumption {
    table: Table,
    /// SHA-256 of all but what may change.
    pub(crate) digest: String,
}

impl Resumption {
    /// # Errors
    /// [`TrainError::Recipe`] for a text that is no TOML.
    pub(crate) fn of(recipe: &str) -> Result<Self, TrainError> {
        let table: Table = recipe
            .parse()
            .map_err(|error: toml::de::Error| TrainError::Recipe {
                path: "recipe.toml".into(),
                reason: error.to_string(),
            })?;
        let mut decides = table.clone();
        for (section, keys) in changeable(&table) {
            for key in keys {
                take(&mut decides, &format!("{section}.{key}"));
            }
        }
        Ok(Self {
            table,
            digest: digest(&decides.to_string()),
        })
    }

    /// What `now` has otherwise, of what may change: key, before and after.
    pub(crate) fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (section, keys) in changeable(&now.table) {
            for key in keys {
                let path = format!("{section}.{key}");
                let [before, after] = [&self.table, &now.table].map(|table| take(&mut table.clone(), &path));
                if before != after {
                    let [before, after] = [before, after]
                        .map(|value| value.map_or_else(|| "absent".to_owned(), |value| value.to_string()));
                    changes.push(format!("{path}: {before} before, {after} now"));
                }
            }
        }
        changes
    }
}

/// Sections of `recipe`, and their keys that may change.
fn changeable(recipe: &Table) -> Vec<(&str, Vec<&'static str>)> {
    let keys = |section: &str| match section {
        "loader" => READING.to_vec(),
        _ if section.starts_with("stage") => [&OPERATIONAL[..], &STEERING].concat(),
        _ => Vec::new(),
    };
    recipe
        .keys()
        .map(|section| (section.as_str(), keys(section)))
        .collect()
}

/// Takes the value at `path`, of the form `section.key`, out of `table`.
fn take(table: &mut Table, path: &str) -> Option<Value> {
    match path.split_once('.') {
        Some((section, rest)) => take(table.get_mut(section)?.as_table_mut()?, rest),
        None => table.remove(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "
        seed = 1
        [loader]
        threads = 2
        max_skipped = 0.05
        [stage1]
        steps = 10
        log_every = 1
        optimizer = { clip_norm = 1.0, weight_decay = 0.05 }
        schedule = { peak = 1e-4, minimum = 0.0, warmup_steps = 2 }
    ";

    #[test]
    fn how_a_run_is_run_may_change_and_what_it_learns_may_not() {
        let begun = Resumption::of(RECIPE).expect("TOML");
        for (from, to, changed) in [
            ("threads = 2", "threads = 1", "loader.threads: 2 before, 1 now"),
            (
                "max_skipped = 0.05",
                "max_skipped = 0.2",
                "loader.max_skipped: 0.05 before, 0.2 now",
            ),
            (
                "log_every = 1",
                "log_every = 1\nskip_bad_steps = 3",
                "stage1.skip_bad_steps: absent before, 3 now",
            ),
            (
                "clip_norm = 1.0, ",
                "",
                "stage1.optimizer.clip_norm: 1.0 before, absent now",
            ),
        ] {
            let now = Resumption::of(&RECIPE.replace(from, to)).expect("TOML");
            assert_eq!(begun.digest, now.digest, "{to}");
            assert_eq!(begun.changes(&now), [changed]);
        }
        let slower = Resumption::of(&RECIPE.replace("1e-4", "1e-5")).expect("TOML");
        assert_eq!(begun.digest, slower.digest);
        assert_eq!(begun.changes(&slower).len(), 1);
        for (from, to) in [
            ("seed = 1", "seed = 2"),
            ("steps = 10", "steps = 11"),
            ("weight_decay = 0.05", "weight_decay = 0.5"),
        ] {
            let other = Resumption::of(&RECIPE.replace(from, to)).expect("TOML");
            assert_ne!(begun.digest, other.digest, "{to}");
        }
    }
}
