//! Blocks that the backward pass computes again: the same values and gradients, to the bit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use blip2_kernels::{
    Products, Tensors, gelu, learns, linear, random_mask, recompute, softmax, with_products,
};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::support::{close, numbers, rounds};

const ROWS: usize = 12;
const WIDTH: usize = 40;
const INNER: usize = 72;

/// One test at a time: all of them draw from the one generator of the device.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Module, Debug)]
struct Block {
    up: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    down: Param<Tensor<2>>,
    /// Not read by the block.
    idle: Param<Tensor<1>>,
    /// A constant beside the graph.
    frozen: Tensor<2>,
}

fn tensor<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = numbers(seed, shape.iter().product())
        .iter()
        .map(|x| *x as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn block(device: &Device) -> Block {
    let parameter = |seed, shape: [usize; 2]| Param::from_tensor(tensor(seed, shape, device));
    Block {
        up: parameter(1, [INNER, WIDTH]),
        bias: Param::from_tensor(tensor(2, [INNER], device)),
        down: parameter(3, [WIDTH, INNER]),
        idle: Param::from_tensor(tensor(4, [3], device)),
        frozen: tensor(5, [WIDTH, WIDTH], &device.clone().inner()),
    }
}

impl Block {
    /// Two results of two arguments, with dropout in between where it learns.
    fn forward(&self, mut arguments: Tensors) -> Tensors {
        let (x, memory) = (arguments.take::<3>(), arguments.take::<2>());
        let inner = gelu(linear(x.clone(), self.up.val(), Some(self.bias.val())));
        let device = inner.device();
        let inner = match learns(&device) {
            true => inner * random_mask([2, ROWS, INNER], 0.8, &device) / 0.8,
            false => inner,
        };
        let y = linear(inner, self.down.val(), None) + linear(memory, self.frozen.clone(), None).unsqueeze();
        Tensors::default().with(y.clone() + x).with(softmax(y))
    }
}

/// Gradients of arguments and parameters, and the loss, of three blocks one behind the other.
fn gradients(again: bool, reads_second: bool) -> Vec<TensorData> {
    let device = Device::flex().autodiff();
    device.seed(7);
    let block = block(&device);
    let x = tensor(8, [2, ROWS, WIDTH], &device).require_grad();
    let memory = tensor(9, [ROWS, WIDTH], &device).require_grad();
    // What is no leaf, and read by every block.
    let shared = memory.clone() * 2.0;
    let mut hidden = x.clone() * 1.5;
    let mut second = None;
    for _ in 0..3 {
        let arguments = Tensors::default().with(hidden).with(shared.clone());
        let mut results = match again {
            true => recompute(&block, arguments, |block: &Block, arguments| {
                block.forward(arguments)
            }),
            false => block.forward(arguments),
        };
        hidden = results.take::<3>();
        second = Some(results.take::<3>());
    }
    let mut loss = (hidden.clone() * tensor(10, [2, ROWS, WIDTH], &device)).sum();
    if let Some(second) = second.filter(|_| reads_second) {
        loss = loss + second.square().sum();
    }
    let gradients = loss.backward();
    let of_parameters = [&block.up, &block.down].map(|weight| weight.val().grad(&gradients));
    let mut found = vec![loss.into_data(), hidden.into_data()];
    found.extend(of_parameters.map(|gradient| gradient.expect("a gradient").into_data()));
    found.push(block.bias.val().grad(&gradients).expect("a gradient").into_data());
    found.push(x.grad(&gradients).expect("a gradient").into_data());
    found.push(memory.grad(&gradients).expect("a gradient").into_data());
    assert!(block.idle.val().grad(&gradients).is_none());
    found
}

/// What all three blocks read, the weights and the second argument, has its gradient added up in another order.
#[test]
fn blocks_give_the_same_gradients_when_they_are_computed_again() {
    let _alone = alone();
    for reads_second in [false, true] {
        let (kept, again) = (gradients(false, reads_second), gradients(true, reads_second));
        let names = ["loss", "result", "up", "down", "bias", "x", "memory"];
        for ((name, kept), again) in names.into_iter().zip(&kept).zip(&again) {
            match name {
                "loss" | "result" | "x" => assert_eq!(kept, again, "{name}"),
                _ => {
                    let [again, kept] = [again, kept].map(|data| data.iter::<f64>().collect::<Vec<_>>());
                    close(name, &again, &kept, 1e-6);
                }
            }
        }
    }
}

#[test]
fn a_single_block_gives_the_same_bits() {
    let _alone = alone();
    let of = |again: bool, products| {
        let device = Device::flex().autodiff();
        device.seed(3);
        let block = block(&device);
        let x = tensor(8, [2, ROWS, WIDTH], &device).require_grad();
        let memory = tensor(9, [ROWS, WIDTH], &device.clone().inner());
        let arguments = Tensors::default().with(x.clone()).with(memory);
        let mut results = with_products(products, || match again {
            true => recompute(&block, arguments, |block: &Block, arguments| {
                block.forward(arguments)
            }),
            false => block.forward(arguments),
        });
        // The backward pass keeps the precision of the forward pass.
        let gradients = (results.take::<3>() * tensor(10, [2, ROWS, WIDTH], &device))
            .sum()
            .backward();
        let weights = [block.up.val(), block.down.val()].map(|weight| weight.grad(&gradients));
        let x = x.grad(&gradients).expect("a gradient").into_data();
        weights
            .map(|weight| weight.expect("a gradient").into_data())
            .into_iter()
            .chain([x])
            .collect::<Vec<_>>()
    };
    for products in [Products::F32, Products::Bf16] {
        assert_eq!(of(false, products), of(true, products), "{products:?}");
    }
    assert_eq!(of(true, Products::F32) != of(true, Products::Bf16), rounds());
}

#[test]
fn without_gradients_it_is_a_plain_call() {
    let _alone = alone();
    let device = Device::flex();
    let block = block(&device);
    let arguments = || {
        let x = tensor(8, [2, ROWS, WIDTH], &device);
        Tensors::default().with(x).with(tensor(9, [ROWS, WIDTH], &device))
    };
    let plain = block.forward(arguments()).take::<3>().into_data();
    let again = recompute(&block, arguments(), |block: &Block, arguments| {
        block.forward(arguments)
    });
    assert_eq!(again.clone().take::<3>().into_data(), plain);
}
