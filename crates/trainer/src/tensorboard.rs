//! Event files that TensorBoard reads: records of TensorFlow's format, each a small protocol buffer, appended as a run goes.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::TrainError;
use crate::error::io;

/// What stands first in every file.
const VERSION: &str = "brain.Event:2";
/// Added to a rotated checksum, so that a checksum of a checksum is not weak (TensorFlow, `crc32c.h`).
const MASK: u32 = 0xa282_ead8;

/// Fields of `tensorflow.Event`, `Summary`, `Summary.Value` and `SessionLog`.
mod field {
    pub(super) const WALL_TIME: u32 = 1;
    pub(super) const STEP: u32 = 2;
    pub(super) const FILE_VERSION: u32 = 3;
    pub(super) const SUMMARY: u32 = 5;
    pub(super) const SESSION_LOG: u32 = 7;
    pub(super) const SUMMARY_VALUE: u32 = 1;
    pub(super) const TAG: u32 = 1;
    pub(super) const SIMPLE_VALUE: u32 = 2;
    pub(super) const STATUS: u32 = 1;
}

/// `SessionLog.START`: what another file holds from this step on counts no more.
const START: u64 = 1;

/// The event file of one sitting of one phase.
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in `folder`, of a phase that goes on after `step`.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the disk refuses.
    pub(crate) fn begin(folder: &Path, step: u64) -> Result<Self, TrainError> {
        std::fs::create_dir_all(folder).map_err(io("create", folder))?;
        let name = format!(
            "events.out.tfevents.{:010}.{}",
            seconds() as u64,
            std::process::id()
        );
        let path = folder.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(io("write", &path))?;
        let mut this = Self { path, file };
        let mut version = Message::event(0);
        version.bytes(field::FILE_VERSION, VERSION.as_bytes());
        this.append(&version)?;
        let mut status = Message::default();
        status.integer(field::STATUS, START);
        let mut start = Message::event(step + 1);
        start.bytes(field::SESSION_LOG, &status.0);
        this.append(&start)?;
        Ok(this)
    }

    /// Appends the figures of `step`.
    ///
    /// # Errors
    /// As for [`EventFile::begin`].
    pub(crate) fn write(&mut self, step: u64, figures: &[(String, f64)]) -> Result<(), TrainError> {
        let mut summary = Message::default();
        for (tag, value) in figures {
            let mut entry = Message::default();
            entry.bytes(field::TAG, tag.as_bytes());
            entry.single(field::SIMPLE_VALUE, *value as f32);
            summary.bytes(field::SUMMARY_VALUE, &entry.0);
        }
        let mut event = Message::event(step);
        event.bytes(field::SUMMARY, &summary.0);
        self.append(&event)
    }

    /// A record: length and content, each followed by its checksum.
    fn append(&mut self, message: &Message) -> Result<(), TrainError> {
        let length = (message.0.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked(&length));
        record.extend(&message.0);
        record.extend(masked(&message.0));
        self.file.write_all(&record).map_err(io("write", &self.path))
    }
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(MASK)
        .to_le_bytes()
}

fn seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

/// A protocol buffer in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// An event of now.
    fn event(step: u64) -> Self {
        let mut message = Self::default();
        message.key(field::WALL_TIME, 1);
        message.0.extend(seconds().to_le_bytes());
        message.integer(field::STEP, step);
        message
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.variable(u64::from(field << 3 | wire));
    }

    fn variable(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, field: u32, value: u64) {
        self.key(field, 0);
        self.variable(value);
    }

    fn single(&mut self, field: u32, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, 2);
        self.variable(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read back by the definition of the format; that TensorBoard itself reads them is in `tests/peer/tensorboard_events.py`.
    #[test]
    fn records_are_whole_and_bear_their_checksums() {
        let folder = tempfile::tempdir().expect("folder");
        let mut events = EventFile::begin(folder.path(), 4).expect("begun");
        events.write(300, &[("loss".to_owned(), 0.5)]).expect("written");
        let mut bytes = &std::fs::read(&events.path).expect("read")[..];
        let mut records = Vec::new();
        while let Some((head, rest)) = bytes.split_at_checked(12) {
            assert_eq!(head[8..], masked(&head[..8]));
            let length = u64::from_le_bytes(head[..8].try_into().expect("eight")) as usize;
            assert_eq!(rest[length..length + 4], masked(&rest[..length]));
            records.push(&rest[..length]);
            bytes = &rest[length + 4..];
        }
        assert!(bytes.is_empty());
        assert_eq!(records.len(), 3);
        let version = [&[0x1a, VERSION.len() as u8], VERSION.as_bytes()].concat();
        assert!(records[0].ends_with(&version));
        assert!(records[1].ends_with(&[0x10, 5, 0x3a, 2, 0x08, 1]));
        let summary = [
            0x2a, 13, 0x0a, 11, 0x0a, 4, b'l', b'o', b's', b's', 0x15, 0, 0, 0, 0x3f,
        ];
        assert!(records[2].ends_with(&[&[0x10, 0xac, 0x02][..], &summary].concat()));
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // From RFC 3720, appendix B.4.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
