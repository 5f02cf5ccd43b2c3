//! How many bytes travel, by what they are.

use std::collections::BTreeMap;

/// Bytes to and from other ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Handed over for other ranks.
    pub sent: u64,
    /// Received from them.
    pub received: u64,
}

/// The payload of a rank's collectives by what it was (`gradients`, `embeddings`). Headers are not counted. A reduction counts as
/// the ring that sends least: each number twice but for the rank's own share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic(BTreeMap<&'static str, Volume>);

impl Traffic {
    /// The volume of what is called `what`.
    pub fn of(&self, what: &str) -> Volume {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// All of it, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Volume)> {
        self.0.iter().map(|(what, volume)| (*what, *volume))
    }

    /// Everything together.
    pub fn total(&self) -> Volume {
        self.0.values().fold(Volume::default(), |sum, volume| Volume {
            sent: sum.sent + volume.sent,
            received: sum.received + volume.received,
        })
    }

    pub(crate) fn count(&mut self, what: &'static str, sent: usize, received: usize) {
        let volume = self.0.entry(what).or_default();
        volume.sent += sent as u64;
        volume.received += received as u64;
    }
}
