//! Pictures that cannot be used, among others that can.

use anyhow::{Error, Result, bail};
use clap::Args;

use crate::output;

#[derive(Args, Clone, Copy)]
pub(crate) struct FailureArguments {
    /// Stop at the first picture that cannot be used, instead of going on with the others
    #[arg(long)]
    fail_fast: bool,
}

/// What came of the pictures of a command so far.
pub(crate) struct Failures {
    stop: bool,
    failed: usize,
    total: usize,
}

impl FailureArguments {
    pub(crate) fn among(self, total: usize) -> Failures {
        Failures {
            stop: self.fail_fast || total == 1,
            failed: 0,
            total,
        }
    }
}

impl Failures {
    /// Says on stderr why a picture cannot be used.
    ///
    /// # Errors
    /// `error` itself where the command should stop at it.
    pub(crate) fn note(&mut self, error: Error) -> Result<()> {
        self.failed += 1;
        if self.stop {
            return Err(error);
        }
        output::report(&error);
        Ok(())
    }

    /// # Errors
    /// If a picture failed.
    pub(crate) fn verdict(&self) -> Result<()> {
        let Self { failed, total, .. } = self;
        if *failed > 0 {
            bail!("{failed} of {total} pictures could not be used: see above");
        }
        Ok(())
    }
}
