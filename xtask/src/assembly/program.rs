//! The functions of a built program: their names, as its table of symbols has them, and their instructions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use iced_x86::{Decoder, DecoderOptions, Instruction};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// A function of a program.
pub(super) struct Function {
    /// Its path, such as `blip2_kernels::flex::bf16::pairs::block`.
    pub(super) name: String,
    /// In the order of their addresses.
    pub(super) instructions: Vec<Instruction>,
}

/// The functions of the x86-64 program in `file`, by their addresses.
///
/// # Errors
/// The file cannot be read or is no ELF of 64 bits.
pub(super) fn functions(file: &Path) -> Result<BTreeMap<u64, Function>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let elf: ElfFile64 =
        ElfFile64::parse(&*bytes).with_context(|| format!("{} is no program", file.display()))?;
    let mut functions = BTreeMap::new();
    for symbol in elf.symbols() {
        let Some(section) = symbol.section_index() else {
            continue;
        };
        if symbol.kind() != SymbolKind::Text || symbol.size() == 0 {
            continue;
        }
        let unreadable = || format!("{}: the code of a symbol is not in the file", file.display());
        let code = elf
            .section_by_index(section)?
            .data_range(symbol.address(), symbol.size())?
            .with_context(unreadable)?;
        let decoder = Decoder::with_ip(64, code, symbol.address(), DecoderOptions::NONE);
        let function = Function {
            name: format!("{:#}", rustc_demangle::demangle(symbol.name()?)),
            instructions: decoder.into_iter().collect(),
        };
        functions.insert(symbol.address(), function);
    }
    Ok(functions)
}
