//! The linear layers of a language model by their names, and low-rank updates beside them.

use blip2_core::layers::{Linear, LowRank};
use blip2_core::weights::NameMap;
use blip2_core::{AdaptableLayer, ModelError};

/// A model whose linear layers can be found by name.
pub(crate) trait Linears: Clone {
    /// What `transformers` calls the parameters.
    const NAMES: NameMap;

    /// Those that may be adapted, by our own paths.
    fn linears(&mut self) -> Vec<(String, &mut Linear)>;
}

/// What a model with [`Linears`] answers as a `LanguageModel`, for use within its implementation.
macro_rules! takes_updates {
    () => {
        fn adaptable_layers(&self) -> Vec<blip2_core::AdaptableLayer> {
            $crate::linears::adaptable(self)
        }

        fn adapted(
            &self,
            updates: &[(String, blip2_core::layers::LowRank)],
        ) -> Result<Box<dyn blip2_core::LanguageModel>, blip2_core::ModelError> {
            Ok(Box::new($crate::linears::adapted(self, updates)?))
        }
    };
}
pub(crate) use takes_updates;

/// The linear layers that `parts` finds in each of `layers`, which stand at `path`.
pub(crate) fn in_layers<'m, Layer, Part: Into<String>>(
    path: &str,
    layers: &'m mut [Layer],
    parts: impl Fn(&'m mut Layer) -> Vec<(Part, &'m mut Linear)>,
) -> Vec<(String, &'m mut Linear)> {
    let layers = layers.iter_mut().enumerate();
    layers
        .flat_map(|(index, layer)| {
            let named = |(part, linear): (Part, _)| (format!("{path}.{index}.{}", part.into()), linear);
            parts(layer).into_iter().map(named).collect::<Vec<_>>()
        })
        .collect()
}

/// The linear layers of a part that stands at `path`.
pub(crate) fn below<'m, const COUNT: usize>(
    path: &str,
    linears: [(&'static str, &'m mut Linear); COUNT],
) -> impl Iterator<Item = (String, &'m mut Linear)> {
    let linears = linears.into_iter();
    linears.map(move |(part, linear)| (format!("{path}.{part}"), linear))
}

/// What `transformers` calls the module at `path`.
fn name<M: Linears>(path: &str) -> Option<String> {
    let weight = (M::NAMES.rename)(&format!("{path}.weight"))?;
    weight.strip_suffix(".weight").map(str::to_owned)
}

/// [`blip2_core::LanguageModel::adaptable_layers`].
pub(crate) fn adaptable<M: Linears>(model: &M) -> Vec<AdaptableLayer> {
    let mut model = model.clone();
    let layers = model.linears().into_iter();
    layers
        .filter_map(|(path, linear)| {
            let [outputs, inputs] = linear.weight.lazy_shape().dims();
            Some(AdaptableLayer {
                name: name::<M>(&path)?,
                inputs,
                outputs,
            })
        })
        .collect()
}

/// [`blip2_core::LanguageModel::adapted`].
pub(crate) fn adapted<M: Linears>(model: &M, updates: &[(String, LowRank)]) -> Result<M, ModelError> {
    let mut model = model.clone();
    let mut linears = model.linears();
    for (wanted, update) in updates {
        let found = linears
            .iter_mut()
            .find(|(path, _)| name::<M>(path).as_ref() == Some(wanted));
        let (_, linear) = found.ok_or_else(|| {
            ModelError::Invalid(format!(
                "a low-rank update is for the layer `{wanted}`, which this language model does not have"
            ))
        })?;
        let [outputs, inputs] = linear.weight.lazy_shape().dims();
        let [reads, _, gives] = update.sizes();
        if [reads, gives] != [inputs, outputs] {
            return Err(ModelError::Invalid(format!(
                "the low-rank update of `{wanted}` is for {reads} inputs and {gives} outputs, but the layer has {inputs} and \
                 {outputs}: it belongs to another model"
            )));
        }
        linear.low_rank = Some(update.clone());
    }
    Ok(model)
}
