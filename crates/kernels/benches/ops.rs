//! Kernels against their definitions on the CPU, at the sizes of the embedded default: `cargo bench -p blip2-kernels`,
//! or `cargo bench -p blip2-kernels -- PART` for the cases with that part in their name.
//!
//! The definitions run in a second process, because the switch between the two is read once.
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::HashMap;
use std::process::Command;
use std::time::Instant;

use blip2_kernels::{
    AdamWStep, AttentionOptions, CrossEntropyOptions, PackedWeight, Packing, Products, adamw, add_layer_norm,
    attention, cross_entropy, gelu, gelu_tanh, layer_norm, linear, linear_cross_entropy, packed_linear,
    rms_norm, silu_gate, softmax, sum_of_squares, with_products,
};
use burn::tensor::{Device, Distribution, Gradients, Int, Tensor};

/// Sequences, tokens, width and heads of the Q-Former of the embedded default.
const SEQUENCES: usize = 32;
const TOKENS: usize = 64;
const WIDTH: usize = 384;
const HEADS: usize = 12;
const ROWS: usize = SEQUENCES * TOKENS;
const CLASSES: usize = 30_523;

/// Rows, inputs and outputs of linear maps: of the embedded default, of ViT-g and of OPT-2.7B.
const LINEAR: [[usize; 3]; 6] = [
    [ROWS, WIDTH, WIDTH],
    [ROWS, WIDTH, 4 * WIDTH],
    [ROWS, 4 * WIDTH, WIDTH],
    [640, WIDTH, CLASSES],
    [514, 1408, 6144],
    [300, 2560, 10240],
];

/// The same with packed weights: words of OPT-2.7B one at a time, five beams, and a prompt.
const PACKED: [[usize; 3]; 4] = [
    [1, 2560, 10240],
    [5, 2560, 10240],
    [300, 2560, 10240],
    [1, 2560, 50272],
];

/// Set in the second process.
const CHILD: &str = "BLIP2_KERNELS_BENCH_CHILD";

