//! Trying again.

use std::time::Duration;

use super::{DownloadError, Event, Hub};

/// So many failures one after the other are enough.
const ATTEMPTS: u32 = 6;

/// Failures so far.
pub(super) struct Retries {
    failed: u32,
    pause: Duration,
    /// Whether the hub has answered before: then its silence may pass.
    answered: bool,
}

impl Retries {
    /// Of what follows an answer of the hub.
    pub(super) fn new(hub: &Hub) -> Self {
        Self {
            failed: 0,
            pause: hub.first_pause,
            answered: true,
        }
    }

    /// Of the first question: a hub that cannot be reached is told of at once.
    pub(super) fn of_first_contact(hub: &Hub) -> Self {
        Self {
            answered: false,
            ..Self::new(hub)
        }
    }

    /// Forgets what failed before something was achieved.
    pub(super) fn forget(&mut self) {
        self.failed = 0;
    }

    /// Waits, longer each time, after an `error` that may pass.
    ///
    /// # Errors
    /// `error` itself, where another attempt is no use.
    pub(super) fn after(
        &mut self,
        error: DownloadError,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), DownloadError> {
        let may_pass = match error {
            DownloadError::Unreachable { .. } => self.answered,
            DownloadError::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502..=504),
            DownloadError::Broken { .. } => true,
            _ => false,
        };
        self.failed += 1;
        if !may_pass || self.failed == ATTEMPTS {
            return Err(error);
        }
        let pause = self.pause * 2_u32.pow(self.failed - 1);
        watch(Event::Retrying(&error, pause));
        std::thread::sleep(pause);
        Ok(())
    }
}
