//! Emoji scenes as a data set: its parts by name, questions in place of captions, and the recipe of a run in place of a world.
//!
//! Needs the assets of the demo: `cargo xtask test` provides them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use blip2_data::sets::{DataSpec, Dataset, SetError};
use blip2_mini::{SceneDataset, World};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/mini/demo.toml");

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn home() -> Option<PathBuf> {
    let home = std::env::var_os("BLIP2_HOME").map(PathBuf::from);
    let found = home.filter(|home| home.join("assets/openmoji/icons.json").is_file());
    if found.is_none() {
        eprintln!(
            "SKIPPED: the drawings of the demo are absent; run `cargo xtask assets` and set BLIP2_HOME"
        );
    }
    found
}

/// The demo's scenes, with `options` behind the path.
fn open(home: &Path, options: &str) -> Result<SceneDataset, SetError> {
    let spec: DataSpec = format!("scenes:{DEMO}#{options}").parse().expect("a spec");
    SceneDataset::open(&spec, home)
}

#[test]
fn parts_are_read_by_name_and_held_out_captions_come_once() {
    let Some(home) = home() else { return };
    let [trained, style, pairs] = ["", "split=held-out style", "split=held-out pairs"].map(|options| {
        let set = open(&home, options).expect("scenes");
        let some = (0..set.len().min(200)).map(|index| set.read(index).expect("a scene"));
        let captions: Vec<String> = some.flat_map(|sample| sample.texts).collect();
        (set.fingerprint(), captions)
    });
    assert_ne!(style.0, trained.0);
    let distinct = |captions: &[String]| captions.iter().cloned().collect::<HashSet<_>>();
    assert_eq!(distinct(&style.1).len(), style.1.len());
    assert!(distinct(&trained.1).len() < trained.1.len());
    assert!(
        distinct(&pairs.1).is_disjoint(&distinct(&trained.1)),
        "a pair that is held out was shown"
    );
    for (options, named) in [("split=test", "held-out pairs"), ("text=paraphrase", "`answer`")] {
        let error = open(&home, options).err().expect("a refusal").to_string();
        assert!(error.contains(named) && error.contains("demo.toml"), "{error}");
    }
}

#[test]
fn questions_stand_in_place_of_captions() {
    let Some(home) = home() else { return };
    let [said, asked] = ["split=validation", "split=validation,text=answer"]
        .map(|options| open(&home, options).expect("scenes"));
    assert_eq!(said.len(), asked.len());
    assert_ne!(said.fingerprint(), asked.fingerprint());
    for index in 0..20 {
        let (said, asked) = (
            said.read(index).expect("a scene"),
            asked.read(index).expect("a scene"),
        );
        assert_eq!((said.texts.len(), said.question.is_none()), (1, true));
        let question = asked.question.expect("a question");
        assert!(
            asked.texts.is_empty() && question.text.ends_with('?'),
            "{question:?}"
        );
        assert_eq!(question.answers.len(), 1);
        assert_eq!(
            (said.key, said.picture),
            (asked.key, asked.picture),
            "the same picture"
        );
    }
}

#[test]
fn one_noisy_caption_in_three_is_another_scene_s() {
    let Some(home) = home() else { return };
    let [said, noisy] = ["split=validation", "split=validation,text=noisy"]
        .map(|options| open(&home, options).expect("scenes"));
    assert_ne!(said.fingerprint(), noisy.fingerprint());
    let caption = |set: &SceneDataset, index| set.read(index).expect("a scene").texts.concat();
    for index in 0..60 {
        let same = caption(&said, index) == caption(&noisy, index);
        assert_eq!(same, !index.is_multiple_of(3), "scene {index}");
    }
    // It is the caption of a scene that is mistold itself.
    let others: HashSet<String> = (0..said.len())
        .step_by(3)
        .map(|index| caption(&said, index))
        .collect();
    assert!(others.contains(&caption(&noisy, 30)));
}

#[test]
fn a_recipe_speaks_of_the_world_that_its_keys_make() {
    let Some(home) = home() else { return };
    let world = World::read(Path::new(DEMO)).expect("a world");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("world.toml");
    std::fs::write(&file, toml::to_string(&world).expect("TOML")).expect("writing");
    let spec = DataSpec::new("scenes", file.to_string_lossy());
    let set = SceneDataset::open(&spec, &home).expect("scenes");
    assert_eq!(set.fingerprint(), open(&home, "").expect("scenes").fingerprint());
    let recipe = std::fs::read_to_string(DEMO).expect("a recipe");
    let lines = recipe.lines().filter(|line| !line.starts_with("image_size"));
    let without: Vec<&str> = lines.collect();
    std::fs::write(&file, without.join("\n")).expect("writing");
    let error = World::read(&file).expect_err("a refusal").to_string();
    assert!(error.contains("encoder.image_size"), "{error}");
}
