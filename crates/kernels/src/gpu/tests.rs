//! The operations for GPUs against the definitions in double precision, values and gradients. They run over burn's backend for the CPU,
//! or, built with the feature `gpu`, on the device that `BLIP2_TEST_DEVICE` names (`wgpu`, `cuda`).

use std::sync::Arc;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::{attention, linear, loss, packed};
use crate::flex::attention::Rules;
use crate::on_device::OnDevice;
use crate::products::Products;
use crate::{KeyValueCache, PackedWeight, Packing, PartRead, composed};

/// Of the largest number.
pub(super) const TOLERANCE: f64 = 2e-5;

/// Flat inputs to a flat result.
pub(super) type Operation<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>;

#[cfg(not(feature = "gpu"))]
pub(super) fn device() -> Device {
    Device::flex()
}

#[cfg(feature = "gpu")]
pub(super) fn device() -> Device {
    match std::env::var("BLIP2_TEST_DEVICE").as_deref() {
        #[cfg(feature = "cuda")]
        Ok("cuda") => Device::cuda(burn::tensor::DeviceIndex::Default),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        other => panic!("BLIP2_TEST_DEVICE is {other:?}, which is no GPU that is built in"),
    }
}

/// `count` numbers between -2 and 2, the same for the same seed.
pub(super) fn numbers(seed: usize, count: usize) -> Vec<f64> {
    let number = |place: usize| {
        let mixed = (place + 1)
            .wrapping_mul(2_654_435_761)
            .wrapping_add(seed * 40_503)
            % 10_007;
        f64::from(mixed as f32 / 10_007.0 * 4.0 - 2.0)
    };
    (0..count).map(number).collect()
}

pub(super) fn read<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

pub(super) fn close(name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}: lengths");
    let size = expected
        .iter()
        .fold(1.0, |largest: f64, value| largest.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * size,
            "{name}: {found} at {index}, expected {expected}, largest {size}"
        );
    }
}

/// What `operation` gives, and the gradient of each input of a weighted sum of that.
pub(super) fn run(
    device: &Device,
    dtype: DType,
    inputs: &[Vec<f64>],
    operation: Operation,
) -> [Vec<Vec<f64>>; 2] {
    let device = device.clone().autodiff();
    let tensor = |values: &Vec<f64>| Tensor::<1>::from_data(values.as_slice(), (&device, dtype));
    let inputs: Vec<Tensor<1>> = inputs
        .iter()
        .map(|values| tensor(values).require_grad())
        .collect();
    let result = operation(&inputs);
    let probe = tensor(&numbers(99, result.dims()[0]));
    let gradients = (result.clone() * probe).sum().backward();
    let of = |input: &Tensor<1>| read(input.grad(&gradients).expect("a gradient"));
    [vec![read(result.inner())], inputs.iter().map(of).collect()]
}

/// Asserts that `ours` on the device is what `definition` is in double precision on the CPU, also off the graph.
pub(super) fn agrees(name: &str, inputs: &[Vec<f64>], ours: Operation, definition: Operation) {
    let device = device();
    let found = run(&device, DType::F32, inputs, ours);
    let expected = run(&Device::flex(), DType::F64, inputs, definition);
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        close(name, found, expected, TOLERANCE);
    }
    let plain = |values: &Vec<f64>| Tensor::from_data(values.as_slice(), (&device, DType::F32));
    let plain = ours(&inputs.iter().map(plain).collect::<Vec<_>>());
    assert!(!plain.is_autodiff());
    close(
        &format!("{name}, plain"),
        &read(plain),
        &expected[0][0],
        TOLERANCE,
    );
}

