//! Linear layer and cross-entropy in one: some rows' logits at a time, never all of them. The gradients are made together with the loss,
//! while the logits are there; the backward pass scales them.

use burn::backend::tensor::FloatTensor;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation};

use super::products::product;
use super::{Kept, Place, like, node, plain, primitive, tracked};
use crate::products::Products;

/// Logits that are there at a time; in tests few, so that they come in pieces.
const LOGITS: usize = if cfg!(test) { 1 << 10 } else { 1 << 24 };

pub(crate) fn linear_cross_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    targets: Tensor<1, Int>,
    label_smoothing: f64,
    products: Products,
) -> Tensor<1> {
    let wanted = [
        hidden.is_tracked(),
        weight.is_tracked(),
        bias.as_ref().is_some_and(Tensor::is_tracked),
    ];
    let device = hidden.device();
    let arguments = Arguments {
        hidden: plain(hidden.clone()),
        weight: plain(weight.clone()),
        bias: bias.clone().map(plain),
        targets: targets.inner(),
        label_smoothing,
        products,
    };
    let (mean, gradients) = arguments.run(wanted);
    if wanted == [false; 3] {
        return like(mean, [&device, &weight.device()]);
    }
    let (hidden, weight) = (tracked(hidden).into_parts().1, tracked(weight).into_parts().1);
    match bias {
        Some(bias) => node([hidden, weight, tracked(bias).into_parts().1], gradients, mean),
        None => node([hidden, weight], gradients, mean),
    }
}

/// All of them off the graph.
struct Arguments {
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    targets: Tensor<1, Int>,
    label_smoothing: f64,
    products: Products,
}

/// Those that were wanted, of the mean.
#[derive(Clone, Debug, Default)]
struct Gradients {
    hidden: Option<Tensor<2>>,
    weight: Option<Tensor<2>>,
    bias: Option<Tensor<1>>,
}

impl Arguments {
    fn run(&self, wanted: [bool; 3]) -> (Tensor<1>, Gradients) {
        let [rows, _] = self.hidden.dims();
        let [classes, _] = self.weight.dims();
        let at_a_time = (LOGITS / classes).max(1);
        let mut sum: Option<Tensor<1>> = None;
        let mut gradients = Gradients::default();
        let mut of_hidden = Vec::new();
        for first in (0..rows).step_by(at_a_time) {
            let count = at_a_time.min(rows - first);
            let hidden = self.hidden.clone().narrow(0, first, count);
            let targets = self.targets.clone().narrow(0, first, count).unsqueeze_dim::<2>(1);
            let logits = product(
                hidden.clone(),
                self.weight.clone().transpose(),
                self.bias.clone(),
                self.products,
                hidden.dtype(),
            );
            let logarithms = activation::log_softmax(logits, 1);
            let losses = self.losses(&logarithms, &targets);
            sum = Some(match sum {
                Some(sum) => sum + losses,
                None => losses,
            });
            if wanted == [false; 3] {
                continue;
            }
            let of_logits = self.of_logits(logarithms, targets, rows);
            let dtype = of_logits.dtype();
            let matmul = |a: Tensor<2>, b: Tensor<2>| product(a, b, None, self.products, dtype);
            if wanted[1] {
                let more = matmul(of_logits.clone().transpose(), hidden);
                gradients.weight = Some(match gradients.weight.take() {
                    Some(sum) => sum + more,
                    None => more,
                });
            }
            if wanted[2] {
                let more = of_logits.clone().sum_dim(0).squeeze_dim::<1>(0);
                gradients.bias = Some(match gradients.bias.take() {
                    Some(sum) => sum + more,
                    None => more,
                });
            }
            if wanted[0] {
                of_hidden.push(matmul(of_logits, self.weight.clone()));
            }
        }
        if wanted[0] {
            gradients.hidden = Some(Tensor::cat(of_hidden, 0));
        }
        let sum = sum.expect("there is a row");
        (sum.div_scalar(rows as f64), gradients)
    }

    /// The sum of the losses of some rows.
    fn losses(&self, logarithms: &Tensor<2>, targets: &Tensor<2, Int>) -> Tensor<1> {
        let classes = logarithms.dims()[1] as f64;
        let of_target = logarithms.clone().gather(1, targets.clone()).sum();
        if self.label_smoothing == 0.0 {
            return -of_target;
        }
        let even = logarithms
            .clone()
            .sum()
            .mul_scalar(self.label_smoothing / classes);
        -(of_target.mul_scalar(1.0 - self.label_smoothing) + even)
    }

    /// Of the mean over `rows`: probabilities less the targets.
    fn of_logits(&self, logarithms: Tensor<2>, targets: Tensor<2, Int>, rows: usize) -> Tensor<2> {
        let ([count, classes], device) = (logarithms.dims(), logarithms.device());
        let (share, dtype) = (1.0 / rows as f64, logarithms.dtype());
        let even = self.label_smoothing / classes as f64;
        let hit = Tensor::full(
            [count, 1],
            -(1.0 - self.label_smoothing) * share,
            (&device, dtype),
        );
        let spread = logarithms.exp().sub_scalar(even).mul_scalar(share);
        spread.scatter(1, targets, hit, IndexingUpdateOp::Add)
    }
}

impl Gradients {
    fn scaled(self, factor: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 3] {
        let factor = Tensor::<1>::from_primitive::<Place>(factor);
        let wide = |x: Tensor<2>| primitive(x * factor.clone().unsqueeze_dim::<2>(0));
        [
            self.hidden.map(wide),
            self.weight.map(wide),
            self.bias.map(|x| primitive(x * factor.clone())),
        ]
    }
}

impl Kept<3> for Gradients {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 3] {
        self.scaled(gradient)
    }
}

impl Kept<2> for Gradients {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 2] {
        let [hidden, weight, _] = self.scaled(gradient);
        [hidden, weight]
    }
}
