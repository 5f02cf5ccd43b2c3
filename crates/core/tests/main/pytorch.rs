//! Files of `torch.save`: LAVIS's equal to the same weights as safetensors; damaged or hostile ones refused.

use std::fs;
use std::path::Path;

use blip2_core::weights::{
    PytorchStore, SafetensorsStore, TensorStore, WeightError, open_weights, write_pytorch, write_safetensors,
};
use blip2_golden::{Check, each, find, fixture, variants};
use burn::tensor::TensorData;

#[test]
fn golden_checkpoints_of_lavis_hold_the_trainable_weights_and_no_run_state() {
    each(variants("lavis/stage1_", ".pth"), |encoder| {
        let file = format!("lavis/stage1_{encoder}.pth");
        let mut check = Check::new(&file);
        let checkpoint = PytorchStore::open(&find(&file).unwrap()).unwrap();
        let weights = format!("lavis/stage1_{encoder}_weights.safetensors");
        let whole = SafetensorsStore::open(&find(&weights).unwrap()).unwrap();
        for (name, info) in checkpoint.tensors() {
            check.identical(
                &format!("tensor/{name}"),
                &[Some(info)],
                &[whole.tensors().get(name)],
            );
            let (ours, theirs) = (checkpoint.read(name).unwrap(), whole.read(name).unwrap());
            check.identical(&format!("bytes/{name}"), ours.as_bytes(), theirs.as_bytes());
        }
        // LAVIS leaves out the frozen encoder, and nothing else.
        let frozen = |name: &&String| name.starts_with("visual_encoder.");
        let absent: Vec<&String> = whole
            .tensors()
            .keys()
            .filter(|name| !checkpoint.tensors().contains_key(*name))
            .collect();
        assert!(absent.iter().all(frozen), "{absent:?}");
        assert!(!checkpoint.tensors().keys().any(|name| frozen(&name)));
        let error = checkpoint.read("visual_encoder.none").unwrap_err();
        assert!(matches!(error, WeightError::Absent { .. }), "{error}");
    });
}

/// Opens the file and reads all it claims to have.
fn read_all(path: &Path) -> Result<(), WeightError> {
    let store = PytorchStore::open(path)?;
    for name in store.tensors().keys() {
        store.read(name)?;
    }
    Ok(())
}

#[test]
fn a_truncated_checkpoint_is_an_error_that_names_the_file() {
    let whole = fs::read(fixture("lavis/stage1_eva.pth")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.pth");
    for part in 0..50 {
        fs::write(&path, &whole[..whole.len() * part / 50]).unwrap();
        let error = read_all(&path).unwrap_err();
        assert!(matches!(error, WeightError::Format { .. }), "{part}: {error:?}");
        assert!(error.to_string().contains("short.pth"), "{error}");
    }
    let error = PytorchStore::open(&folder.path().join("none.pth"))
        .err()
        .expect("no file");
    assert!(matches!(error, WeightError::Io { .. }), "{error:?}");
}

/// A pickle that, executed, makes the file `mark`: `{"model": posix.system("touch mark")}`.
fn hostile(mark: &Path) -> Vec<u8> {
    let command = format!("touch {}", mark.display());
    let text = |text: &str| {
        let mut bytes = vec![b'X'];
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    };
    let mut pickle = b"\x80\x02}".to_vec();
    pickle.extend(text("model"));
    pickle.extend(b"cposix\nsystem\n");
    pickle.extend(text(&command));
    pickle.extend(b"\x85Rs.");
    pickle
}

#[test]
fn a_pickle_that_runs_a_command_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mark) = (folder.path().join("hostile.pth"), folder.path().join("mark"));
    fs::write(&path, hostile(&mark)).unwrap();
    let error = PytorchStore::open(&path).err().expect("no weights");
    assert!(error.to_string().contains("hostile.pth"), "{error}");
    assert!(!mark.exists());
}

/// Writes one tensor called `name` under `key`, and opens the file.
fn checkpoint(folder: &Path, key: &str, names: &[&str]) -> Vec<String> {
    let (plain, path) = (folder.join("plain.safetensors"), folder.join("checkpoint.pth"));
    let tensor = |name: &&str| ((*name).to_owned(), TensorData::new(vec![1.0_f32], [1]));
    let tensors: Vec<_> = names.iter().map(tensor).collect();
    write_safetensors(&plain, &tensors, Default::default()).unwrap();
    write_pytorch(&path, key, &SafetensorsStore::open(&plain).unwrap()).unwrap();
    let store = open_weights(&path).unwrap();
    assert_eq!(
        store
            .read(store.tensors().keys().next().unwrap())
            .unwrap()
            .num_elements(),
        1
    );
    store.tensors().keys().cloned().collect()
}

#[test]
fn names_are_read_without_what_wrappers_put_in_front() {
    let folder = tempfile::tempdir().unwrap();
    for (key, names, expected) in [
        ("model", ["a", "b.c"], ["a", "b.c"]),
        ("model_state_dict", ["a", "b.c"], ["a", "b.c"]),
        ("state_dict", ["module.a", "module.b.c"], ["a", "b.c"]),
        (
            "state_dict",
            ["_orig_mod.module.a", "_orig_mod.module.b"],
            ["a", "b"],
        ),
        // A part of a model may be called so.
        ("model", ["a", "module.b"], ["a", "module.b"]),
    ] {
        assert_eq!(
            checkpoint(folder.path(), key, &names),
            expected,
            "{key} {names:?}"
        );
    }
}

#[test]
fn a_folder_without_weights_says_what_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_weights(folder.path()).err().expect("no weights");
    assert!(matches!(error, WeightError::NoWeights { .. }), "{error}");
    for name in ["model.safetensors", "pytorch_model.bin.index.json"] {
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_header_of_safetensors_that_begins_like_a_pickle_is_none() {
    // 640 bytes of header: 0x80, 0x02, as a pickle of protocol 2 begins.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let mut header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_owned();
    header.extend(std::iter::repeat_n(' ', 640 - header.len()));
    let bytes = [
        &640_u64.to_le_bytes()[..],
        header.as_bytes(),
        &1_f32.to_le_bytes(),
    ]
    .concat();
    fs::write(&path, bytes).unwrap();
    assert!(open_weights(&path).unwrap().tensors().contains_key("a"));
}
