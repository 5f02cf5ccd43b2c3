//! Frozen weights that are packed while they are loaded.

use blip2_kernels::{PackedWeight, Packing};
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

use crate::weights::AS_STORED;

fn pack(data: TensorData, packing: Packing) -> PackedWeight {
    // Numbers that no level can stand for, infinities among them, are kept in bfloat16, which takes them all.
    let packed = match packing {
        Packing::Bf16 => PackedWeight::new(data, packing),
        _ => PackedWeight::new(data.clone(), packing).or_else(|error| {
            tracing::warn!("a weight stays in bfloat16 instead of {packing:?}: {error}");
            PackedWeight::new(data, Packing::Bf16)
        }),
    };
    packed.expect("a weight in a float type of 16 or 32 bits, of a shape that is not empty")
}

/// The weight of a linear layer, `[outputs, inputs]`, or a table, `[entries, width]`: a parameter, or packed.
#[derive(Clone, Debug)]
pub struct PackableWeight(State);

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

impl PackableWeight {
    /// A weight that is packed on loading where a packing is given.
    pub(super) fn new(parameter: Param<Tensor<2>>, packing: Option<Packing>) -> Self {
        Self(State::Plain(parameter, packing))
    }

    /// The table of the words of a language, often the output layer too: packed as other weights, but in 8 bits at least.
    /// What 4 bits lose here, every word feels: with them SmolLM2's perplexity grows by a tenth.
    pub(super) fn words(parameter: Param<Tensor<2>>, packing: Option<Packing>) -> Self {
        let packing = packing.map(|packing| match packing {
            Packing::Int4 => Packing::Int8,
            other => other,
        });
        Self(State::Plain(parameter, packing))
    }

    /// A weight that is never packed.
    pub(super) fn plain(parameter: Param<Tensor<2>>) -> Self {
        Self(State::Plain(parameter, None))
    }

    /// The shape, without reading the weight.
    pub fn lazy_shape(&self) -> Shape {
        match &self.0 {
            State::Plain(parameter, _) => parameter.lazy_shape(),
            State::Packed { weight, .. } => Shape::from(weight.dims()),
        }
    }

    /// Where it is, without reading the weight.
    pub fn lazy_device(&self) -> Device {
        match &self.0 {
            State::Plain(parameter, _) => parameter.lazy_device(),
            State::Packed { device, .. } => device.clone(),
        }
    }

    /// Number format of what it computes with.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            State::Plain(parameter, _) => parameter.val().dtype(),
            State::Packed { .. } => DType::F32,
        }
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
                    // Taken out of the parameter, so that the numbers are not copied on the way.
                    weight: pack(parameter.into_value().into_data(), wanted),
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

impl Module for PackableWeight {
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
        let wanted = match &self.0 {
            State::Plain(_, packing) => packing.is_some(),
            State::Packed { .. } => true,
        };
        self.change(|parameter| {
            if !wanted {
                return Module::map(parameter, mapper);
            }
            mapper.enter_module("", AS_STORED);
            let parameter = Module::map(parameter, mapper);
            mapper.exit_module("", AS_STORED);
            parameter
        })
    }
}

impl ModuleDisplay for PackableWeight {}

impl ModuleDisplayDefault for PackableWeight {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content.add_formatted(&format!("{self:?}")))
    }
}
