//! All ranks begin with the same parameters, moments and state, and are asked now and then whether they still have them.

use blip2_core::weights::{
    Assembled, LoadOptions, NameMap, Part, TensorInfo, collect, fingerprint, load, parameters,
};
use blip2_distributed::Communicator;
use burn::module::Module;
use burn::tensor::{DType, Device, TensorData};
use serde::{Deserialize, Serialize};

use crate::checkpoint::State;
use crate::{Optimizer, TrainError};

/// Numbers that are sent at a time.
const PIECE: usize = 64 << 20;

/// What rank 0 says of a list of tensors before it sends them.
#[derive(Serialize, Deserialize)]
struct Listed {
    name: String,
    shape: Vec<usize>,
}

/// Model, optimiser and state as rank 0 has them, from a checkpoint or from the beginning, on all ranks. The others need no
/// checkpoint of their own.
///
/// # Errors
/// [`TrainError::Collective`], which names the parameter where models differ in shape.
pub(crate) fn begin_together<M: Module>(
    ranks: &Communicator,
    phase: &str,
    model: M,
    found: (Optimizer, State),
    device: &Device,
) -> Result<(M, Optimizer, State), TrainError> {
    let (optimizer, state) = found;
    if ranks.is_alone() {
        return Ok((model, optimizer, state));
    }
    let shapes = parameters(&model).into_iter();
    let shapes = shapes.map(|parameter| {
        (
            format!("shape of {}", parameter.path),
            format!("{:?}", parameter.shape),
        )
    });
    let facts: Vec<_> = [("phase".to_owned(), phase.to_owned())]
        .into_iter()
        .chain(shapes)
        .collect();
    ranks.agree(&facts)?;

    let state: State = of_the_first(ranks, "state", &state)?;
    let values = tensors_of_the_first(ranks, "parameters", collect(&model))?;
    let moments = tensors_of_the_first(ranks, "moments", optimizer.state())?;
    if ranks.is_first() {
        return Ok((model, optimizer, state));
    }
    let model = load(model, &values, &NameMap::OWN, LoadOptions::default())?;
    let optimizer = Optimizer::from_state(&moments, state.step, &device.clone().inner())?;
    Ok((model, optimizer, state))
}

/// Whether all ranks have the same parameters, to the bit.
///
/// # Errors
/// [`TrainError::Collective`], which names the rank that has others.
pub(crate) fn is_the_same<M: Module>(ranks: &Communicator, model: &M, step: u64) -> Result<(), TrainError> {
    if ranks.is_alone() {
        return Ok(());
    }
    let what = format!("set of parameters after step {step}");
    Ok(ranks.agree(&[(what, fingerprint(model))])?)
}

/// `own` of rank 0.
fn of_the_first<T: Serialize + for<'a> Deserialize<'a>>(
    ranks: &Communicator,
    what: &'static str,
    own: &T,
) -> Result<T, TrainError> {
    let own = match ranks.is_first() {
        true => serde_json::to_vec(own).map_err(TrainError::other)?,
        false => Vec::new(),
    };
    let all = ranks.all_gather(what, &own)?;
    serde_json::from_slice(&all[0]).map_err(TrainError::other)
}

/// The tensors of rank 0, in single precision.
fn tensors_of_the_first(
    ranks: &Communicator,
    what: &'static str,
    own: Vec<(String, TensorData)>,
) -> Result<Assembled<'static>, TrainError> {
    let listed: Vec<Listed> = own
        .iter()
        .map(|(name, data)| Listed {
            name: name.clone(),
            shape: data.shape().to_vec(),
        })
        .collect();
    let listed = of_the_first(ranks, "list of tensors", &listed)?;
    let mut own = own.into_iter();
    let mut store = Assembled::new(format!("{what} of rank 0"));
    for Listed { name, shape } in listed {
        let data = own.next().filter(|_| ranks.is_first());
        let mut values: Vec<f32> = match data {
            Some((_, data)) => data.iter::<f32>().collect(),
            None => vec![0.0; shape.iter().product()],
        };
        for piece in values.chunks_mut(PIECE) {
            ranks.broadcast(what, bytemuck::cast_slice_mut(piece))?;
        }
        let info = TensorInfo {
            dtype: DType::F32,
            shape: shape.clone(),
        };
        store.put(&name, info, Part::Values(TensorData::new(values, shape)));
    }
    Ok(store)
}
