//! What LAVIS's RandAugment makes of two pictures (`augment`, made by `tests/peer/rand_augment.py` with OpenCV 4.5).

use blip2_data::pixels::{ContrastStretch, Operation, RandAugment, RgbImage};
use blip2_golden::{Check, TensorFile, each, root};

fn picture(tensors: &TensorFile, name: &str) -> RgbImage {
    let array = tensors.array(name);
    let bytes = array.values.iter().map(|value| *value as u8).collect();
    RgbImage::from_raw(array.shape[1] as u32, array.shape[0] as u32, bytes).expect("[height, width, 3] bytes")
}

#[test]
fn golden_rand_augment_operations_are_lavis_s() {
    if !root().join("augment").exists() {
        return;
    }
    let tensors = TensorFile::open("augment/expected.safetensors");
    each(tensors.names().iter().filter(|name| name.contains('/')), |name| {
        let parts: Vec<&str> = name.split('/').collect();
        let [original, operation, level, sign] = parts[..] else {
            panic!("{name} is no picture, operation, level and sign");
        };
        let operation = Operation::ALL
            .into_iter()
            .find(|known| format!("{known:?}") == operation);
        let operation = operation.unwrap_or_else(|| panic!("{name}: an operation that is not known"));
        let rand_augment = RandAugment {
            level: level.parse().expect("a number"),
            contrast: ContrastStretch::Lavis,
            ..RandAugment::lavis()
        };
        let mut ours = picture(&tensors, original);
        rand_augment.operate(&mut ours, operation, sign == "minus");
        let mut check = Check::new("augment");
        check.identical(name, ours.as_raw(), picture(&tensors, name).as_raw());
    });
}
