//! Attention over the patches of a picture as a transparent layer of colour.

use png::{BitDepth, ColorType, Encoder, EncodingError};

/// Least pixels along the longer side of a layer; the browser smooths the rest of the way.
const PIXELS: usize = 64;
/// Red, green, blue and opacity where a query does not look, and where it looks most.
const AWAY: [f32; 4] = [18.0, 22.0, 48.0, 190.0];
const THERE: [f32; 4] = [255.0, 176.0, 32.0, 45.0];

/// Red, green, blue and opacity of a layer of `[height, width]` pixels over a picture, row by row: the `weights` `[rows, columns]`
/// of `grid`, none of them negative, relative to their greatest. The picture is clear where they are large.
pub fn heat(
    weights: &[f32],
    [rows, columns]: [usize; 2],
    [height, width]: [usize; 2],
) -> impl Iterator<Item = [u8; 4]> {
    let most = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    (0..height).flat_map(move |y| {
        let (upper, lower, down) = between(y, height, rows);
        (0..width).map(move |x| {
            let (left, right, along) = between(x, width, columns);
            let mix = |row: usize| {
                weights[row * columns + left] * (1.0 - along) + weights[row * columns + right] * along
            };
            let strength = (mix(upper) * (1.0 - down) + mix(lower) * down) / most;
            std::array::from_fn(|part| (AWAY[part] + (THERE[part] - AWAY[part]) * strength) as u8)
        })
    })
}

/// PNG of such a layer, of few pixels.
pub(crate) fn layer(weights: &[f32], grid: [usize; 2]) -> Result<Vec<u8>, EncodingError> {
    let cell = PIXELS.div_ceil(grid[0].max(grid[1]));
    let [height, width] = grid.map(|cells| cells * cell);
    let pixels: Vec<u8> = heat(weights, grid, [height, width]).flatten().collect();
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, width as u32, height as u32);
    encoder.set_color(ColorType::Rgba);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(png)
}

/// The two of `cells` between whose middles a pixel of `pixels` lies, and how far it is on the way to the second.
fn between(pixel: usize, pixels: usize, cells: usize) -> (usize, usize, f32) {
    let place = (pixel as f32 + 0.5) * cells as f32 / pixels as f32 - 0.5;
    let place = place.clamp(0.0, (cells - 1) as f32);
    let first = place as usize;
    (first, (first + 1).min(cells - 1), place - first as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_is_clear_where_the_query_looks() {
        let png = layer(&[0.0, 0.0, 0.0, 0.0, 0.0, 2.0], [2, 3]).unwrap();
        let picture = image::load_from_memory(&png).unwrap().to_rgba8();
        assert_eq!(picture.dimensions(), (66, 44));
        assert_eq!(picture.get_pixel(65, 43).0, THERE.map(|part| part as u8));
        assert_eq!(picture.get_pixel(0, 0).0, AWAY.map(|part| part as u8));
        // Half way between the middles of the last two cells.
        let middle = picture.get_pixel(44, 43).0[0];
        assert!((120..160).contains(&middle), "{middle}");
    }

    #[test]
    fn a_query_that_looks_everywhere_is_clear_everywhere() {
        let png = layer(&[0.25; 4], [2, 2]).unwrap();
        let picture = image::load_from_memory(&png).unwrap().to_rgba8();
        assert!(
            picture
                .pixels()
                .all(|pixel| pixel.0 == THERE.map(|part| part as u8))
        );
    }
}
