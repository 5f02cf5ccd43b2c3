//! Frozen weights that are packed while they are loaded.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use blip2_kernels::{PackedWeight, Packing};
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::{Device, Shape, Tensor, TensorData};

thread_local! {
    static PACKING: Cell<Option<Packing>> = const { Cell::new(None) };
}

/// Runs `load` so that the linear layers of the models that it makes keep their weights packed: each is packed as soon as
/// it is read, and its single precision dropped. Such layers are constants: their input alone gets a gradient.
///
/// With `None`, layers are made as ever.
pub fn with_packing<T>(packing: Option<Packing>, load: impl FnOnce() -> T) -> T {
    struct Restore(Option<Packing>);
    impl Drop for Restore {
        fn drop(&mut self) {
            PACKING.set(self.0);
        }
    }
    let _restore = Restore(PACKING.replace(packing));
    load()
}

fn pack(data: &TensorData, packing: Packing) -> PackedWeight {
    // Numbers that no level can stand for, infinities among them, are kept in bfloat16, which takes them all.
    PackedWeight::new(data, packing)
        .or_else(|error| {
            tracing::warn!("a weight stays in bfloat16 instead of {packing:?}: {error}");
            PackedWeight::new(data, Packing::Bf16)
        })
        .expect("a weight in single precision of a shape that is not empty")
}

/// The weight of a linear layer, `[outputs, inputs]`: a parameter, or packed.
#[derive(Clone, Debug)]
pub struct LinearWeight(State);

#[derive(Clone, Debug)]
enum State {
    /// To be packed, where a packing is given, as soon as it has a value.
    Plain(Param<Tensor<2>>, Option<Packing>),
    Packed {
        id: ParamId,
        device: Device,
        weight: PackedWeight,
        wanted: Packing,
    },
}

impl LinearWeight {
    /// A weight that is packed on loading if [`with_packing`] says so.
    pub(super) fn new(parameter: Param<Tensor<2>>) -> Self {
        Self(State::Plain(parameter, PACKING.get()))
    }

    /// The numbers, `[outputs, inputs]`; unpacked at each call where they are packed.
    pub fn val(&self) -> Tensor<2> {
        match &self.0 {
            State::Plain(parameter, _) => parameter.val(),
            State::Packed { device, weight, .. } => Tensor::from_data(weight.unpacked(), device),
        }
    }

    /// The packed weight, if it is one.
    pub(super) fn packed(&self) -> Option<&PackedWeight> {
        match &self.0 {
            State::Plain(..) => None,
            State::Packed { weight, .. } => Some(weight),
        }
    }

    fn settled(parameter: Param<Tensor<2>>, packing: Option<Packing>) -> Self {
        match packing {
            Some(wanted) if parameter.is_initialized() && !parameter.shape().is_empty() => {
                Self(State::Packed {
                    id: parameter.id,
                    device: parameter.lazy_device(),
                    weight: pack(&parameter.val().into_data(), wanted),
                    wanted,
                })
            }
            _ => Self(State::Plain(parameter, packing)),
        }
    }

    fn change(self, change: impl FnOnce(Param<Tensor<2>>) -> Param<Tensor<2>>) -> Self {
        match self.0 {
            State::Plain(parameter, packing) => Self::settled(change(parameter), packing),
            State::Packed {
                id,
                device,
                weight,
                wanted,
            } => {
                let changed = change(unpacking(id, &device, &weight));
                if changed.is_initialized() {
                    return Self::settled(changed, Some(wanted));
                }
                // Nobody has read or replaced it, so that it still says the same.
                let device = changed.lazy_device();
                Self(State::Packed {
                    id,
                    device,
                    weight,
                    wanted,
                })
            }
        }
    }
}

/// A parameter that unpacks a weight when it is first read.
fn unpacking(id: ParamId, device: &Device, weight: &PackedWeight) -> Param<Tensor<2>> {
    let shape = Shape::from(weight.dims());
    let weight = weight.clone();
    let unpack = move |device: &Device, _| Tensor::from_data(weight.unpacked(), device);
    Param::uninitialized(id, unpack, device.clone(), false, shape)
}

impl Module for LinearWeight {
    fn collect_devices(&self, devices: Devices) -> Devices {
        match &self.0 {
            State::Plain(parameter, _) => parameter.collect_devices(devices),
            State::Packed {
                id, device, weight, ..
            } => unpacking(*id, device, weight).collect_devices(devices),
        }
    }

    fn fork(self, device: &Device) -> Self {
        self.change(|parameter| parameter.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.change(|parameter| parameter.to_device(device))
    }

    fn train(self) -> Self {
        match self.0 {
            State::Plain(parameter, packing) => Self(State::Plain(parameter.train(), packing)),
            packed => Self(packed),
        }
    }

    fn valid(&self) -> Self {
        match &self.0 {
            State::Plain(parameter, packing) => Self(State::Plain(parameter.valid(), *packing)),
            packed => Self(packed.clone()),
        }
    }

    fn materialize(self) -> Self {
        match self.0 {
            State::Plain(parameter, packing) => Self(State::Plain(parameter.materialize(), packing)),
            packed => Self(packed),
        }
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        match &self.0 {
            State::Plain(parameter, _) => parameter.visit(visitor),
            State::Packed {
                id, device, weight, ..
            } => unpacking(*id, device, weight).visit(visitor),
        }
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        self.change(|parameter| Module::map(parameter, mapper))
    }
}

impl ModuleDisplay for LinearWeight {}

impl ModuleDisplayDefault for LinearWeight {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content.add_formatted(&format!("{self:?}")))
    }
}

/// A second, packed copy of a table, for the output layer that is the table itself: made when it is first asked for, if
/// the table was made in [`with_packing`]; in 8 bits at least.
#[derive(Clone, Debug)]
pub(super) struct PackedHead {
    packing: Option<Packing>,
    weight: Arc<OnceLock<PackedWeight>>,
}

impl PackedHead {
    pub(super) fn new() -> Self {
        Self {
            packing: PACKING.get(),
            weight: Arc::default(),
        }
    }

    /// The packed copy of `table` `[entries, width]`, if there is to be one.
    pub(super) fn of(&self, table: &Param<Tensor<2>>) -> Option<&PackedWeight> {
        // What 4 bits lose here, every word feels: with them SmolLM2's perplexity grows by a tenth.
        let packing = match self.packing? {
            Packing::Int4 => Packing::Int8,
            other => other,
        };
        let weight = || pack(&table.val().into_data(), packing);
        Some(self.weight.get_or_init(weight))
    }

    /// The same before its table may have changed.
    fn renewed(self) -> Self {
        Self {
            packing: self.packing,
            weight: Arc::default(),
        }
    }
}

impl Module for PackedHead {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _device: &Device) -> Self {
        self
    }

    fn to_device(self, _device: &Device) -> Self {
        self
    }

    fn train(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<Visitor: ModuleVisitor>(&self, _visitor: &mut Visitor) {}

    fn map<Mapper: ModuleMapper>(self, _mapper: &mut Mapper) -> Self {
        self.renewed()
    }
}

impl ModuleDisplay for PackedHead {}

impl ModuleDisplayDefault for PackedHead {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}
