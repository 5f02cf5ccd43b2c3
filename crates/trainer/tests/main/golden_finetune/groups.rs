//! What each tensor is given by the optimiser: decay, and the share of the learning rate by depth.

use std::collections::BTreeMap;

use blip2_core::weights::parameters;
use blip2_golden::json;
use blip2_trainer::{LayerRates, LayerRule, is_decayed};
use blip2_vision_encoder::VisionTransformer;
use burn::module::Module;
use serde_json::{Map, Value};

use super::{Run, number};

/// What LAVIS's main branch calls the share of the learning rate at some decay; that which is meant has `_meant` behind it.
const SCALE: &str = "lr_scale_";
const MEANT: &str = "_meant";

impl Run {
    /// Each tensor of `whole`, whose `encoder` is trained where it is given.
    pub(super) fn compare_groups<M: Module>(
        &mut self,
        whole: &M,
        encoder: Option<&VisionTransformer>,
        of_model: fn(&str) -> Option<String>,
    ) {
        let groups = json(&format!("{}/groups.json", self.folder)).expect("groups beside the tensors");
        let tensors = |rule: &str| -> Map<String, Value> {
            let params = groups[rule]["params"].as_object();
            params.expect("tensors by name").clone()
        };
        let (release, main) = (tensors("lavis_1.0.2"), tensors("main_branch_rule"));
        if let Some(encoder) = encoder {
            let blocks = [number(&groups["main_branch_rule"]["vit_blocks"])];
            self.check
                .identical("vit_blocks", &[encoder.blocks() as f64], &blocks);
        }
        // Thirds of a fused tensor are alike.
        let mut ours: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for parameter in parameters(whole) {
            let name = self.name(&parameter.path, of_model);
            let name = name.split('[').next().unwrap_or_default().to_owned();
            ours.insert(name, (parameter.path, parameter.shape.len()));
        }
        for theirs in [&release, &main] {
            let mut names: Vec<&String> = theirs.keys().collect();
            names.sort();
            self.check
                .identical("groups", &ours.keys().collect::<Vec<_>>(), &names);
        }
        for (name, (path, dimensions)) in &ours {
            let decays = match encoder {
                Some(encoder) => {
                    LayerRates::new(Some(encoder), 1.0, LayerRule::Depth).is_decayed(path, *dimensions)
                }
                None => is_decayed(path, *dimensions),
            };
            let decay = |tensor: &Value| number(&tensor["weight_decay"]) > 0.0;
            self.check
                .identical(&format!("decay/{name}"), &[decays], &[decay(&main[name])]);
            // The temperature has no dimension in LAVIS and does not decay in 1.0.2.
            if name != "temp" {
                let what = format!("decay-1.0.2/{name}");
                self.check.identical(&what, &[decays], &[decay(&release[name])]);
            }
            self.compare_rate(name, path, &main[name], encoder);
        }
    }

    fn compare_rate(&mut self, name: &str, path: &str, theirs: &Value, encoder: Option<&VisionTransformer>) {
        let theirs = theirs.as_object().expect("a group");
        let decays = theirs
            .keys()
            .filter_map(|key| key.strip_prefix(SCALE))
            .filter(|decay| !decay.ends_with(MEANT));
        for decay in decays {
            for rule in [LayerRule::Lavis, LayerRule::Depth] {
                let written = |key: &str| {
                    let meant = theirs.get(&format!("{key}{MEANT}"));
                    meant
                        .filter(|_| rule == LayerRule::Depth)
                        .unwrap_or(&theirs[key])
                        .clone()
                };
                let factor: f64 = decay.parse().expect("a decay in the name");
                let rates = encoder.map(|encoder| LayerRates::new(Some(encoder), factor, rule));
                let layer = rates
                    .and_then(|rates| rates.layer(path))
                    .map(|layer| layer as u64);
                let what = format!("{rule:?}/{name}");
                self.check.identical(
                    &format!("layer-{what}"),
                    &[layer],
                    &[written("layer_id").as_u64()],
                );
                self.check.close(
                    &format!("rate-{decay}-{what}"),
                    &[rates.map_or(1.0, |rates| rates.scale(path))],
                    &[number(&written(&format!("{SCALE}{decay}")))],
                    1e-12,
                );
            }
        }
    }
}
