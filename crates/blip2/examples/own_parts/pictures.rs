//! Pictures of squares, and their captions.

use blip2_data::pixels::RgbImage;
use image::Rgb;

/// Height and width of a picture, in pixels.
pub(crate) const SIDE: usize = 16;
pub(crate) const COLOURS: [(&str, [u8; 3]); 5] = [
    ("red", [220, 30, 30]),
    ("green", [30, 200, 40]),
    ("blue", [40, 60, 230]),
    ("yellow", [230, 220, 40]),
    ("white", [240, 240, 240]),
];
pub(crate) const PLACES: [&str; 4] = ["top left", "top right", "bottom left", "bottom right"];

/// A square of colour in a quarter of a dark picture; `number` decides which, where exactly, and how dark.
pub(crate) fn example(number: usize) -> (RgbImage, String) {
    let (colour, place) = (number % COLOURS.len(), number / COLOURS.len() % PLACES.len());
    let (name, rgb) = COLOURS[colour];
    let variant = number / (COLOURS.len() * PLACES.len());
    let (size, shade) = (5 + variant % 3, (variant * 37 % 60) as u8);
    let half = SIDE / 2;
    let (left, top) = (place % 2 * half + variant % 2, place / 2 * half + variant / 2 % 2);
    let picture = RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        let (x, y) = (x as usize, y as usize);
        let inside = (left..left + size).contains(&x) && (top..top + size).contains(&y);
        Rgb(if inside { rgb } else { [shade; 3] })
    });
    (picture, format!("a {name} square {}", PLACES[place]))
}
