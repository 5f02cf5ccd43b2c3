//! Linear maps with packed weights.

use blip2_kernels::{
    PackError, PackedWeight, Packing, Products, linear, packed_embedding, packed_linear, with_products,
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use proptest::prelude::*;

use crate::support::{close, composed, numbers, read, rounds, tensor};

const PACKINGS: [Packing; 3] = [Packing::Bf16, Packing::Int8, Packing::Int4];

fn data(seed: u64, shape: [usize; 2], dtype: DType) -> TensorData {
    TensorData::new(numbers(seed, shape[0] * shape[1]), shape).convert_dtype(dtype)
}

/// Half the distance between levels, at most, for numbers of [`numbers`]; and what rounding to bfloat16 adds.
fn error(packing: Packing) -> f64 {
    let (range, rounding) = (2.0 * 3.4, 3.4 / 256.0);
    match packing {
        Packing::Bf16 => rounding,
        Packing::Int8 => range / 255.0 / 2.0 * 1.2 + rounding,
        Packing::Int4 => range / 15.0 / 2.0 * 1.05 + rounding,
    }
}

/// Few rows are multiplied with the levels as they are, more with levels rounded to bfloat16.
const FEW: usize = 16;

/// What rounding `x` to 16 bits of the largest of 32 neighbours does to a product with a row of a weight: six deviations, if
/// `x` had that largest number everywhere.
fn noise(x: &[f64], weight: &[f64], inputs: usize) -> f64 {
    let largest = x.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let length = |row: &[f64]| row.iter().map(|number| number * number).sum::<f64>().sqrt();
    let longest = weight.chunks(inputs).map(length).fold(0.0, f64::max);
    6.0 * largest / 32639.0 / 12f64.sqrt() * longest
}

/// What [`close`] relates its tolerance to.
fn size(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |largest, value| largest.max(value.abs()))
}

/// The nearest numbers in bfloat16, with the gradient as if they were the numbers themselves.
fn near<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let away = x.clone().cast(DType::BF16).cast(DType::F32) - x.clone();
    x + away.detach()
}

/// A packed map gives what the map with the numbers that it stands for gives, forwards and backwards.
fn check([rows, inputs, outputs]: [usize; 3], packing: Packing, dtype: DType) {
    let source = data(2, [outputs, inputs], dtype);
    let weight = PackedWeight::new(source.clone(), packing).expect("a weight");
    assert_eq!((weight.dims(), weight.packing()), ([outputs, inputs], packing));
    let unpacked = weight.unpacked();
    let original: Vec<f64> = source.iter::<f64>().collect();
    for (index, (number, original)) in unpacked.iter::<f64>().zip(original).enumerate() {
        assert!(
            (number - original).abs() <= error(packing),
            "{packing:?}: {number} for {original} at {index}"
        );
    }

    let device = Device::flex().autodiff();
    let x = Tensor::<1>::from_data(numbers(1, rows * inputs).as_slice(), &device)
        .reshape([1, rows, inputs])
        .require_grad();
    let bias = Tensor::<1>::from_data(numbers(3, outputs).as_slice(), &device);
    let probe =
        Tensor::<1>::from_data(numbers(4, rows * outputs).as_slice(), &device).reshape([1, rows, outputs]);
    let outcome = |y: Tensor<3>, probe: Tensor<3>| {
        let gradients = (y.clone() * probe).sum().backward();
        (read(y), read(x.grad(&gradients).expect("a gradient")))
    };
    let found = outcome(
        packed_linear(x.clone(), &weight, Some(bias.clone())),
        probe.clone(),
    );
    let plain = Tensor::from_data(unpacked, &device);
    let mapped = |products| {
        // What is packed takes rounded operands also where others stay as they are.
        let by_hand = products == Products::Bf16 && !rounds();
        let x = if by_hand { near(x.clone()) } else { x.clone() };
        let plain = if by_hand {
            near(plain.clone())
        } else {
            plain.clone()
        };
        let probe = if by_hand {
            near(probe.clone())
        } else {
            probe.clone()
        };
        let y = with_products(products, || linear(x, plain, Some(bias.clone())));
        outcome(y, probe)
    };
    let rounded = mapped(Products::Bf16);
    let (expected, tolerance) = if packing != Packing::Bf16 && rows <= FEW && !composed() {
        let exact = mapped(Products::F32).0;
        let tolerance =
            1e-5 + noise(&numbers(1, rows * inputs), &numbers(2, outputs * inputs), inputs) / size(&exact);
        (exact, tolerance)
    } else {
        (rounded.0, 1e-5)
    };
    close("values", &found.0, &expected, tolerance);
    close("gradient of x", &found.1, &rounded.1, 1e-5);
    let without = packed_linear(x.clone().inner(), &weight, None) + bias.inner().unsqueeze();
    close("values without bias", &read(without), &expected, tolerance);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn packed_maps_are_maps_with_what_they_stand_for(
        rows in prop_oneof![1usize..=20, 21usize..40],
        inputs in 1usize..140,
        outputs in 1usize..70,
        packing in prop::sample::select(&PACKINGS[..]),
        dtype in prop::sample::select(&[DType::F32, DType::F16, DType::BF16][..]),
    ) {
        check([rows, inputs, outputs], packing, dtype);
    }
}

#[test]
fn few_rows_and_long_sums() {
    for packing in PACKINGS {
        for rows in (1..=9).chain([16, 17]) {
            check([rows, 2085, 301], packing, DType::BF16);
        }
        check([97, 70, 1100], packing, DType::F32);
    }
}

