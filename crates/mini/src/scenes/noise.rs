//! Captions as the web has them: some are of another picture.

use super::Scene;

/// One caption in so many is another picture's.
const MISTOLD: usize = 3;

/// The captions of `scenes`, of which every third is that of the next such scene whose caption is not true of it.
pub fn noisy_captions(scenes: &[Scene]) -> Vec<&str> {
    let mistold: Vec<&Scene> = scenes.iter().step_by(MISTOLD).collect();
    let caption = |(index, scene): (usize, &'_ Scene)| -> usize {
        let others = (1..mistold.len()).map(|step| (index / MISTOLD + step) % mistold.len());
        let is_false = |other: &usize| {
            let told = &mistold[*other].caption;
            *told != scene.caption && !scene.paraphrases.contains(told)
        };
        let other = index
            .is_multiple_of(MISTOLD)
            .then(|| others.into_iter().find(is_false));
        other.flatten().map_or(index, |other| other * MISTOLD)
    };
    let places = scenes.iter().enumerate().map(caption);
    places.map(|place| scenes[place].caption.as_str()).collect()
}