fn attend(
    name: &str,
    [batch, heads, key_rows, key_heads, queries, keys, width]: [usize; 7],
    bias_shape: Option<[usize; 4]>,
    rules: &Rules,
) {
    let key = key_rows * key_heads * keys * width;
    let inputs = [
        numbers(1, batch * heads * queries * width),
        numbers(2, key),
        numbers(3, key),
    ];
    let split = |x: &[Tensor<1>]| {
        let key = |x: &Tensor<1>| x.clone().reshape([key_rows, key_heads, keys, width]);
        let query = x[0].clone().reshape([batch, heads, queries, width]);
        let bias = bias_shape.map(|shape| {
            let values = TensorData::new(numbers(4, shape.iter().product()), shape);
            Tensor::<4>::from_data(values, (&x[0].device().inner(), x[0].dtype()))
        });
        (query, key(&x[1]), key(&x[2]), bias)
    };
    agrees(
        name,
        &inputs,
        &|x| {
            let (query, key, value, bias) = split(x);
            attention::attention(query, key, value, bias, rules.clone()).flatten(0, 3)
        },
        &|x| {
            let (query, key, value, bias) = split(x);
            composed::attention(query, key, value, bias, rules).flatten(0, 3)
        },
    );
}

#[test]
fn attention_makes_its_weights_again() {
    // One block of queries, several of which one is not full, and more keys than queries.
    for [batch, heads, key_heads, queries, keys, width] in
        [[2, 4, 2, 7, 19, 16], [1, 2, 2, 300, 300, 8], [2, 3, 1, 1, 130, 8]]
    {
        for (causal, scale, bias) in [
            (false, None, None),
            (true, None, None),
            (false, Some(0.3), Some([batch, 1, 1, keys])),
            (true, None, Some([1, heads, queries, keys])),
        ] {
            let rules = Rules {
                scale: scale.unwrap_or((width as f64).sqrt().recip()),
                causal,
                rows: None,
                products: Products::F32,
            };
            let sizes = [batch, heads, batch, key_heads, queries, keys, width];
            attend(
                &format!("attention {sizes:?} {causal} {bias:?}"),
                sizes,
                bias,
                &rules,
            );
        }
    }
}

#[test]
fn rows_share_keys() {
    let rules = Rules {
        scale: 0.25,
        causal: true,
        rows: Some(vec![2, 0, 0, 3, 2]),
        products: Products::F32,
    };
    attend("shared keys", [5, 4, 4, 2, 5, 11, 16], None, &rules);
}

#[test]
fn a_query_without_keys_gives_zeros_and_no_gradient() {
    let device = device().autodiff();
    let x = Tensor::<4>::from_data(
        TensorData::new(numbers(1, 24), [1, 1, 3, 8]),
        (&device, DType::F32),
    );
    let (constant, x) = (x.clone(), x.require_grad());
    let mut mask = vec![0.0; 9];
    mask[..3].fill(f64::NEG_INFINITY);
    let mask = Tensor::<4>::from_data(
        TensorData::new(mask, [1, 1, 3, 3]),
        (&device.clone().inner(), DType::F32),
    );
    let rules = Rules {
        scale: 1.0,
        causal: false,
        rows: None,
        products: Products::F32,
    };
    let result = attention::attention(x.clone(), constant.clone(), constant, Some(mask), rules);
    close("values", &read(result.clone().inner())[..8], &[0.0; 8], 0.0);
    let gradients = read(x.grad(&result.sum().backward()).expect("a gradient"));
    close("gradient", &gradients[..8], &[0.0; 8], 0.0);
    assert!(gradients.iter().all(|gradient| gradient.is_finite()));
}

#[test]
fn losses_hold_some_logits_at_a_time() {
    // The second has more logits than are held at a time.
    for [rows, width, classes] in [[5, 12, 33], [70, 6, 100]] {
        let inputs = [
            numbers(1, rows * width),
            numbers(2, classes * width),
            numbers(3, classes),
        ];
        for (smoothing, has_bias) in [(0.0, false), (0.1, true)] {
            let used = if has_bias { &inputs[..] } else { &inputs[..2] };
            let split = |x: &[Tensor<1>]| {
                let targets: Vec<i64> = (0..rows).map(|row| (row * 7 % classes) as i64).collect();
                let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &x[0].device().inner());
                let hidden = x[0].clone().reshape([rows, width]);
                (
                    hidden,
                    x[1].clone().reshape([classes, width]),
                    x.get(2).cloned(),
                    targets,
                )
            };
            agrees(
                &format!("{rows} rows, smoothing {smoothing}"),
                used,
                &|x| {
                    let (hidden, weight, bias, targets) = split(x);
                    loss::linear_cross_entropy(hidden, weight, bias, targets, smoothing, Products::F32)
                },
                &|x| {
                    let (hidden, weight, bias, targets) = split(x);
                    let logits = composed::linear(hidden, weight, bias, Products::F32);
                    composed::cross_entropy(logits, targets, smoothing)
                },
            );
        }
    }
}