fn main() {
    blip2_memory::keep_freed_memory();
    let own = measure();
    if std::env::var_os(CHILD).is_some() {
        for (name, seconds, _) in own {
            println!("{name}\t{seconds}");
        }
        return;
    }
    let executable = std::env::current_exe().expect("the path of this benchmark");
    let output = Command::new(executable)
        .args(std::env::args().skip(1))
        .env(CHILD, "1")
        .env("BLIP2_KERNELS", "composed")
        .output()
        .expect("the second process");
    assert!(
        output.status.success(),
        "second process: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let composed: HashMap<&str, f64> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, seconds)| (name, seconds.parse().expect("seconds")))
        .collect();
    println!(
        "{:<44} {:>10} {:>12} {:>7} {:>9}",
        "operation", "kernel ms", "composed ms", "ratio", "GFLOP/s"
    );
    for (name, seconds, operations) in own {
        let before = composed[name.as_str()];
        let rate = operations
            .map(|count| format!("{:9.0}", count / seconds / 1e9))
            .unwrap_or_default();
        println!(
            "{name:<44} {:10.3} {:12.3} {:7.1} {rate}",
            seconds * 1e3,
            before * 1e3,
            before / seconds
        );
    }
}

/// Name, seconds and floating-point operations (where they count) of each case.
fn measure() -> Vec<(String, f64, Option<f64>)> {
    let mut results = Vec::new();
    let part = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"))
        .unwrap_or_default();
    let mut case = |name: &str, operations: Option<f64>, run: &mut dyn FnMut()| {
        if !name.contains(&part) {
            return;
        }
        results.push((name.to_owned(), fastest(run), operations));
    };
    let plain = Device::flex();
    let x = random([ROWS, WIDTH], &plain);
    let wide = random([ROWS, 4 * WIDTH], &plain);
    let vector = || random([WIDTH], &plain);
    let (scale, shift) = (vector(), vector());
    case("gelu 2048x1536", None, &mut || keep(gelu(wide.clone())));
    case("gelu_tanh 2048x1536", None, &mut || keep(gelu_tanh(wide.clone())));
    case("silu_gate 2048x1536", None, &mut || {
        keep(silu_gate(wide.clone(), wide.clone()))
    });
    case("softmax 24576x64", None, &mut || {
        keep(softmax(x.clone().reshape([ROWS * WIDTH / 64, 64])))
    });
    case("layer_norm 2048x384", None, &mut || {
        keep(layer_norm(x.clone(), scale.clone(), shift.clone(), 1e-12))
    });
    case("add_layer_norm 2048x384", None, &mut || {
        keep(add_layer_norm(
            x.clone(),
            x.clone(),
            scale.clone(),
            shift.clone(),
            1e-12,
        ));
    });
    case("rms_norm 2048x384", None, &mut || {
        keep(rms_norm(x.clone(), scale.clone(), 1e-5))
    });
    for products in [Products::F32, Products::Bf16] {
        for [rows, input, output] in LINEAR {
            let name = |part: &str| format!("linear{part} {rows}x{input}x{output} {products:?}");
            let operations = 2.0 * (rows * input * output) as f64;
            let [x, weight] = [[rows, input], [output, input]].map(|shape| random(shape, &plain));
            let bias = random([output], &plain);
            case(&name(""), Some(operations), &mut || {
                with_products(products, || {
                    keep(linear(x.clone(), weight.clone(), Some(bias.clone())));
                });
            });
            let tracked = plain.clone().autodiff();
            let [x, weight] = [[rows, input], [output, input]].map(|shape| leaf(shape, &tracked));
            let bias = leaf([output], &tracked);
            case(&name(", backward"), Some(3.0 * operations), &mut || {
                with_products(products, || {
                    drop(backward(linear(x.clone(), weight.clone(), Some(bias.clone()))));
                });
            });
        }
    }
    for packing in [Packing::Bf16, Packing::Int8, Packing::Int4] {
        for [rows, input, output] in PACKED {
            let weight = random([output, input], &plain).into_data();
            let weight = PackedWeight::new(weight, packing).expect("a weight");
            let x = random([rows, input], &plain);
            let operations = 2.0 * (rows * input * output) as f64;
            case(
                &format!("packed_linear {rows}x{input}x{output} {packing:?}"),
                Some(operations),
                &mut || keep(packed_linear(x.clone(), &weight, None)),
            );
        }
    }
    let split = |device: &Device| random([SEQUENCES, TOKENS, HEADS, WIDTH / HEADS], device).swap_dims(1, 2);
    let heads = split(&plain);
    let operations = 4.0 * (ROWS * TOKENS * WIDTH) as f64;
    case("attention 32x12x64x64x32", Some(operations), &mut || {
        keep(attention(
            heads.clone(),
            heads.clone(),
            heads.clone(),
            None,
            AttentionOptions::default(),
        ));
    });

    let tracked = plain.clone().autodiff();
    let wide = leaf([ROWS, 4 * WIDTH], &tracked);
    case("gelu 2048x1536 with backward", None, &mut || {
        drop(backward(gelu(wide.clone())))
    });
    let row = leaf([ROWS, WIDTH], &tracked);
    let (scale, shift) = (leaf([WIDTH], &tracked), leaf([WIDTH], &tracked));
    case("layer_norm 2048x384 with backward", None, &mut || {
        drop(backward(layer_norm(
            row.clone(),
            scale.clone(),
            shift.clone(),
            1e-12,
        )));
    });
    let heads = split(&tracked).require_grad();
    case(
        "attention 32x12x64x64x32 with backward",
        Some(3.5 * operations),
        &mut || {
            let result = attention(
                heads.clone(),
                heads.clone(),
                heads.clone(),
                None,
                AttentionOptions::default(),
            );
            drop(backward(result));
        },
    );
    let (hidden, embedding) = (leaf([640, WIDTH], &tracked), leaf([CLASSES, WIDTH], &tracked));
    let targets = Tensor::<1, Int>::arange(0..640, &tracked);
    let operations = 6.0 * (640 * WIDTH * CLASSES) as f64;
    case(
        "linear_cross_entropy 640x384x30523, backward",
        Some(operations),
        &mut || {
            let (hidden, embedding) = (hidden.clone(), embedding.clone());
            drop(
                linear_cross_entropy(
                    hidden,
                    embedding,
                    None,
                    targets.clone(),
                    CrossEntropyOptions::default(),
                )
                .backward(),
            );
        },
    );
    let logits = leaf([640, 8192], &tracked);
    case("cross_entropy 640x8192 with backward", None, &mut || {
        drop(cross_entropy(logits.clone(), targets.clone(), CrossEntropyOptions::default()).backward());
    });
    let layer = Layer::new(&tracked);
    let input = leaf([SEQUENCES, TOKENS, WIDTH], &tracked);
    let operations = 6.0 * (ROWS * WIDTH) as f64 * (12 * WIDTH + 2 * TOKENS) as f64;
    case(
        "BERT layer 32x64x384 with backward",
        Some(operations),
        &mut || {
            drop(backward(layer.forward(input.clone())));
        },
    );
    let (layer, input) = (Layer::new(&plain), random([SEQUENCES, TOKENS, WIDTH], &plain));
    case(
        "BERT layer 32x64x384, frozen",
        Some(operations / 3.0),
        &mut || keep(layer.forward(input.clone())),
    );

    let step = AdamWStep {
        learning_rate: 1e-4,
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.05,
        step: 1,
        gradient_scale: 1.0.into(),
    };
    let gradient = random([CLASSES, WIDTH], &plain);
    let mut state = Some([gradient.ones_like(), gradient.zeros_like(), gradient.zeros_like()]);
    case("adamw 30523x384", None, &mut || {
        if let Some([parameter, first, second]) = state.take() {
            state = Some(adamw(parameter, gradient.clone(), first, second, &step).into());
        }
    });
    case("sum_of_squares 30523x384", None, &mut || {
        std::hint::black_box(sum_of_squares(&gradient));
    });
    results
}

/// A layer of BERT: self-attention and a feed-forward part, each with its residual and norm.
struct Layer {
    projections: [(Tensor<2>, Tensor<1>); 6],
    norms: [(Tensor<1>, Tensor<1>); 2],
}

impl Layer {
    fn new(device: &Device) -> Self {
        let vector = |width| leaf([width], device);
        let linear = |input, output| (leaf([output, input], device), vector(output));
        let square = || linear(WIDTH, WIDTH);
        Self {
            projections: [
                square(),
                square(),
                square(),
                square(),
                linear(WIDTH, 4 * WIDTH),
                linear(4 * WIDTH, WIDTH),
            ],
            norms: [(vector(WIDTH), vector(WIDTH)), (vector(WIDTH), vector(WIDTH))],
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let apply = |index: usize, x: Tensor<3>| {
            let (weight, bias) = self.projections[index].clone();
            linear(x, weight, Some(bias))
        };
        let norm = |index: usize, x, residual| {
            let (weight, bias) = self.norms[index].clone();
            add_layer_norm(x, residual, weight, bias, 1e-12)
        };
        let heads = |index, x| {
            let projected: Tensor<3> = apply(index, x);
            projected
                .reshape([SEQUENCES, TOKENS, HEADS, WIDTH / HEADS])
                .swap_dims(1, 2)
        };
        let (query, key, value) = (heads(0, x.clone()), heads(1, x.clone()), heads(2, x.clone()));
        let context = attention(query, key, value, None, AttentionOptions::default());
        let context = context.swap_dims(1, 2).reshape([SEQUENCES, TOKENS, WIDTH]);
        let x = norm(0, apply(3, context), x);
        norm(1, apply(5, gelu(apply(4, x.clone()))), x)
    }
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.05), device)
}

/// A parameter; on an autodiff device, a tracked one.
fn leaf<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let parameter = random(shape, device);
    if device.is_autodiff() {
        parameter.require_grad()
    } else {
        parameter
    }
}

fn backward<const D: usize>(x: Tensor<D>) -> Gradients {
    x.sum().backward()
}

fn keep<const D: usize>(x: Tensor<D>) {
    std::hint::black_box(x);
}

/// Seconds of the fastest run within half a second, after one that does not count.
fn fastest(run: &mut dyn FnMut()) -> f64 {
    run();
    let start = Instant::now();
    let mut fastest = f64::INFINITY;
    while start.elapsed().as_secs_f64() < 0.4 {
        let start = Instant::now();
        run();
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    fastest
}
