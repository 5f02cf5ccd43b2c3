//! The loop that all evaluations share: pictures in batches, what is known already left out, what was found written at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use blip2::{Blip2, Blip2Error, OpenedBatch, RgbImage};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::journal::{self, Journal, Known};
use super::units::Unit;
use crate::commands::data_set::DataSet;
use crate::part::Part;
use crate::pictures::PictureArguments;
use crate::{output, progress};

/// A model, what it is asked about, and where what is found goes.
pub(super) struct Work<'a> {
    pub(super) model: &'a Blip2,
    pub(super) data: &'a DataSet,
    pub(super) units: &'a [Unit],
    /// What could not be read, by the reason.
    pub(super) left_out: &'a BTreeMap<String, usize>,
    pub(super) folder: &'a Path,
    pub(super) batch: usize,
    pub(super) part: Part,
    pub(super) reading: &'a PictureArguments,
}

impl Work<'_> {
    /// Lets `find` look at the pictures of the units of which nothing is known under `name`, as far as they belong to this
    /// part, and gives back what is known of all units by then. `find` gets pictures and the places of their units, and finds
    /// one thing for each.
    ///
    /// Batches are the same with and without a break, and in any number of parts: what is computed together decides the last
    /// digits. Where a batch fails, each of its pictures is tried by itself.
    pub(super) fn each<Found: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        mut find: impl FnMut(&[RgbImage], &[usize]) -> Result<Vec<Found>, Blip2Error>,
    ) -> Result<Known<Found>> {
        let known: Known<Found> = journal::known(self.folder, name, self.units)?;
        let is_known = |unit: &usize| matches!(known.get(unit), Some(Ok(_)));
        let all: Vec<usize> = (0..self.units.len()).collect();
        let batches: Vec<&[usize]> = all.chunks(self.batch).collect();
        let own = self.part.of(batches.len() as u64);
        let own = &batches[own.start as usize..own.end as usize];
        let open = own.iter().filter(|batch| !batch.iter().all(is_known));
        let open: Vec<usize> = open.flat_map(|batch| batch.iter().copied()).collect();
        let places: Vec<PathBuf> = open
            .iter()
            .map(|unit| DataSet::place(self.units[*unit].sample))
            .collect();
        let mut journal = Journal::open(self.folder, name, self.part)?;
        let (bar, start) = (progress::bar(open.len() as u64, name), Instant::now());
        let mut left = open.as_slice();
        self.model.open_in_batches(
            &places,
            self.batch,
            &|place| self.data.picture(place, self.reading),
            |OpenedBatch { pictures, opened }| -> Result<()> {
                let (units, rest) = left.split_at(opened.len());
                left = rest;
                let readable: Vec<usize> = units
                    .iter()
                    .zip(&opened)
                    .filter(|(_, opened)| opened.is_ok())
                    .map(|(unit, _)| *unit)
                    .collect();
                let mut found = found(&pictures, &readable, &mut find).into_iter();
                let lines = units.iter().zip(opened).map(|(unit, opened)| {
                    let outcome = opened.and_then(|()| found.next().expect("one for each that was read"));
                    let unit = &self.units[*unit];
                    let outcome = outcome.map_err(|error| output::chain(&error));
                    if let Err(error) = &outcome {
                        let key = &unit.key;
                        bar.suspend(|| output::warn(format_args!("{key} cannot be used: {error}")));
                    }
                    (unit, outcome)
                });
                journal.push(lines.collect())?;
                bar.inc(units.len() as u64);
                tracing::info!("{name}: {} of {}", bar.position(), open.len());
                Ok(())
            },
        )?;
        bar.finish_and_clear();
        if !open.is_empty() {
            let rate = open.len() as f64 / start.elapsed().as_secs_f64();
            output::warn(format_args!("{name}: {} in all, {rate:.2} a second", open.len()));
        }
        journal::known(self.folder, name, self.units)
    }

    /// What was found of every unit; `None` where some are still to be looked at by other parts.
    ///
    /// # Errors
    /// Where no unit could be used.
    pub(super) fn whole<Found>(&self, known: Known<Found>) -> Result<Option<Vec<Result<Found, String>>>> {
        let missing = self.units.len() - known.len();
        if missing > 0 {
            output::warn(format_args!(
                "{missing} of {} are left to other parts: what they find is measured once all have run",
                self.units.len()
            ));
            return Ok(None);
        }
        let found: Vec<Result<Found, String>> = known.into_values().collect();
        if found.iter().all(Result::is_err) {
            bail!("none of {} pictures could be used: see above", found.len());
        }
        Ok(Some(found))
    }
}

/// What `find` finds, or why it fails, for each of `pictures`.
fn found<Found, Find: FnMut(&[RgbImage], &[usize]) -> Result<Vec<Found>, Blip2Error>>(
    pictures: &[RgbImage],
    units: &[usize],
    find: &mut Find,
) -> Vec<Result<Found, Blip2Error>> {
    if pictures.is_empty() {
        return Vec::new();
    }
    match find(pictures, units) {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(error) if pictures.len() == 1 => vec![Err(error)],
        Err(_) => pictures
            .chunks(1)
            .zip(units.chunks(1))
            .flat_map(|(picture, unit)| self::found(picture, unit, find))
            .collect(),
    }
}
