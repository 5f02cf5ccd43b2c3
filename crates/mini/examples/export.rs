//! Writes emoji scenes as webdataset shards, which a run can read in their place.
//!
//! `cargo run --release -p blip2-mini --example export -- recipes/mini/world.toml FOLDER [ASSETS_HOME]`

use std::error::Error;
use std::io::Write;
use std::path::Path;

use blip2_mini::{SceneDataset, Shown, World, write_shards};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (world, folder, home) = match &arguments[..] {
        [world, folder] => (world, folder, blip2::home()?),
        [world, folder, home] => (world, folder, home.into()),
        _ => return Err("usage: export WORLD.toml FOLDER [ASSETS_HOME]".into()),
    };
    let world = World::read(Path::new(world))?;
    let set = SceneDataset::new("scenes".to_owned(), world, Shown::TRAINING, &home)?;
    let written = write_shards(&set, Path::new(folder))?;
    writeln!(std::io::stdout(), "{written} scenes in {folder}")?;
    Ok(())
}
