use blip2_kernels::{
    AttentionOptions, KeyPart, PartRead, Products, attention, attention_in_parts, with_products,
};
use burn::tensor::{DType, Tensor};

use crate::support::{agree, close, numbers, read, rounds, run, tensor};

/// Sizes of one case: batch, query heads, key heads, queries, keys, width of a head.
type Sizes = [usize; 6];

fn inputs([batch, heads, key_heads, queries, keys, width]: Sizes) -> [Vec<f64>; 3] {
    let key = batch * key_heads * keys * width;
    [
        numbers(1, batch * heads * queries * width),
        numbers(2, key),
        numbers(3, key),
    ]
}

fn apply(x: &[Tensor<1>], sizes: Sizes, bias: Option<Tensor<4>>, options: AttentionOptions) -> Tensor<1> {
    let [batch, heads, key_heads, queries, keys, width] = sizes;
    let query = x[0].clone().reshape([batch, heads, queries, width]);
    let key = x[1].clone().reshape([batch, key_heads, keys, width]);
    let value = x[2].clone().reshape([batch, key_heads, keys, width]);
    let bias = bias.map(|bias| bias.cast(x[0].dtype()));
    attention(query, key, value, bias, options).flatten(0, 3)
}

fn causal() -> AttentionOptions {
    AttentionOptions {
        causal: true,
        ..Default::default()
    }
}

