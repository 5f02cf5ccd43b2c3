//! Reading all headers of a shard once: which samples it has, and what is wrong with it.

use std::fs::File;
use std::io::Result;

use sha2::{Digest, Sha256};

use super::group::{Group, Groups};
use super::index::Draft;
use super::place::{Place, Stamp};
use super::rules::Rules;
use super::tar::End;
use super::unpack::Trouble;
use crate::sets::cache::Cache;
use crate::sets::{Report, Severity};

/// What the shard at `place` holds.
///
/// # Errors
/// If it cannot be read, or not be unpacked for reasons that lie not in it.
pub(super) fn survey(place: &Place, stamp: Stamp, cache: &Cache, rules: Rules) -> Result<Draft> {
    let (archive, trouble) = place.unpack(cache, stamp)?;
    let mut survey = Survey {
        file: &place.name,
        rules,
        draft: Draft::default(),
    };
    match trouble {
        None => survey.read(&archive)?,
        Some(Trouble::BytesBehind) => {
            survey.read(&archive)?;
            let problem = "something follows the compressed data";
            survey.note(Severity::Warning, "archive_bytes_behind_end", None, problem);
        }
        Some(Trouble::CutShort) => {
            survey.read(&archive)?;
            let reports = &survey.draft.reports;
            if !reports.iter().any(|report| report.severity == Severity::File) {
                let problem = "the compressed data end too early";
                survey.note(Severity::File, "archive_truncated", None, problem);
            }
        }
        // Nobody knows which of the bytes are the wrong ones.
        Some(Trouble::Invalid(problem)) => {
            survey.note(Severity::File, "archive_compression_invalid", None, &problem);
        }
        Some(Trouble::TooLarge) => {
            let most = cache.most_bytes();
            let problem = format!("unpacked it has more than the {most} bytes that the cache may hold");
            survey.note(Severity::File, "archive_too_large", None, &problem);
        }
    }
    Ok(survey.draft)
}

struct Survey<'a> {
    file: &'a str,
    rules: Rules,
    draft: Draft,
}

impl Survey<'_> {
    fn read(&mut self, archive: &File) -> Result<()> {
        let mut groups = Groups::new(archive, 0)?;
        let mut hash = Sha256::new();
        while let Some(group) = groups.next()? {
            self.take(&group, &mut hash);
        }
        self.draft.hash = hash.finalize().into();
        match groups.end() {
            Some(End::NoMarker) => {
                self.note(
                    Severity::Warning,
                    "archive_no_end_marker",
                    None,
                    "it ends without two blocks of zeros",
                );
            }
            Some(End::BytesBehind) => {
                self.note(
                    Severity::Warning,
                    "archive_bytes_behind_end",
                    None,
                    "something follows its end marker",
                );
            }
            Some(End::Broken(broken)) => self.note(Severity::File, broken.reason, None, &broken.problem),
            Some(End::Marker) | None => {}
        }
        Ok(())
    }

    fn take(&mut self, group: &Group, hash: &mut Sha256) {
        for name in &group.duplicates {
            let problem = format!("{name} is there twice, the first counts");
            self.note(Severity::Warning, "member_duplicate", Some(group.key()), &problem);
        }
        if let Err((reason, problem)) = self.rules.judge(group) {
            self.note(Severity::Skipped, reason, Some(group.key()), &problem);
            return;
        }
        hash.update(&group.key);
        for part in &group.parts {
            hash.update(part.extension.as_bytes());
            hash.update(part.data.to_le_bytes());
            hash.update(part.size.to_le_bytes());
        }
        self.draft.samples.push([group.start, group.end]);
    }

    fn note(&mut self, severity: Severity, reason: &str, key: Option<String>, problem: &str) {
        self.draft.reports.push(Report {
            severity,
            reason: reason.to_owned(),
            file: self.file.to_owned(),
            key,
            problem: problem.to_owned(),
        });
    }
}
