//! The mean gradients of a global batch over all ranks.

use blip2_distributed::Communicator;
use blip2_objectives::{PartSums, StepGradients, SumOrder, Terms};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use crate::{StepContext, TrainError};

/// The step on the global batch of `context`, of which `sums` is what this rank has computed: the same bits on all ranks, and
/// where the order is fixed, on any number of them.
///
/// # Errors
/// [`TrainError::Collective`]; [`TrainError::Ranks`] where this rank has no part or gradients cannot be read.
pub fn mean_over_ranks<M: Module>(
    model: &M,
    mut sums: PartSums,
    context: &StepContext<'_>,
) -> Result<StepGradients, TrainError> {
    let ranks = context.ranks;
    let nothing = || TrainError::Ranks("a rank has no part of the batch".to_owned());
    if ranks.is_alone() {
        return sums.mean(model).ok_or_else(nothing);
    }
    let terms = Terms::mean(terms_of_all(ranks, &sums.terms)?).ok_or_else(nothing)?;
    let (mut nodes, mut there) = (Vec::new(), Vec::new());
    for (parts, gradients) in &mut sums.gradients {
        let mut read = Read::new(gradients);
        model.visit(&mut read);
        if let Some(reason) = read.failure {
            return Err(TrainError::Ranks(format!("gradients cannot be read: {reason}")));
        }
        there = read.there;
        nodes.push((parts.clone(), read.values));
    }
    let values = match context.order {
        SumOrder::Fixed => ranks.sum_in_order("gradients", &nodes)?,
        SumOrder::Free => {
            let mut values = nodes.pop().ok_or_else(nothing)?.1;
            ranks.all_reduce("gradients", &mut values)?;
            values
        }
    };
    let mut gradients = sums.gradients.pop().ok_or_else(nothing)?.1;
    model.visit(&mut Write {
        gradients: &mut gradients,
        there: there.into_iter(),
        values: values.into_iter(),
    });
    Ok(StepGradients { gradients, terms })
}

/// The terms of all parts of the global batch, in their order.
fn terms_of_all(ranks: &Communicator, own: &[Terms]) -> Result<Vec<Terms>, TrainError> {
    let Some(first) = own.first() else {
        return Ok(Vec::new());
    };
    let values: Vec<Tensor<1>> = own
        .iter()
        .flat_map(|terms| terms.iter().map(|term| term.value.clone()))
        .collect();
    let device = values.first().map_or_else(Device::flex, Tensor::device);
    let values: Vec<f32> = match values.is_empty() {
        true => Vec::new(),
        false => Tensor::cat(values, 0).into_data().iter::<f32>().collect(),
    };
    let all = ranks.all_gather("terms", bytemuck::cast_slice(&values))?.concat();
    let all: Vec<f32> = bytemuck::pod_collect_to_vec(&all);
    let terms = |values: &[f32]| {
        let mut terms = Terms::default();
        for (term, value) in first.iter().zip(values) {
            terms.add(term.name, term.weight, Tensor::from_data([*value], &device));
        }
        terms
    };
    Ok(all.chunks(first.iter().count().max(1)).map(terms).collect())
}

/// Takes the gradient of each parameter off the device.
struct Read<'a> {
    gradients: &'a mut Gradients,
    values: Vec<f32>,
    /// Whether each parameter has one.
    there: Vec<bool>,
    failure: Option<String>,
}

impl<'a> Read<'a> {
    fn new(gradients: &'a mut Gradients) -> Self {
        Self {
            gradients,
            values: Vec::new(),
            there: Vec::new(),
            failure: None,
        }
    }
}

impl ModuleVisitor for Read<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = parameter.val().grad_remove(self.gradients);
        self.there.push(gradient.is_some());
        let Some(gradient) = gradient else { return };
        match gradient.into_data().as_slice::<f32>() {
            Ok(values) => self.values.extend_from_slice(values),
            Err(error) => self.failure = Some(format!("{error:?}")),
        }
    }
}

/// Puts gradients back.
struct Write<'a> {
    gradients: &'a mut Gradients,
    there: std::vec::IntoIter<bool>,
    values: std::vec::IntoIter<f32>,
}

impl ModuleVisitor for Write<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if self.there.next() != Some(true) {
            return;
        }
        let value = parameter.val();
        let (shape, device) = (value.shape(), value.device().inner());
        let values: Vec<f32> = self.values.by_ref().take(shape.num_elements()).collect();
        let gradient = Tensor::<D>::from_data(TensorData::new(values, shape), &device);
        value.grad_replace(self.gradients, gradient);
    }
}
