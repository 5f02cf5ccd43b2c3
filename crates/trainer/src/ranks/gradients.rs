//! The mean gradients of a global batch over all ranks.

use std::fmt::Debug;
use std::ops::Range;

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
    let mut nodes = Vec::new();
    for (parts, gradients) in &mut sums.gradients {
        let mut read = Read {
            gradients,
            found: Vec::new(),
        };
        model.visit(&mut read);
        nodes.push((parts.clone(), read.found));
    }
    let summed = match context.order {
        SumOrder::Fixed => sum_in_order(ranks, nodes)?,
        SumOrder::Free => {
            let mut found = nodes.pop().ok_or_else(nothing)?.1;
            let tensors = found.iter_mut().flatten().map(TensorData::as_mut_slice::<f32>);
            let mut tensors = tensors.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
            ranks.all_reduce("gradients", &mut tensors)?;
            found
        }
    };
    let mut gradients = sums.gradients.pop().ok_or_else(nothing)?.1;
    model.visit(&mut Write {
        gradients: &mut gradients,
        summed: summed.into_iter(),
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

/// The gradient of each parameter, where it has one.
type Found = Vec<Option<TensorData>>;

/// The sum of `nodes`, each over some parts of the batch, and of those of all ranks.
fn sum_in_order(ranks: &Communicator, nodes: Vec<(Range<usize>, Found)>) -> Result<Found, TrainError> {
    let shapes = nodes.first().map_or_else(Vec::new, |(_, found)| {
        found
            .iter()
            .map(|data| data.as_ref().map(|data| data.shape().clone()))
            .collect()
    });
    let mut flat = Vec::new();
    for (parts, found) in nodes {
        let mut values = Vec::with_capacity(found.iter().flatten().map(TensorData::num_elements).sum());
        for data in found.iter().flatten() {
            values.extend_from_slice(data.as_slice::<f32>().map_err(unreadable)?);
        }
        flat.push((parts, values));
    }
    let mut sums = ranks.sum_in_order("gradients", &flat)?.into_iter();
    let shaped = shapes.into_iter().map(|shape| {
        let shape = shape?;
        let values: Vec<f32> = sums.by_ref().take(shape.num_elements()).collect();
        Some(TensorData::new(values, shape))
    });
    Ok(shaped.collect())
}

fn unreadable(error: impl Debug) -> TrainError {
    TrainError::Ranks(format!("gradients cannot be read: {error:?}"))
}

/// Takes the gradient of each parameter off the device.
struct Read<'a> {
    gradients: &'a mut Gradients,
    found: Found,
}

impl ModuleVisitor for Read<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = parameter.val().grad_remove(self.gradients);
        self.found.push(gradient.map(Tensor::into_data));
    }
}

/// Puts gradients back.
struct Write<'a> {
    gradients: &'a mut Gradients,
    summed: std::vec::IntoIter<Option<TensorData>>,
}

impl ModuleVisitor for Write<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let Some(data) = self.summed.next().flatten() else {
            return;
        };
        let value = parameter.val();
        let gradient = Tensor::<D>::from_data(data, &value.device().inner());
        value.grad_replace(self.gradients, gradient);
    }
}