/// Attention in scalars: for each query the visible keys' weights by the definition.
fn reference(x: &[Vec<f64>; 3], sizes: Sizes, bias: Option<&[f64]>, causal: bool) -> Vec<f64> {
    let [batch, heads, key_heads, queries, keys, width] = sizes;
    let mut result = Vec::new();
    for row in 0..batch * heads * queries {
        let (head, i) = (row / queries, row % queries);
        let key_head = head / heads * key_heads + head % heads / (heads / key_heads);
        let query = &x[0][row * width..][..width];
        let key = |j: usize| &x[1][(key_head * keys + j) * width..][..width];
        let weights: Vec<f64> = (0..keys)
            .map(|j| {
                let product: f64 = query.iter().zip(key(j)).map(|(q, k)| q * k).sum();
                let bias = bias.map_or(0.0, |bias| bias[i * keys + j]);
                let hidden = causal && j + queries > i + keys;
                if hidden {
                    0.0
                } else {
                    (product / (width as f64).sqrt() + bias).exp()
                }
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        for d in 0..width {
            let total: f64 = (0..keys)
                .map(|j| weights[j] * x[2][(key_head * keys + j) * width + d])
                .sum();
            result.push(if sum == 0.0 { 0.0 } else { total / sum });
        }
    }
    result
}

#[test]
fn attention_follows_its_definition() {
    for sizes in [[2, 4, 2, 3, 5, 8], [1, 2, 2, 6, 4, 3], [1, 3, 1, 4, 4, 32]] {
        let [_, _, _, queries, keys, _] = sizes;
        let x = inputs(sizes);
        let bias = numbers(5, queries * keys);
        for options in [AttentionOptions::default(), causal()] {
            let expected = reference(&x, sizes, Some(&bias), options.causal);
            let flat = x
                .each_ref()
                .map(|values| tensor(values, [values.len()], DType::F32));
            let bias = tensor(&bias, [1, 1, queries, keys], DType::F32);
            close(
                "attention",
                &read(apply(&flat, sizes, Some(bias), options)),
                &expected,
                1e-5,
            );
        }
    }
}

#[test]
fn attention_agrees_over_odd_sizes() {
    for sizes in [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 9, 7],
        [2, 3, 3, 5, 5, 16],
        [2, 4, 2, 7, 19, 33],
        [1, 6, 2, 65, 65, 32],
        [2, 2, 1, 17, 40, 64],
        [1, 2, 2, 3, 700, 24],
        [1, 2, 1, 540, 530, 16],
    ] {
        let x = inputs(sizes);
        let [batch, heads, _, queries, keys, _] = sizes;
        agree("attention", &x, &|x| {
            apply(&x, sizes, None, AttentionOptions::default())
        });
        agree("causal attention", &x, &|x| apply(&x, sizes, None, causal()));
        let scaled = AttentionOptions {
            scale: Some(0.3),
            ..Default::default()
        };
        for shape in [
            [1, 1, 1, keys],
            [batch, 1, 1, keys],
            [1, heads, queries, keys],
            [batch, heads, queries, keys],
        ] {
            let bias = tensor(&numbers(4, shape.iter().product()), shape, DType::F32);
            agree("attention with bias", &x, &|x| {
                apply(&x, sizes, Some(bias.clone()), scaled.clone())
            });
        }
    }
}

#[test]
fn attention_takes_split_heads() {
    let [batch, heads, tokens, width] = [2, 3, 9, 8];
    let flat = inputs([batch, heads, heads, tokens, tokens, width]);
    agree("attention of swapped views", &flat, &|x| {
        let split = |x: &Tensor<1>| x.clone().reshape([batch, tokens, heads, width]).swap_dims(1, 2);
        let result = attention(split(&x[0]), split(&x[1]), split(&x[2]), None, causal());
        result.swap_dims(1, 2).flatten(0, 3)
    });
}

#[test]
fn masked_queries_give_zeros() {
    for keys in [4, 600] {
        let sizes = [1, 2, 2, 3, keys, 8];
        let mut mask = vec![0.0; 3 * keys];
        mask[..keys].fill(f64::NEG_INFINITY);
        mask[keys..2 * keys].fill(f64::from(f32::MIN));
        let outcome = run(&inputs(sizes), DType::F32, &|x| {
            let bias = tensor(&mask, [1, 1, 3, keys], DType::F32);
            apply(&x, sizes, Some(bias), AttentionOptions::default())
        });
        close("a query without keys", &outcome.values[..8], &[0.0; 8], 0.0);
        close("its gradient", &outcome.gradients[0][..8], &[0.0; 8], 0.0);
        let values = &inputs(sizes)[2];
        let mean: Vec<f64> = (0..8)
            .map(|d| (0..keys).map(|j| values[j * 8 + d]).sum::<f64>() / keys as f64)
            .collect();
        close(
            "a query whose keys are all equally far",
            &outcome.values[8..16],
            &mean,
            1e-5,
        );
        assert!(
            outcome
                .gradients
                .iter()
                .flatten()
                .all(|gradient| gradient.is_finite())
        );
    }
}

#[test]
fn more_queries_than_keys_under_a_causal_mask() {
    let sizes = [1, 1, 1, 5, 3, 4];
    let outcome = run(&inputs(sizes), DType::F32, &|x| apply(&x, sizes, None, causal()));
    close(
        "queries before the first key",
        &outcome.values[..8],
        &[0.0; 8],
        0.0,
    );
    close("their gradients", &outcome.gradients[0][..8], &[0.0; 8], 0.0);
    close(
        "all",
        &outcome.values,
        &reference(&inputs(sizes), sizes, None, true),
        1e-5,
    );
}

#[test]
fn rows_of_a_query_share_keys() {
    // Enough rows of keys for all threads, a single one, and one that nobody reads.
    for (rows, key_rows, key_heads) in [
        (vec![2, 0, 0, 3, 2], 4, 3),
        (vec![0, 0, 0], 1, 2),
        (vec![1, 1], 2, 1),
    ] {
        let [heads, queries, keys, width] = [2 * key_heads, 7, 19, 12];
        let key = key_rows * key_heads * keys * width;
        let inputs = [
            numbers(1, rows.len() * heads * queries * width),
            numbers(2, key),
            numbers(3, key),
        ];
        let split = |x: &[Tensor<1>]| {
            let key = |x: &Tensor<1>| x.clone().reshape([key_rows, key_heads, keys, width]);
            let query = x[0].clone().reshape([rows.len(), heads, queries, width]);
            (query, key(&x[1]), key(&x[2]))
        };
        let options = || AttentionOptions {
            rows: Some(rows.clone()),
            ..causal()
        };
        let shared = agree("attention to shared keys", &inputs, &|x| {
            let (query, key, value) = split(&x);
            attention(query, key, value, None, options()).flatten(0, 3)
        });
        let copied = run(&inputs, DType::F32, &|x| {
            let (query, key, value) = split(&x);
            let gather = |x: Tensor<4>| {
                let parts = rows.iter().map(|row| x.clone().narrow(0, *row, 1)).collect();
                Tensor::cat(parts, 0)
            };
            attention(query, gather(key), gather(value), None, causal()).flatten(0, 3)
        });
        close("shared keys", &shared.values, &copied.values, 1e-6);
        for (shared, copied) in shared.gradients.iter().zip(&copied.gradients) {
            close("gradients of shared keys", shared, copied, 1e-5);
        }
    }
}

#[test]
fn products_of_attention_may_be_in_bfloat16() {
    let sizes = [2, 2, 1, 37, 75, 40];
    let outcome = |products| {
        with_products(products, || {
            run(&inputs(sizes), DType::F32, &|x| apply(&x, sizes, None, causal()))
        })
    };
    let (single, half) = (outcome(Products::F32), outcome(Products::Bf16));
    assert_eq!(single.values != half.values, rounds());
    close("values", &half.values, &single.values, 1.0 / 64.0);
    for (half, single) in half.gradients.iter().zip(&single.gradients) {
        assert_eq!(single != half, rounds());
        close("gradients", half, single, 1.0 / 64.0);
    }
}

/// Keys in parts of which each row reads one row give what the same keys give one behind the other.
#[test]
fn parts_are_as_good_as_the_whole() {
    let device = burn::tensor::Device::flex();
    for [heads, key_heads, queries, width] in [[2, 2, 1, 80], [6, 2, 1, 7], [4, 1, 3, 32]] {
        // Three rows that share the only row of a beginning, then read different rows of what follows.
        let choices = [(5, vec![0, 0, 0]), (1, vec![2, 0, 2]), (2, vec![1, 1, 0])];
        let keys: usize = choices.iter().map(|(keys, _)| keys).sum();
        for dtype in [DType::F32, DType::F64] {
            let bias = tensor(&numbers(9, 3 * keys), [3, 1, 1, keys], dtype);
            let query = tensor(
                &numbers(1, 3 * heads * queries * width),
                [3, heads, queries, width],
                dtype,
            );
            let parts: Vec<KeyPart> = choices
                .iter()
                .enumerate()
                .map(|(seed, (keys, rows))| {
                    let count = rows.iter().max().map_or(0, |row| row + 1);
                    // As projections give them: the heads of a token beside each other.
                    let own = |seed: usize| {
                        let values = numbers(seed as u64, count * keys * key_heads * width);
                        tensor(&values, [count, *keys, key_heads, width], dtype).swap_dims(1, 2)
                    };
                    KeyPart {
                        key: own(10 + seed),
                        value: own(20 + seed),
                        reads: rows
                            .iter()
                            .map(|row| PartRead {
                                row: *row,
                                keys: 0..*keys,
                            })
                            .collect(),
                    }
                })
                .collect();
            let whole = |of: fn(&KeyPart) -> &Tensor<4>| {
                let read = |part: &KeyPart| {
                    let rows: Vec<i64> = part.reads.iter().map(|read| read.row as i64).collect();
                    of(part)
                        .clone()
                        .select(0, Tensor::from_data(rows.as_slice(), &device))
                };
                Tensor::cat(parts.iter().map(read).collect(), 2)
            };
            let (key, value) = (whole(|part| &part.key), whole(|part| &part.value));
            for (bias, scale) in [(None, None), (Some(bias), Some(0.7))] {
                let options = AttentionOptions {
                    scale,
                    ..Default::default()
                };
                let expected = attention(query.clone(), key.clone(), value.clone(), bias.clone(), options);
                let found = attention_in_parts(query.clone(), parts.clone(), bias, scale);
                close("attention in parts", &read(found), &read(expected), 1e-5);
            }
        }
    }
}

/// A row reads what it reads whoever stands beside it, and however many keys the others read.
#[test]
fn rows_of_different_lengths_read_their_own_keys() {
    let [rows, heads, key_heads, width] = [3, 4, 2, 24];
    let most = 7;
    // For each part its rows and keys, and what each of the three rows reads of it.
    let reads = [
        (1, 5, [(0, 0..5), (0, 1..4), (0, 0..0)]),
        (2, 3, [(1, 0..2), (9, 0..0), (0, 2..3)]),
    ];
    for dtype in [DType::F32, DType::F64] {
        let read_of = |(row, keys): &(usize, std::ops::Range<usize>)| PartRead {
            row: *row,
            keys: keys.clone(),
        };
        let parts: Vec<KeyPart> = (0u64..)
            .zip(&reads)
            .map(|(seed, (count, keys, reads))| {
                let own = |seed| {
                    let values = numbers(seed, count * key_heads * keys * width);
                    tensor(&values, [*count, key_heads, *keys, width], dtype)
                };
                KeyPart {
                    key: own(30 + seed),
                    value: own(40 + seed),
                    reads: reads.iter().map(read_of).collect(),
                }
            })
            .collect();
        let query = tensor(&numbers(1, rows * heads * width), [rows, heads, 1, width], dtype);
        let bias = tensor(&numbers(9, rows * most), [rows, 1, 1, most], dtype);
        for bias in [None, Some(bias)] {
            let together = attention_in_parts(query.clone(), parts.clone(), bias.clone(), None);
            for row in 0..rows {
                let mine = parts.iter().filter(|part| !part.reads[row].keys.is_empty());
                let cut = |x: &Tensor<4>, read: &PartRead| {
                    x.clone()
                        .narrow(0, read.row, 1)
                        .narrow(2, read.keys.start, read.keys.len())
                };
                let (keys, values): (Vec<_>, Vec<_>) = mine
                    .map(|part| {
                        (
                            cut(&part.key, &part.reads[row]),
                            cut(&part.value, &part.reads[row]),
                        )
                    })
                    .unzip();
                let (key, value) = (Tensor::cat(keys, 2), Tensor::cat(values, 2));
                let bias = bias
                    .clone()
                    .map(|bias| bias.narrow(0, row, 1).narrow(3, 0, key.dims()[2]));
                let own = query.clone().narrow(0, row, 1);
                let expected = attention(own, key, value, bias, AttentionOptions::default());
                let found = together.clone().narrow(0, row, 1);
                close("a row of its own length", &read(found), &read(expected), 1e-5);
            }
        }
    }
}

#[test]
#[should_panic(
    expected = "each of the 2 rows of the query must read some of the 2 keys of one of the 1 rows of a part"
)]
fn rows_of_parts_are_checked() {
    let x = tensor(&numbers(1, 8), [1, 1, 2, 4], DType::F32);
    let part = KeyPart {
        key: x.clone(),
        value: x.clone(),
        reads: [0, 1].map(|row| PartRead { row, keys: 0..2 }).into(),
    };
    attention_in_parts(x.reshape([2, 1, 1, 4]), vec![part], None, None);
}