#[test]
fn what_is_no_number_is_not_lost() {
    for packing in PACKINGS {
        let weight = PackedWeight::new(data(1, [20, 70], DType::F32), packing).expect("a weight");
        for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut values = numbers(2, 2 * 70);
            values[40] = strange;
            let y = read(packed_linear(tensor(&values, [2, 70], DType::F32), &weight, None));
            assert!(
                y[..20].iter().all(|y| !y.is_finite()),
                "{packing:?}, {strange}: {y:?}"
            );
            assert!(
                y[20..].iter().all(|y| y.is_finite()),
                "{packing:?}, {strange}: {y:?}"
            );
        }
    }
}

#[test]
fn a_weight_in_bfloat16_is_kept_as_it_is() {
    let source = data(1, [37, 45], DType::BF16);
    let weight = PackedWeight::new(source.clone(), Packing::Bf16).expect("a weight");
    assert_eq!(
        weight.unpacked().try_to_vec::<f32>().expect("numbers"),
        source
            .convert_dtype(DType::F32)
            .try_to_vec::<f32>()
            .expect("numbers")
    );
}

#[test]
fn products_are_the_same_before_and_after_tiles_are_kept() {
    // Outputs that end within a block, inputs that end within a tile, and several parts of a sum.
    for [outputs, inputs] in [[16, 32], [37, 45], [301, 2085]] {
        let source = data(1, [outputs, inputs], DType::BF16);
        for rows in [1, 3, 6, 20] {
            let device = Device::flex().autodiff();
            let x = Tensor::<1>::from_data(numbers(2, rows * inputs).as_slice(), &device)
                .reshape([rows, inputs])
                .require_grad();
            let ids = Tensor::<1, Int>::from_data([0, outputs as i64 - 1], &Device::flex());
            let outcome = |weight: &PackedWeight| {
                let y = packed_linear(x.clone(), weight, None);
                // Its backward pass is a product, too.
                let gradient = x.grad(&y.clone().sum().backward()).expect("a gradient");
                let looked_up = packed_embedding(weight, ids.clone());
                let unpacked = weight.unpacked().try_to_vec::<f32>().expect("numbers");
                (read(y), read(gradient), read(looked_up), unpacked)
            };
            let weight = PackedWeight::new(source.clone(), Packing::Bf16).expect("a weight");
            let forward = read(packed_linear(x.clone(), &weight, None));
            let later = [outcome(&weight), outcome(&weight)];
            assert_eq!(later[0], later[1]);
            assert_eq!(forward, later[0].0);
            let fresh = PackedWeight::new(source.clone(), Packing::Bf16).expect("a weight");
            let first = {
                let looked_up = read(packed_embedding(&fresh, ids));
                (looked_up, fresh.unpacked().try_to_vec::<f32>().expect("numbers"))
            };
            assert_eq!(first, (later[0].2.clone(), later[0].3.clone()));
        }
    }
}

#[test]
fn levels_that_were_there_are_found_again() {
    // Blocks of 32 that use all levels between their least and their largest number: as in files that were quantised.
    for (packing, levels) in [(Packing::Int4, 16), (Packing::Int8, 256)] {
        let number = |index: usize| 0.25 * (index % 32 * (levels - 1) / 31) as f32 - 1.5;
        let row: Vec<f32> = (0..256).map(number).collect();
        let source = TensorData::new(row.clone(), [1, 256]);
        let weight = PackedWeight::new(source.clone(), packing).expect("a weight");
        let found = weight.unpacked().try_to_vec::<f32>().expect("numbers");
        for (index, (found, expected)) in found.iter().zip(&row).enumerate() {
            assert!(
                (found - expected).abs() <= expected.abs() / 256.0,
                "{packing:?}: {found} for {expected} at {index}"
            );
        }
    }
}

#[test]
fn memory_is_what_the_packing_says() {
    let source = data(1, [64, 128], DType::F32);
    for (packing, bits) in [(Packing::Bf16, 16), (Packing::Int8, 9), (Packing::Int4, 5)] {
        let weight = PackedWeight::new(source.clone(), packing).expect("a weight");
        assert_eq!(weight.bytes(), 64 * 128 * bits / 8, "{packing:?}");
    }
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let flat = TensorData::new(vec![1.0f32; 6], [6]);
    assert_eq!(
        PackedWeight::new(flat, Packing::Bf16).unwrap_err(),
        PackError::Shape(vec![6])
    );
    let empty = TensorData::new(Vec::<f32>::new(), [0, 3]);
    assert_eq!(
        PackedWeight::new(empty, Packing::Int8).unwrap_err(),
        PackError::Shape(vec![0, 3])
    );
    let double = data(1, [2, 3], DType::F64);
    assert_eq!(
        PackedWeight::new(double, Packing::Int4).unwrap_err(),
        PackError::Type(DType::F64)
    );
    for strange in [f32::NAN, f32::INFINITY, 70000.0] {
        let mut values = vec![0.5; 40 * 33];
        values[35 * 33 + 32] = strange;
        let source = TensorData::new(values, [40, 33]);
        for packing in [Packing::Int8, Packing::Int4] {
            let error = PackedWeight::new(source.clone(), packing).unwrap_err();
            assert!(
                error.to_string().starts_with("row 35 of the weight holds"),
                "{error}"
            );
        }
        assert!(PackedWeight::new(source.clone(), Packing::Bf16).is_ok());
    }
}

#[test]
#[should_panic(expected = "packed_linear: the last dimension of x [2, 3] must be that of weight [5, 4]")]
fn widths_are_checked() {
    let weight = PackedWeight::new(data(1, [5, 4], DType::F32), Packing::Bf16).expect("a weight");
    packed_linear(tensor(&[0.0; 6], [2, 3], DType::F32), &weight, None);
}
