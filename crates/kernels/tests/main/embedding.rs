use blip2_kernels::embedding;
use burn::tensor::DType;

use crate::support::{agree, integers, numbers, tensor};

#[test]
fn lookups_agree_with_rows_asked_for_twice() {
    for (entries, width, ids) in [
        (1, 1, vec![0]),
        (3, 5, vec![2, 2, 0]),
        (40, 33, (0..90).map(|i| (i * 7) % 40).collect::<Vec<_>>()),
    ] {
        let weight = numbers(1, entries * width);
        agree("embedding", &[weight], &|x| {
            embedding(x[0].clone().reshape([entries, width]), integers(&ids)).reshape([ids.len() * width])
        });
    }
}

#[test]
// The definition says it in burn's words.
#[should_panic(expected = "3 ")]
fn an_id_outside_of_the_table_is_refused() {
    let _ = embedding(tensor(&numbers(1, 6), [3, 2], DType::F32), integers(&[3]));
}