#[test]
fn linear_layers_multiply_their_operands_again() {
    for [rows, outputs, inputs] in [[5, 7, 3], [64, 96, 48], [1, 33, 130], [130, 1, 17]] {
        let inputs_of = [
            numbers(1, rows * inputs),
            numbers(2, outputs * inputs),
            numbers(3, outputs),
        ];
        for used in [&inputs_of[..], &inputs_of[..2]] {
            for (products, tolerance) in [(Products::F32, TOLERANCE), (Products::Bf16, 1.0 / 32.0)] {
                let split = |x: &[Tensor<1>]| {
                    let weight = x[1].clone().reshape([outputs, inputs]);
                    (x[0].clone().reshape([1, rows, inputs]), weight, x.get(2).cloned())
                };
                let ours: Operation = &|x| {
                    let (x, weight, bias) = split(x);
                    linear::linear(x, weight, bias, products).flatten(0, 2)
                };
                let definition: Operation = &|x| {
                    let (x, weight, bias) = split(x);
                    composed::linear(x, weight, bias, Products::F32).flatten(0, 2)
                };
                let name = format!("linear {rows} {outputs} {inputs} {products:?}");
                let found = run(&device(), DType::F32, used, ours);
                let expected = run(&Device::flex(), DType::F64, used, definition);
                for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                    close(&name, found, expected, tolerance);
                }
            }
        }
    }
}

/// On a GPU products and other operations may be given to it by different ways: each must wait for what it reads.
#[test]
fn what_is_multiplied_waits_for_what_it_reads() {
    let (size, steps) = (256, 60);
    let inputs = [numbers(1, size * size), numbers(2, size * size)];
    let chain = |x: &[Tensor<1>], multiply: &dyn Fn(Tensor<2>, Tensor<2>) -> Tensor<2>| {
        let square = |x: &Tensor<1>| x.clone().reshape([size, size]);
        let weight = square(&x[1]).div_scalar(40.0);
        let step = |x: Tensor<2>, _| multiply(x, weight.clone()).tanh() + 0.125;
        (0..steps).fold(square(&x[0]), step).flatten(0, 1)
    };
    let ours: Operation = &|x| chain(x, &|x, weight| linear::linear(x, weight, None, Products::F32));
    let definition: Operation = &|x| chain(x, &|x, weight| composed::linear(x, weight, None, Products::F32));
    let found = run(&device(), DType::F32, &inputs, ours);
    let expected = run(&Device::flex(), DType::F64, &inputs, definition);
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        close("a chain", found, expected, 1e-3);
    }
}

#[test]
fn packed_weights_are_unpacked_on_the_device() {
    let device = device();
    for [outputs, inputs] in [[40, 33], [16, 64], [5, 700]] {
        let values: Vec<f32> = numbers(1, outputs * inputs)
            .iter()
            .map(|value| *value as f32)
            .collect();
        let data = TensorData::new(values, [outputs, inputs]);
        for packing in [Packing::Bf16, Packing::Int8, Packing::Int4] {
            let weight = PackedWeight::new(data.clone(), packing).expect("a weight");
            let expected: Vec<f64> = weight.unpacked().iter().collect();
            let on_device = OnDevice::default();
            for _ in 0..2 {
                let unpacked = read(on_device.unpacked(&weight, &device).cast(DType::F32));
                close(&format!("{packing:?}"), &unpacked, &expected, 1e-6);
            }
            let ids = [outputs - 1, 0, outputs / 2];
            let rows: Vec<f64> = ids
                .iter()
                .flat_map(|id| expected[id * inputs..][..inputs].to_vec())
                .collect();
            let ids = ids.map(|id| id as i64);
            let ids = Tensor::<1, Int>::from_data(ids.as_slice(), &device);
            close(
                &format!("rows in {packing:?}"),
                &read(on_device.rows(&weight, ids)),
                &rows,
                1e-6,
            );
        }
    }
}

