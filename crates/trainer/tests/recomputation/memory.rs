//! What recomputation spares: the largest memory of a step, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use blip2_core::{Blocks, Initializer, LanguageModel, TextExample, VisionEncoder, with_recomputed};
use blip2_llm_adapters::{Llama, LlamaConfig};
use blip2_qformer::{QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch};
use blip2_vision_encoder::{VisionTransformer, VisionTransformerConfig};
use burn::tensor::{Device, Tensor};

use crate::alone;

/// Enough that gradients of weights, which are held either way, are little.
const PAIRS: usize = 32;

/// Counts bytes, and remembers the most that there were.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `run` held beyond what was there before it, plainly and with the blocks of `part` computed again.
fn most(part: Blocks, run: impl Fn()) -> [usize; 2] {
    [&[][..], &[part]].map(|parts| {
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        with_recomputed(parts, &run);
        MOST.load(Ordering::Relaxed) - before
    })
}

fn vision(device: &Device) -> impl Fn() {
    let config = VisionTransformerConfig {
        hidden_size: 96,
        num_hidden_layers: 12,
        num_attention_heads: 4,
        intermediate_size: 384,
        ..VisionTransformerConfig::small()
    };
    let encoder = VisionTransformer::new(&config, &mut Initializer::new(1, device)).expect("sizes");
    let pixels = Tensor::<4>::ones([PAIRS, 3, 112, 112], device);
    move || {
        drop(
            encoder
                .encode(pixels.clone())
                .expect("features")
                .square()
                .mean()
                .backward(),
        )
    }
}

fn qformer(device: &Device) -> impl Fn() {
    let config = RepresentationConfig {
        qformer: QFormerConfig {
            vocab_size: 100,
            hidden_size: 96,
            num_hidden_layers: 12,
            num_attention_heads: 4,
            intermediate_size: 384,
            encoder_hidden_size: 64,
            ..QFormerConfig::default()
        },
        ..RepresentationConfig::default()
    };
    let model = RepresentationModel::new(&mut Initializer::new(1, device), &config).expect("sizes");
    let features = Tensor::<3>::ones([PAIRS, 16, 64], device);
    let texts = TextBatch::new(vec![(1..33).collect(); PAIRS], device).expect("texts");
    move || {
        let context = model.image_context(features.clone()).expect("a context");
        drop(
            model
                .matching_logits(&context, &texts)
                .expect("logits")
                .square()
                .mean()
                .backward(),
        );
    }
}

fn language(device: &Device) -> impl Fn() {
    let text = r#"{"model_type": "llama", "vocab_size": 120, "hidden_size": 96, "num_hidden_layers": 12,
        "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 384, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true}"#;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.json");
    std::fs::write(&file, text).expect("writing");
    let config = LlamaConfig::from_hugging_face(&file).expect("a configuration");
    let model = Llama::new(config, 1, device);
    let soft_prompt = Tensor::<3>::ones([PAIRS, 32, 96], device).require_grad();
    let example = TextExample {
        prompt: Vec::new(),
        target: (1..33).collect(),
    };
    move || {
        drop(
            model
                .loss(soft_prompt.clone(), &vec![example.clone(); PAIRS])
                .expect("a loss")
                .backward(),
        )
    }
}

/// Twelve blocks keep what goes into them and, one at a time, what one of them computes: less than a third.
#[test]
#[expect(clippy::print_stdout, reason = "how much is of interest, too")]
fn recomputation_spares_most_of_what_blocks_keep() {
    let _alone = alone();
    let device = Device::flex().autodiff();
    let steps: [(Blocks, Box<dyn Fn()>); 3] = [
        (Blocks::Vision, Box::new(vision(&device))),
        (Blocks::QFormer, Box::new(qformer(&device))),
        (Blocks::Language, Box::new(language(&device))),
    ];
    for (part, step) in steps {
        // Once before: what is made at first use stays.
        step();
        let [kept, again] = most(part, step);
        println!(
            "{part:?}: {:.1} MB, recomputed {:.1} MB",
            kept as f64 / 1e6,
            again as f64 / 1e6
        );
        assert!(3 * again < kept, "{part:?}: {again} of {kept} bytes");
    }
}
