//! Which pictures of the packages are photographs, and what the packages call what they show.

/// A picture that is taken.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    /// Folders and name within the package, as a key of a sample.
    pub(super) key: String,
    /// What its file is called, in words; of a stamp nothing yet.
    pub(super) words: String,
}

/// The photographs that GCompris sorts, of which those of monuments are in its tour of monuments as well.
const SORTED: [&str; 4] = ["fishes", "others", "renewable", "tools"];
/// The parts of Tux Paint's stamps that are photographs but for some folders.
const STAMPS: [&str; 8] = [
    "animals",
    "food",
    "hobbies",
    "household",
    "medical",
    "plants",
    "sports",
    "vehicles",
];
const DRAWN: [&str; 3] = ["cartoon", "plastic", "toys"];

/// The photograph of GCompris at `path` in its resources, called by the words of its file's name, a monument with its country.
pub(super) fn gcompris(path: &str) -> Option<Named> {
    let path = path
        .strip_prefix("gcompris/src/activities/")?
        .strip_suffix(".webp")?;
    let parts: Vec<&str> = path.split('/').collect();
    let (name, folders) = parts.split_last()?;
    let words = match folders {
        ["categorization", "resource", "images", sorted] if SORTED.contains(sorted) => words(name),
        ["explore_monuments", "resource", "wonders"] => words(name),
        ["explore_monuments", "resource", country] => format!("{}, {country}", words(name)),
        [
            "explore_farm_animals" | "explore_world_animals",
            "resource",
            "animals",
        ]
        | ["erase", "resource"] => words(name),
        _ => return None,
    };
    Some(Named {
        key: format!("gcompris-{}", parts.join("-")),
        words,
    })
}

/// The stamp of Tux Paint at `path` in its package, but for what is drawn.
pub(super) fn stamp(path: &str) -> Option<Named> {
    let path = path
        .strip_prefix("./usr/share/tuxpaint/stamps/")?
        .strip_suffix(".png")?;
    let parts: Vec<&str> = path.split('/').collect();
    let is_drawn = parts.iter().any(|part| DRAWN.contains(part));
    // A second picture of one stamp, as in a mirror.
    let is_turned = path.ends_with("_mirror") || path.ends_with("_flip");
    let is_taken = STAMPS.contains(parts.first()?) && !is_drawn && !is_turned && !path.contains('.');
    is_taken.then(|| Named {
        key: format!("stamps-{}", parts.join("-")),
        words: String::new(),
    })
}

/// `screwDriver2` as `screw driver`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars().filter(|letter| !letter.is_numeric()) {
        if (letter.is_uppercase() || letter == '_') && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase().filter(|letter| *letter != '_'));
    }
    words.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_are_told_from_drawings_and_named_by_their_files() {
        let named = |path: &str| {
            let path = format!("gcompris/src/activities/{path}");
            gcompris(&path).map(|named| (named.key, named.words))
        };
        let found = |key: &str, words: &str| Some((format!("gcompris-{key}"), words.to_owned()));
        assert_eq!(
            named("categorization/resource/images/tools/screwDriver2.webp"),
            found(
                "categorization-resource-images-tools-screwDriver2",
                "screw driver"
            )
        );
        assert_eq!(
            named("explore_monuments/resource/france/eiffelTower.webp"),
            found(
                "explore_monuments-resource-france-eiffelTower",
                "eiffel tower, france"
            )
        );
        assert_eq!(
            named("explore_world_animals/resource/animals/polar_bear.webp"),
            found("explore_world_animals-resource-animals-polar_bear", "polar bear")
        );
        for other in [
            "categorization/resource/images/monuments/eiffelTower.webp",
            "categorization/resource/images/tools/tools.svg",
            "explore_world_music/resource/music/japan.webp",
            "lang/resource/words_sample/bear.webp",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn stamps_are_taken_but_for_what_is_drawn_or_turned() {
        let key = |path: &str| {
            let named = stamp(&format!("./usr/share/tuxpaint/stamps/{path}"));
            named.map(|named| named.key)
        };
        assert_eq!(
            key("animals/birds/crow.png"),
            Some("stamps-animals-birds-crow".to_owned())
        );
        for other in [
            "animals/birds/crow.txt",
            "animals/birds/crow_mirror.png",
            "food/fruit/cartoon/pear.png",
            "symbols/chess/king.png",
        ] {
            assert_eq!(key(other), None, "{other}");
        }
    }
}
