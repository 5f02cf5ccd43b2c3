//! easy-VQA out of its Python package, as JSON lines beside pictures: `cargo xtask assets --with easy-vqa`.
//!
//! Questions about the shape in a picture of 64 pixels, its kind and its colour: 38,575 about 4,000 pictures to learn from, and 9,673
//! about 1,000 others.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use zip::ZipArchive;

use crate::assets;
use crate::catalogue::EASY_VQA;
use crate::places::shown;

/// What it is asked for by, and its folder in that of the assets.
pub(crate) const NAME: &str = "easy-vqa";
/// The parts of the set: each is a folder of the package, and a list and a folder of pictures here.
const PARTS: [&str; 2] = ["train", "test"];

/// Makes sure that lists and pictures are in the assets under `home`: fetches the package and unpacks it where they are not.
///
/// # Errors
/// The package cannot be fetched or is not the one that is known, or the disk refuses.
pub(crate) fn ensure(home: &Path) -> Result<()> {
    assets::ensure_packages(home, EASY_VQA)?;
    let assets = home.join("assets");
    for file in EASY_VQA.iter().flat_map(|package| package.files) {
        let package = assets.join(file.place);
        for part in PARTS {
            unpack(&package, part, &assets.join(NAME))
                .with_context(|| format!("cannot unpack {} of {}", part, shown(&package)))?;
        }
    }
    Ok(())
}

/// Writes the pictures of `part` into a folder of its name in `folder`, and last its list beside it: with the list, all is there.
fn unpack(package: &Path, part: &str, folder: &Path) -> Result<()> {
    let list = folder.join(format!("{part}.jsonl"));
    if list.is_file() {
        return Ok(());
    }
    let mut package = ZipArchive::new(File::open(package)?)?;
    let mut member = |path: &str| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = package
            .by_name(&format!("easy_vqa/data/{part}/{path}"))
            .with_context(|| format!("there is no {path}"))?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let asked: Vec<(String, String, u64)> =
        serde_json::from_slice(&member("questions.json")?).context("the questions are of another form")?;
    let pictures = folder.join(part);
    fs::create_dir_all(&pictures)?;
    for picture in asked.iter().map(|(.., picture)| picture).collect::<BTreeSet<_>>() {
        fs::write(
            pictures.join(format!("{picture}.png")),
            member(&format!("images/{picture}.png"))?,
        )?;
    }
    let lines = asked
        .into_iter()
        .enumerate()
        .map(|(number, (question, answer, picture))| {
            let line = json!({
                "image": format!("{part}/{picture}.png"),
                "image_id": format!("{part}-{picture}"),
                "question_id": number,
                "question": question,
                "answers": [answer],
            });
            format!("{line}\n")
        });
    let partial = list.with_extension("partial");
    fs::write(&partial, lines.collect::<String>())?;
    fs::rename(&partial, &list)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn questions_become_lines_beside_their_pictures() {
        let scratch = tempfile::tempdir().unwrap();
        let (package, folder) = (
            scratch.path().join("package.whl"),
            scratch.path().join("easy-vqa"),
        );
        let write = |members: &[(&str, &[u8])]| {
            let mut wheel = zip::ZipWriter::new(File::create(&package).unwrap());
            for (name, content) in members {
                let options = zip::write::SimpleFileOptions::default();
                wheel
                    .start_file(format!("easy_vqa/data/{name}"), options)
                    .unwrap();
                wheel.write_all(content).unwrap();
            }
            wheel.finish().unwrap();
        };
        let asked = br#"[["what shape is this?", "circle", 3], ["is it red?", "no", 3]]"#;
        write(&[("train/questions.json", asked)]);
        let error = unpack(&package, "train", &folder).unwrap_err();
        assert!(format!("{error:#}").contains("images/3.png"), "{error:#}");
        assert!(!folder.join("train.jsonl").exists());

        write(&[
            ("train/questions.json", asked),
            ("train/images/3.png", b"picture"),
        ]);
        unpack(&package, "train", &folder).unwrap();
        assert_eq!(fs::read(folder.join("train/3.png")).unwrap(), b"picture");
        let list = fs::read_to_string(folder.join("train.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = list
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1],
            json!({
                "image": "train/3.png", "image_id": "train-3", "question_id": 1, "question": "is it red?", "answers": ["no"],
            })
        );
        // What is whole is left alone.
        fs::remove_file(&package).unwrap();
        unpack(&package, "train", &folder).unwrap();
    }
}
