//! A prompt for each picture, out of a file.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use blip2::CaptionRequest;
use blip2_core::files;
use serde::Deserialize;

use super::Job;
use crate::model::named;

/// The lines of a file of prompts.
pub(super) struct Prompts {
    path: PathBuf,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    image: PathBuf,
    prompt: String,
}

impl Prompts {
    /// Reads JSON lines with `image` and `prompt`; what else they say is left alone.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = files::read(path)
            .and_then(|content| String::from_utf8(content).map_err(io::Error::other))
            .with_context(|| format!("cannot read {}", named(path)))?;
        // Editors of Windows begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let parse = |(index, line)| {
            serde_json::from_str(line).with_context(|| {
                let number = index + 1;
                format!(
                    "line {number} of {} is not {{\"image\": PATH, \"prompt\": TEXT}}",
                    named(path)
                )
            })
        };
        let lines: Vec<Line> = lines.map(parse).collect::<Result<_>>()?;
        if lines.is_empty() {
            bail!("{} holds no prompt", named(path));
        }
        Ok(Self {
            path: path.to_owned(),
            lines,
        })
    }

    /// Each line, for the picture at its path as seen from here, or else from the folder of the file.
    pub(super) fn into_jobs(self) -> Vec<Job> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let job = |Line { image, prompt }: Line| {
            let near = folder.join(&image);
            let file = if !image.exists() && near.exists() {
                near
            } else {
                image.clone()
            };
            Job {
                image: named(&image),
                request: CaptionRequest { file, prompt },
            }
        };
        self.lines.into_iter().map(job).collect()
    }

    /// Each of `pictures` with the prompts of the lines that its path ends like, the most exact ones; else with `otherwise`.
    ///
    /// # Errors
    /// Where there is neither for a picture.
    pub(super) fn of_pictures(self, pictures: Vec<PathBuf>, otherwise: Option<&str>) -> Result<Vec<Job>> {
        let mut by_path: HashMap<PathBuf, Vec<&str>> = HashMap::new();
        for line in &self.lines {
            by_path.entry(plain(&line.image)).or_default().push(&line.prompt);
        }
        let (mut jobs, mut without, mut used) = (Vec::new(), Vec::new(), HashSet::new());
        for picture in pictures {
            let path = plain(&picture);
            let ends = path.components().count();
            let end = (0..ends).map(|skipped| path.components().skip(skipped).collect::<PathBuf>());
            let found = end.into_iter().find_map(|end| by_path.get_key_value(&end));
            let prompts = match (found, otherwise) {
                (Some((path, prompts)), _) => {
                    used.insert(path);
                    prompts.clone()
                }
                (None, Some(prompt)) => vec![prompt],
                (None, None) => {
                    without.push(named(&picture));
                    continue;
                }
            };
            jobs.extend(prompts.into_iter().map(|prompt| Job {
                image: named(&picture),
                request: CaptionRequest {
                    file: picture.clone(),
                    prompt: prompt.to_owned(),
                },
            }));
        }
        if let Some(first) = without.first() {
            bail!(
                "{} has no prompt for {} of the pictures, of which the first is {first}: add them, or give --prompt for them",
                named(&self.path),
                without.len()
            );
        }
        let idle: Vec<String> = by_path
            .keys()
            .filter(|path| !used.contains(path))
            .map(|path| named(path))
            .collect();
        if let Some(first) = idle.iter().min() {
            tracing::warn!(
                "{} names {} pictures that were not given, among them {first}",
                named(&self.path),
                idle.len()
            );
        }
        Ok(jobs)
    }
}

/// `path` without the steps that stay where they are.
fn plain(path: &Path) -> PathBuf {
    path.components()
        .filter(|component| *component != Component::CurDir)
        .collect()
}
