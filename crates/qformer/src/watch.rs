//! Attentions that are looked at while they are used, and the gradient of what comes of them.

use std::collections::BTreeMap;

use burn::tensor::{Gradients, Tensor};

/// What watches each layer that is watched.
pub(crate) type Watches = BTreeMap<usize, Watch>;

/// What one layer's attentions were: to rows of its own, and then to the image.
#[derive(Default)]
pub(crate) struct Watch {
    seen: Vec<Seen>,
    tracked: bool,
}

/// One attention.
struct Seen {
    /// `[batch, heads, rows, keys]`.
    probabilities: Tensor<4>,
    /// Zeros that were added to them: their gradient is that of the probabilities.
    shift: Option<Tensor<4>>,
}

impl Watch {
    /// One that can tell the gradients, too. From its first attention on, the pass is tracked.
    pub(crate) fn tracked() -> Self {
        Self {
            tracked: true,
            ..Self::default()
        }
    }

    /// Keeps `probabilities` `[batch, heads, rows, keys]` and gives those to go on with.
    pub(crate) fn see(&mut self, probabilities: Tensor<4>) -> Tensor<4> {
        let shift = self
            .tracked
            .then(|| probabilities.zeros_like().inner().autodiff().require_grad());
        self.seen.push(Seen {
            probabilities: probabilities.clone().inner(),
            shift: shift.clone(),
        });
        match shift {
            Some(shift) => probabilities.autodiff() + shift,
            None => probabilities,
        }
    }

    /// To rows of the layer's own `[batch, heads, rows, rows]`, and to the image `[batch, heads, queries, patches]`.
    pub(crate) fn probabilities(self) -> Option<[Tensor<4>; 2]> {
        let seen: Vec<Tensor<4>> = self.seen.into_iter().map(|seen| seen.probabilities).collect();
        seen.try_into().ok()
    }

    /// The same, each times its gradient, as far as that is positive, mean over heads: `[batch, rows, keys]` each. `None` where
    /// nothing of the pass depends on one of them.
    pub(crate) fn weighted(self, gradients: &Gradients) -> Option<[Tensor<3>; 2]> {
        let weigh = |seen: Seen| {
            let gradient = seen.shift?.grad(gradients)?;
            let [batch, _, rows, keys] = gradient.dims();
            let weighted = seen.probabilities * gradient.clamp_min(0.0);
            Some(weighted.mean_dim(1).reshape([batch, rows, keys]))
        };
        let weighted: Option<Vec<Tensor<3>>> = self.seen.into_iter().map(weigh).collect();
        weighted?.try_into().ok()
    }
}
