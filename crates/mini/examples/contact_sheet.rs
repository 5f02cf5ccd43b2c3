//! Draws the first scenes of each split as rows of one PNG and prints their captions, to look at what a model is shown:
//! `cargo run --release -p blip2-mini --example contact_sheet -- ASSETS_HOME SHEET.png [SEED]`

use blip2_data::pixels::RgbImage;
use blip2_mini::scenes::{EmojiAssets, SceneArtist, SceneSet, Split};
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

const SIDE: u32 = 224;
const COLUMNS: u64 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (home, sheet, seed) = match &arguments[..] {
        [home, sheet] => (home, sheet, 0),
        [home, sheet, seed] => (home, sheet, seed.parse()?),
        _ => return Err("usage: contact_sheet ASSETS_HOME SHEET.png [SEED]".into()),
    };
    let mut output = std::io::stdout();
    let start = Instant::now();
    let artist = SceneArtist::load(&EmojiAssets::in_home(Path::new(home)))?;
    writeln!(
        output,
        "drawings ready after {:.1} s",
        start.elapsed().as_secs_f32()
    )?;

    let mut picture = RgbImage::new(COLUMNS as u32 * SIDE, Split::ALL.len() as u32 * SIDE);
    let start = Instant::now();
    for (row, split) in Split::ALL.into_iter().enumerate() {
        writeln!(output, "{split}:")?;
        for column in 0..COLUMNS {
            let scene = SceneSet::of_everything(seed, split).scene(column);
            writeln!(output, "  {}", scene.caption)?;
            let drawn = artist.render(&scene, SIDE)?;
            let (left, top) = (column as i64 * i64::from(SIDE), row as i64 * i64::from(SIDE));
            image::imageops::replace(&mut picture, &drawn, left, top);
        }
    }
    let count = Split::ALL.len() as f32 * COLUMNS as f32;
    writeln!(
        output,
        "{:.0} scenes a second at {SIDE} pixels",
        count / start.elapsed().as_secs_f32()
    )?;
    picture.save(sheet)?;
    Ok(())
}
