//! Linear layers whose weights are packed while they are loaded.

use blip2_core::layers::{Embedding, Linear, Packing};
use blip2_core::weights::{collect, fingerprint, parameters};
use blip2_core::{Initializer, LoadPlan};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Distribution, Int, Tensor};

#[derive(Module, Debug)]
struct Model {
    map: Linear,
    table: Embedding,
    words: Embedding,
}

fn model(packing: Option<Packing>) -> Model {
    let plan = LoadPlan::from(&Device::flex()).packed(packing);
    let initializer = &mut Initializer::new(3, plan);
    let model = Model {
        map: Linear::uniform(initializer, 40, 24),
        table: Embedding::new(initializer, 50, 40, 0.02),
        words: Embedding::words(initializer, 50, 40, 0.02),
    };
    // What a loader does: gives every parameter its values.
    model.map(&mut Read)
}

struct Read;

impl ModuleMapper for Read {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value) = (parameter.id, parameter.val());
        parameter.transform_for_load(value, id)
    }
}

fn numbers(shape: [usize; 2]) -> Tensor<2> {
    let device = Device::flex();
    device.seed(5);
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device)
}

fn difference(a: Tensor<2>, b: Tensor<2>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn packed_layers_are_near_those_in_single_precision() {
    let (plain, x) = (model(None), numbers([7, 40]));
    for (packing, tolerance) in [(Packing::Bf16, 0.01), (Packing::Int8, 0.01), (Packing::Int4, 0.1)] {
        let packed = model(Some(packing));
        for (name, near, exact) in [
            ("map", packed.map.forward(x.clone()), plain.map.forward(x.clone())),
            (
                "words",
                packed.words.logits(x.clone()),
                plain.words.logits(x.clone()),
            ),
        ] {
            let difference = difference(near, exact);
            assert!(difference > 0.0, "{packing:?}, {name}: nothing was packed");
            assert!(difference < tolerance, "{packing:?}, {name}: {difference}");
        }
        assert_eq!(
            difference(packed.table.weight.val(), plain.table.weight.val()),
            0.0,
            "a table of other things than words is exact"
        );
    }
}

#[test]
fn rows_of_packed_words_are_those_of_the_unpacked_table() {
    let ids = [[49i64, 0, 17], [16, 15, 49]];
    for packing in [Packing::Bf16, Packing::Int8, Packing::Int4] {
        let packed = model(Some(packing));
        let ids: Tensor<2, Int> = Tensor::from_data(ids, &Device::flex());
        let found = packed.words.forward(ids.clone());
        let rows = packed.words.weight.val().select(0, ids.flatten(0, 1));
        let expected: Tensor<3> = rows.reshape([2, 3, 40]);
        found.into_data().assert_eq(&expected.into_data(), true);
    }
}

#[test]
fn words_are_never_packed_in_less_than_8_bits() {
    let values = |packing| model(Some(packing)).words.weight.val().into_data();
    values(Packing::Int4).assert_eq(&values(Packing::Int8), true);
}

#[test]
fn a_packed_layer_has_the_parameters_of_a_plain_one() {
    let (plain, packed) = (model(None), model(Some(Packing::Int8)));
    let named = |model: &Model| -> Vec<_> {
        parameters(model)
            .into_iter()
            .map(|parameter| (parameter.path, parameter.shape))
            .collect()
    };
    assert_eq!(named(&plain), named(&packed));
    for ((path, near), (_, exact)) in collect(&packed).into_iter().zip(collect(&plain)) {
        assert_eq!(near.dtype(), DType::F32);
        let differences: Vec<f32> = near
            .iter::<f32>()
            .zip(exact.iter::<f32>())
            .map(|(near, exact)| (near - exact).abs())
            .collect();
        assert!(differences.iter().all(|difference| *difference < 0.002), "{path}");
        let packed = differences.iter().any(|difference| *difference > 0.0);
        assert_eq!(
            packed,
            ["map.weight", "words.weight"].contains(&path.as_str()),
            "{path}"
        );
    }
}

#[test]
fn a_packed_layer_says_the_same_after_every_pass_over_the_model() {
    let packed = model(Some(Packing::Int4));
    let before = fingerprint(&packed);
    assert_eq!(before, fingerprint(&packed));
    let passed = packed
        .freeze()
        .to_device(&Device::flex())
        .valid()
        .train()
        .no_grad();
    assert_eq!(before, fingerprint(&passed));
}

#[test]
fn other_weights_take_the_place_of_packed_ones() {
    let x = numbers([3, 40]);
    struct Double;
    impl ModuleMapper for Double {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            parameter.map(|value| value * 2)
        }
    }
    let packed = model(Some(Packing::Int8));
    let (map, logits) = (packed.map.forward(x.clone()), packed.words.logits(x.clone()));
    let doubled = packed.map(&mut Double);
    assert!(difference(doubled.map.forward(x.clone()), map * 2) < 0.02);
    assert!(difference(doubled.words.logits(x), logits * 2) < 0.02);
}

#[test]
fn numbers_without_a_level_are_kept() {
    struct Strange;
    impl ModuleMapper for Strange {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            parameter.map(|value| value * 1e6)
        }
    }
    let x = numbers([3, 40]);
    let exact = model(None).map(&mut Strange).map.forward(x.clone());
    let packed = model(Some(Packing::Int4)).map(&mut Strange).map.forward(x);
    let size: f32 = exact.clone().abs().max().into_scalar();
    assert!(difference(packed, exact) < 0.1 * size);
}
