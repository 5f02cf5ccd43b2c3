//! A `.pth` is a program in a language of its own. It is parsed, and nothing of it is ever run.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use blip2_core::weights::{PytorchStore, TensorStore};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::chain;
use crate::meter::frugal;

/// A pickled text with a length of four bytes.
fn text(text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [b"X", &length[..], text.as_bytes()].concat()
}

/// Pickles that run `command` in each way that the language has.
fn programs(command: &str) -> Vec<(&'static str, Vec<u8>)> {
    let argument = text(command);
    let python = text(&format!("import os; os.system('{command}')"));
    vec![
        (
            "a function by its name",
            [b"\x80\x02cposix\nsystem\n", &argument[..], b"\x85R."].concat(),
        ),
        (
            "a function from the stack",
            [
                b"\x80\x04",
                &text("os")[..],
                &text("system"),
                b"\x93",
                &argument,
                b"\x85R.",
            ]
            .concat(),
        ),
        (
            "code as text",
            [b"\x80\x02cbuiltins\nexec\n", &python[..], b"\x85R."].concat(),
        ),
        (
            "an instance with arguments",
            [b"(", &argument[..], b"iposix\nsystem\n."].concat(),
        ),
        (
            "an object with arguments",
            [b"(cposix\nsystem\n", &argument[..], b"o."].concat(),
        ),
        (
            "a new object",
            [b"\x80\x02csubprocess\nPopen\n", &argument[..], b"\x85\x81."].concat(),
        ),
        (
            "a state that is set",
            [b"\x80\x02cos\nsystem\n)R}", &text("run")[..], &argument, b"sb."].concat(),
        ),
        (
            "a function that unpickles more",
            [b"\x80\x02c_pickle\nloads\n", &argument[..], b"\x85R."].concat(),
        ),
        (
            "a class out of the reader's own list, abused",
            [
                b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n",
                &argument[..],
                b"\x85R.",
            ]
            .concat(),
        ),
    ]
}

/// `pickle` as the only value of a dictionary under the key that LAVIS uses.
fn under_model(pickle: &[u8]) -> Vec<u8> {
    let program = pickle.strip_suffix(b".").expect("an end");
    let program = match program.strip_prefix(b"\x80") {
        Some(rest) => &rest[1..],
        None => program,
    };
    [b"\x80\x04}", &text("model")[..], program, b"s."].concat()
}

/// A file as `torch.save` writes it, with `pickle` in the place of its content.
fn archive(path: &Path, pickle: &[u8], method: CompressionMethod) {
    let mut zip = ZipWriter::new(File::create(path).expect("a file"));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in [
        ("archive/data.pkl", pickle),
        ("archive/version", b"3\n"),
        ("archive/byteorder", b"little"),
    ] {
        zip.start_file(name, options).expect("an entry");
        zip.write_all(content).expect("content");
    }
    zip.finish().expect("an archive");
}

fn read_all(path: &Path) -> Result<(), blip2_core::weights::WeightError> {
    let store = PytorchStore::open(path)?;
    for name in store.tensors().keys() {
        store.read(name)?;
    }
    Ok(())
}

#[test]
fn a_pickle_that_runs_a_command_runs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("mark");
    let path = folder.path().join("hostile.pth");
    for (way, program) in programs(&format!("touch {}", mark.display())) {
        for pickle in [under_model(&program), program] {
            let attempts: [&dyn Fn(); 2] = [&|| fs::write(&path, &pickle).expect("writing"), &|| {
                archive(&path, &pickle, CompressionMethod::Stored)
            }];
            for attempt in attempts {
                attempt();
                let error = frugal(way, || read_all(&path)).expect_err(way);
                assert!(chain(&error).contains("hostile.pth"), "{way}: {}", chain(&error));
                assert!(!mark.exists(), "{way} was run");
            }
        }
    }
}

#[test]
fn lengths_and_depths_beyond_all_bounds_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vast.pth");
    let deep = |count: usize| [b"\x80\x02", &b"(".repeat(count)[..], &b"l".repeat(count), b"."].concat();
    let long = |code: &[u8], length: &[u8]| [b"\x80\x04", code, length, b"abc."].concat();
    for (what, pickle) in [
        ("a text of 16 EB", long(b"\x8d", &(1u64 << 60).to_le_bytes())),
        ("a text of 4 GB", long(b"X", &u32::MAX.to_le_bytes())),
        ("bytes of 16 EB", long(b"\x8e", &(1u64 << 60).to_le_bytes())),
        ("a number of 2 GB", long(b"\x8b", &i32::MAX.to_le_bytes())),
        ("a frame of 16 EB", long(b"\x95", &(1u64 << 60).to_le_bytes())),
        ("a memo of 4 G entries", long(b"Nr", &u32::MAX.to_le_bytes())),
        ("lists within lists", deep(100_000)),
        ("nothing on the stack", b"\x80\x02R.".to_vec()),
        ("no end", b"\x80\x02}".to_vec()),
        ("nothing at all", Vec::new()),
    ] {
        fs::write(&path, &pickle).expect("writing");
        let error = frugal(what, || read_all(&path)).expect_err(what);
        assert!(chain(&error).contains("vast.pth"), "{what}: {}", chain(&error));
        archive(&path, &pickle, CompressionMethod::Stored);
        let error = frugal(what, || read_all(&path)).expect_err(what);
        assert!(chain(&error).contains("vast.pth"), "{what}: {}", chain(&error));
    }
}

/// A thousandfold of its size once unpacked.
#[test]
fn an_archive_that_swells_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("swelling.pth");
    archive(&path, &vec![b'('; 256 << 20], CompressionMethod::Deflated);
    let error = frugal("a swelling archive", || read_all(&path)).expect_err("too much");
    assert!(chain(&error).contains("swelling.pth"), "{}", chain(&error));
}
