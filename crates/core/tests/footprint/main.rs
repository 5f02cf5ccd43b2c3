//! Memory that loading takes besides what it leaves: a binary of its own, since its allocator counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use blip2_core::layers::{Embedding, Linear, Packing};
use blip2_core::weights::{NameMap, SafetensorsStore, load, write_safetensors};
use blip2_core::{Initializer, LoadPlan};
use burn::module::Module;
use burn::tensor::{Device, TensorData};
use half::bf16;

/// Bytes that are allocated, and the most that ever were.
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Module, Debug)]
struct Model {
    words: Embedding,
    map: Linear,
}

const ROWS: usize = 2048;
const WIDTH: usize = 1024;

/// The most that is allocated while `work` runs, beyond what is at its start.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let done = work();
    (PEAK.load(Ordering::Relaxed) - before, done)
}

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
