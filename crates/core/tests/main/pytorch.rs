//! Files of `torch.save`: LAVIS's equal to the same weights as safetensors; damaged or hostile ones refused.

use std::fs;
use std::path::Path;

use blip2_core::weights::{PytorchStore, SafetensorsStore, TensorStore, WeightError};
use blip2_golden::{Check, each, find, fixture, variants};

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
