//! Loading fills a module whole, or says all that is wrong at once and leaves it as it was.

use std::collections::HashMap;
use std::path::Path;

use blip2_core::Initializer;
use blip2_core::layers::{LayerNorm, Linear};
use blip2_core::weights::{
    LoadOptions, NameMap, SafetensorsStore, WeightError, collect, fingerprint, load, write_safetensors,
};
use burn::module::Module;
use burn::tensor::{DType, Device, TensorData};

#[derive(Module, Debug)]
struct Pair {
    dense: Linear,
    norm: LayerNorm,
}

fn pair(seed: u64) -> Pair {
    let mut initializer = Initializer::new(seed, &Device::flex());
    Pair {
        dense: Linear::uniform(&mut initializer, 3, 4),
        norm: LayerNorm::new(&mut initializer, 4, 1e-5),
    }
}

fn store(folder: &Path, tensors: &[(String, TensorData)]) -> SafetensorsStore {
    let path = folder.join("pair.safetensors");
    write_safetensors(&path, tensors, HashMap::new()).expect("writing");
    SafetensorsStore::open(&path).expect("opening")
}

#[test]
fn a_module_comes_back_from_its_own_tensors() {
    let folder = tempfile::tempdir().expect("folder");
    let origin = pair(1);
    let store = store(folder.path(), &collect(&origin));
    assert_ne!(fingerprint(&pair(2)), fingerprint(&origin));
    let loaded = load(pair(2), &store, &NameMap::OWN, LoadOptions::default()).expect("loading");
    assert_eq!(fingerprint(&loaded), fingerprint(&origin));
}

#[test]
fn everything_wrong_is_reported_at_once_and_nothing_changes() {
    let folder = tempfile::tempdir().expect("folder");
    let mut tensors = collect(&pair(1));
    tensors.retain(|(name, _)| name != "dense.bias" && name != "norm.weight");
    for (name, data) in &mut tensors {
        if name == "dense.weight" {
            *data = TensorData::new(vec![0.0_f32; 12], [3, 4]);
        }
    }
    tensors.push(("stranger".to_owned(), TensorData::new(vec![0.0_f32], [1])));
    let store = store(folder.path(), &tensors);

    let kept = pair(2);
    let before = fingerprint(&kept);
    let error = load(kept.clone(), &store, &NameMap::OWN, LoadOptions::default()).unwrap_err();
    assert_eq!(fingerprint(&kept), before);
    let text = error.to_string();
    let WeightError::Mismatch {
        file,
        missing,
        unexpected,
        misshapen,
    } = error
    else {
        panic!("{text}")
    };
    assert!(file.ends_with("pair.safetensors"));
    assert_eq!(missing, ["dense.bias", "norm.weight"]);
    assert_eq!(unexpected, ["stranger"]);
    assert_eq!(
        misshapen,
        ["dense.weight: [3, 4] in the file, [4, 3] in the model"]
    );
    for part in [
        "pair.safetensors",
        "2 missing: dense.bias, norm.weight",
        "1 unexpected: stranger",
        "[4, 3]",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn what_is_optional_keeps_its_value_and_what_is_ignored_is_left_unread() {
    let folder = tempfile::tempdir().expect("folder");
    let origin = pair(1);
    let mut tensors = collect(&origin);
    tensors.retain(|(name, _)| name != "dense.bias");
    tensors.push(("stranger".to_owned(), TensorData::new(vec![0.0_f32], [1])));
    let store = store(folder.path(), &tensors);
    let names = NameMap {
        ignored: |name| name == "stranger",
        ..NameMap::OWN
    };
    let options = LoadOptions {
        optional: |path| path == "dense.bias",
        ..LoadOptions::default()
    };
    let loaded = load(pair(2), &store, &names, options).expect("loading");
    let (loaded, origin, fresh) = (collect(&loaded), collect(&origin), collect(&pair(2)));
    for index in 0..loaded.len() {
        let expected = if loaded[index].0 == "dense.bias" {
            &fresh[index]
        } else {
            &origin[index]
        };
        assert_eq!(
            loaded[index].1.as_bytes(),
            expected.1.as_bytes(),
            "{}",
            expected.0
        );
    }
}

#[test]
fn parameters_are_held_in_the_format_asked_for() {
    let folder = tempfile::tempdir().expect("folder");
    let halves: Vec<_> = collect(&pair(1))
        .into_iter()
        .map(|(name, data)| (name, data.convert_dtype(DType::BF16)))
        .collect();
    let store = store(folder.path(), &halves);
    for (wanted, expected) in [(None, DType::BF16), (Some(DType::F32), DType::F32)] {
        let options = LoadOptions {
            dtype: wanted,
            ..LoadOptions::default()
        };
        let loaded = load(pair(2), &store, &NameMap::OWN, options).expect("loading");
        for ((name, data), (_, half)) in collect(&loaded).into_iter().zip(&halves) {
            assert_eq!(data.dtype(), expected, "{name}");
            assert_eq!(
                data.as_bytes(),
                half.clone().convert_dtype(expected).as_bytes(),
                "{name}"
            );
        }
    }
}

#[test]
fn a_fingerprint_tells_a_single_bit() {
    let folder = tempfile::tempdir().expect("folder");
    let origin = pair(1);
    assert_eq!(fingerprint(&origin), fingerprint(&pair(1)));
    for changed in 0..4 {
        let mut tensors = collect(&origin);
        let (name, data) = &mut tensors[changed];
        let mut values = data.clone().try_to_vec::<f32>().expect("f32");
        values[1] = f32::from_bits(values[1].to_bits() ^ (1 << 31));
        *data = TensorData::new(values, data.shape().to_vec());
        let name = name.clone();
        let store = store(folder.path(), &tensors);
        let loaded = load(pair(2), &store, &NameMap::OWN, LoadOptions::default()).expect("loading");
        assert_ne!(fingerprint(&loaded), fingerprint(&origin), "a sign of {name}");
    }
}
