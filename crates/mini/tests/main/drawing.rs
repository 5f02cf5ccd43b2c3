//! Drawing scenes, with the four drawings of the fixture.

use blip2_mini::scenes::{
    CONCEPTS, IconSet, Scene, SceneArtist, SceneSet, ScenesError, Split, Sprite, Style,
};
use std::path::Path;

fn scenes(split: Split, count: u64) -> impl Iterator<Item = Scene> {
    (0..count).map(move |index| SceneSet::of_everything(11, split).scene(index))
}

fn fixture() -> IconSet {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/noto-icons.json");
    IconSet::load(Style::Noto, Path::new(path)).expect("the fixture")
}

fn fixture_concepts() -> Vec<usize> {
    let known = ["fox", "pizza", "red-apple", "key"];
    (0..CONCEPTS.len())
        .filter(|concept| known.contains(&CONCEPTS[*concept].icon))
        .collect()
}

#[test]
fn drawings_fill_their_places_and_nothing_else() {
    let known = fixture_concepts();
    let artist = SceneArtist::from_set(&fixture(), known.clone()).expect("all four are in the fixture");
    let drawable = |scene: &Scene| {
        scene.style == Style::Noto && scene.objects.iter().all(|object| known.contains(&object.concept))
    };
    let mut drawn = 0;
    for scene in scenes(Split::Train, 8_000).filter(drawable) {
        let side = 96;
        let picture = artist.render(&scene, side).expect("known drawings");
        assert_eq!(picture, artist.render(&scene, side).expect("known drawings"));
        let empty = Scene {
            objects: Vec::new(),
            ..scene.clone()
        };
        let ground = artist.render(&empty, side).expect("a ground");
        let mut touched = vec![0usize; scene.objects.len()];
        for (x, y, pixel) in picture.enumerate_pixels() {
            if pixel == ground.get_pixel(x, y) {
                continue;
            }
            let reach = |centre: f32, at: u32| (centre * side as f32 - at as f32 - 0.5).abs();
            let owner = scene.objects.iter().position(|object| {
                let half = object.side * side as f32 / 2.0 + 1.0;
                reach(object.x, x) <= half && reach(object.y, y) <= half
            });
            touched[owner.unwrap_or_else(|| panic!("{x},{y} lies in no drawing of {}", scene.caption))] += 1;
        }
        for (object, touched) in scene.objects.iter().zip(touched) {
            let area = (object.side * side as f32).powi(2);
            assert!(
                touched as f32 > 0.12 * area,
                "{touched} of {area} pixels are drawn in {}",
                scene.caption
            );
        }
        drawn += 1;
    }
    assert!(drawn >= 10, "only {drawn} scenes could be drawn with the fixture");
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let set = fixture();
    assert!(set.svg("apple").is_ok(), "an alias stands for its parent");
    assert!(matches!(
        set.svg("fox-facing-right"),
        Err(ScenesError::MissingIcon { .. })
    ));
    assert_eq!(set.names(), ["fox", "key", "pizza", "red-apple"]);
    let message = Sprite::rasterise(&set, "unicorn")
        .expect_err("no unicorn")
        .to_string();
    assert!(
        message.contains("unicorn") && message.contains("noto"),
        "{message}"
    );

    let artist = SceneArtist::from_set(&set, fixture_concepts()).expect("all four are in the fixture");
    let foreign = scenes(Split::HeldOutStyle, 1).next().expect("one scene");
    assert!(matches!(
        artist.render(&foreign, 32),
        Err(ScenesError::NoSprite {
            style: Style::Twemoji,
            ..
        })
    ));
    let empty = Scene {
        objects: Vec::new(),
        ..foreign
    };
    assert!(matches!(artist.render(&empty, 0), Err(ScenesError::NoPixels)));
    assert_eq!(artist.render(&empty, 1).expect("a ground").dimensions(), (1, 1));

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("icons.json");
    assert!(matches!(
        IconSet::load(Style::Noto, &path),
        Err(ScenesError::Read { .. })
    ));
    std::fs::write(&path, r#"{"icons": {"fox": {"body": "<path d="#).expect("written");
    assert!(matches!(
        IconSet::load(Style::Noto, &path),
        Err(ScenesError::Malformed { .. })
    ));
    std::fs::write(
        &path,
        r#"{"icons": {"fox": {"body": "<path"}, "nothing": {"body": ""}}}"#,
    )
    .expect("written");
    let broken = IconSet::load(Style::Noto, &path).expect("a set");
    for icon in ["fox", "nothing"] {
        assert!(
            matches!(Sprite::rasterise(&broken, icon), Err(ScenesError::Svg { .. })),
            "{icon}"
        );
    }
}