#[test]
fn a_graph_keeps_a_weight_packed() {
    let [outputs, inputs] = [24, 40];
    let values: Vec<f32> = numbers(5, outputs * inputs)
        .iter()
        .map(|value| *value as f32)
        .collect();
    let data = TensorData::new(values, [outputs, inputs]);
    let weight = PackedWeight::new(data, Packing::Int8).expect("a weight");
    let x = numbers(6, 2 * 3 * inputs);
    let ours: Operation =
        &|x| packed::packed_linear(x[0].clone().reshape([2, 3, inputs]), &weight, None).flatten(0, 2);
    let definition: Operation = &|x| {
        let place = (&x[0].device().inner(), x[0].dtype());
        let unpacked = Tensor::from_data(weight.unpacked(), place);
        composed::linear(
            x[0].clone().reshape([2, 3, inputs]),
            unpacked,
            None,
            Products::F32,
        )
        .flatten(0, 2)
    };
    let found = run(&device(), DType::F32, std::slice::from_ref(&x), ours);
    let expected = run(&Device::flex(), DType::F64, &[x], definition);
    // Operands are rounded to bfloat16.
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        close("packed", found, expected, 1.0 / 64.0);
    }
}

/// Two texts begin, beams of them write and change places, a third text joins, and the second ends, so that its slots are free for what
/// is written then.
#[test]
fn texts_that_are_written() {
    let [heads, key_heads, width] = [4, 2, 80];
    let written = |device: &Device, dtype: DType| -> Vec<Vec<f64>> {
        let mut seed = 0;
        let mut tensor = |rows: usize, tokens: usize, heads: usize| {
            seed += 1;
            let values = numbers(seed, rows * tokens * heads * width);
            let x = Tensor::<1>::from_data(values.as_slice(), (device, dtype));
            x.reshape([rows, tokens, heads, width]).swap_dims(1, 2)
        };
        let own = |row, count| PartRead { row, keys: 0..count };
        let none = PartRead::default;
        let mut cache = KeyValueCache::default();
        let mut found = Vec::new();
        cache.add(tensor(2, 5, key_heads), tensor(2, 5, key_heads));
        let mut reads = vec![vec![own(0, 5), own(0, 5), own(1, 3)]];
        for step in 0..120 {
            if step == 60 {
                cache.add(tensor(1, 70, key_heads), tensor(1, 70, key_heads));
                reads.iter_mut().for_each(|part| part[2] = none());
                reads.push(vec![none(), none(), own(0, 70)]);
                let kept: Vec<bool> = reads
                    .iter()
                    .map(|part| part.iter().any(|read| !read.keys.is_empty()))
                    .collect();
                cache.keep(&kept);
                let mut kept = kept.into_iter();
                reads.retain(|_| kept.next().unwrap_or(true));
            }
            if step % 3 == 1 {
                reads.iter_mut().for_each(|part| part.swap(0, 1));
            }
            cache.add(tensor(3, 1, key_heads), tensor(3, 1, key_heads));
            reads.push((0..3).map(|row| own(row, 1)).collect());
            let query = tensor(3, 1, heads);
            let table: Vec<Arc<[PartRead]>> = reads.iter().map(|part| part.clone().into()).collect();
            let bias = (step % 2 == 0).then(|| {
                let most = (0..3)
                    .map(|row| reads.iter().map(|part| part[row].keys.len()).sum())
                    .max();
                let most: usize = most.unwrap_or(0);
                let values = numbers(step + 1000, heads * most);
                Tensor::<1>::from_data(values.as_slice(), (device, dtype)).reshape([1, heads, 1, most])
            });
            found.push(read(cache.attention(query, &table.into(), bias, None)));
        }
        found
    };
    let found = written(&device(), DType::F32);
    let expected = written(&Device::flex(), DType::F64);
    for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
        close(&format!("token {step}"), found, expected, TOLERANCE);
    }
    if !device().supports_dtype(DType::BF16) || device() == Device::flex() {
        return;
    }
    let found = written(&device(), DType::BF16);
    for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
        close(&format!("token {step} in bfloat16"), found, expected, 1.0 / 32.0);
    }
}
