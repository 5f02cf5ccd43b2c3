//! Pictures and the captions that were kept for them, as webdataset shards.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor};
use std::path::Path;

use anyhow::{Context, Result};
use blip2_data::sets::{Dataset, Picture, Sample};
use image::ImageFormat;
use serde_json::json;
use tar::{Builder, Header};

use super::output::Filtered;
use crate::model::named;
use crate::progress;

/// Pictures in a shard.
const PICTURES: usize = 1000;

/// Writes `00000.tar` and on into `folder`: for each line of `captions` the picture of `set`, and a `.json` with `caption` (the list
/// of captions, best first), `scores` and `key`. Members are named by the index of the sample, since a key may hold what no name of
/// a member may. A shard appears whole or not at all.
pub(super) fn write(set: &dyn Dataset, captions: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", named(folder)))?;
    let file = File::open(captions).with_context(|| format!("cannot read {}", named(captions)))?;
    let mut lines = BufReader::new(file).lines().peekable();
    let spinner = progress::spinner("writing shards");
    let mut number = 0;
    while lines.peek().is_some() {
        let path = folder.join(format!("{number:05}.tar"));
        let draft = path.with_extension("tar.partial");
        let wrong = || format!("cannot write {}", named(&path));
        let mut shard = Builder::new(File::create(&draft).with_context(wrong)?);
        for line in lines.by_ref().take(PICTURES) {
            append(&mut shard, set, &serde_json::from_str(&line?)?).with_context(wrong)?;
        }
        shard.finish().with_context(wrong)?;
        fs::rename(&draft, &path).with_context(wrong)?;
        number += 1;
    }
    spinner.finish_and_clear();
    Ok(())
}

fn append(shard: &mut Builder<File>, set: &dyn Dataset, filtered: &Filtered) -> Result<()> {
    let Filtered {
        index,
        key,
        captions,
        scores,
        ..
    } = filtered;
    let sample = set.read(*index)?;
    let (ending, bytes) = member(&sample)?;
    let text = json!({"key": key, "caption": captions, "scores": scores}).to_string();
    for (ending, content) in [(ending, &bytes[..]), ("json", text.as_bytes())] {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        shard.append_data(&mut header, format!("{index:09}.{ending}"), content)?;
    }
    Ok(())
}

/// The picture of `sample` as it lies, where its kind is one that shards hold; else as PNG.
fn member(sample: &Sample) -> Result<(&'static str, Vec<u8>)> {
    if let Picture::Encoded(bytes) = &sample.picture {
        let ending = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => Some("jpg"),
            Ok(ImageFormat::Png) => Some("png"),
            Ok(ImageFormat::WebP) => Some("webp"),
            _ => None,
        };
        if let Some(ending) = ending {
            return Ok((ending, bytes.to_vec()));
        }
    }
    let mut png = Cursor::new(Vec::new());
    let pixels = sample.picture.decode(&sample.key)?;
    pixels.write_to(&mut png, ImageFormat::Png)?;
    Ok(("png", png.into_inner()))
}
