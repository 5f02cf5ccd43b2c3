//! Memory that loading takes besides what it leaves: a binary of its own, since its allocator counts.

use std::collections::HashMap;

use blip2_core::layers::{Embedding, Linear, Packing};
use blip2_core::weights::{NameMap, SafetensorsStore, load, write_safetensors};
use blip2_core::{Initializer, LoadPlan};
use burn::module::Module;
use burn::tensor::{Device, TensorData};
use half::bf16;

mod counting;

use counting::peak;

#[derive(Module, Debug)]
struct Model {
    words: Embedding,
    map: Linear,
}

const ROWS: usize = 2048;
const WIDTH: usize = 1024;

#[test]
fn weights_are_packed_straight_out_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let value = |index: usize| bf16::from_f32((index * 31 % 257) as f32 / 257.0 - 0.5);
    let values: Vec<bf16> = (0..ROWS * WIDTH).map(value).collect();
    let tensors = ["words.weight", "map.weight"].map(|name| {
        let data = TensorData::new(values.clone(), [ROWS, WIDTH]);
        (name.to_owned(), data)
    });
    write_safetensors(&path, &tensors, HashMap::new()).unwrap();
    drop(tensors);
    let store = SafetensorsStore::open(&path).unwrap();
    let open = |packing| {
        let plan = LoadPlan::from(&Device::flex()).packed(packing);
        let initializer = &mut Initializer::new(0, &plan);
        let model = Model {
            words: Embedding::words(initializer, ROWS, WIDTH, 0.02),
            map: Linear::unbiased(initializer, WIDTH, ROWS, 0.02),
        };
        load(model, &store, &NameMap::OWN, plan.options()).unwrap()
    };

    let file = ROWS * WIDTH * size_of::<bf16>();
    let (plain, _model) = peak(|| open(None));
    assert!(
        plain >= 4 * file,
        "single precision takes twice the file, not {plain} bytes"
    );
    for packing in [Packing::Bf16, Packing::Int8, Packing::Int4] {
        let (packed, model) = peak(|| open(Some(packing)));
        assert!(
            packed < file / 2,
            "{packing:?}: {packed} bytes for weights of {file} each"
        );
        if packing == Packing::Bf16 {
            let found = model.map.weight.val().into_data();
            let same = found.iter::<f32>().eq(values.iter().map(|value| value.to_f32()));
            assert!(same, "packing in bfloat16 changed a number");
        }
    }
}
