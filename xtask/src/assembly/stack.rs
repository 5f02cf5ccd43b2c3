//! Which registers hold an address of the stack, wherever in a function one looks.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register, UsedRegister};

use super::flow::Flow;

/// A set of general registers.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Registers(u16);

impl Registers {
    pub(super) fn contains(self, register: Register) -> bool {
        self.0 & bit(register) != 0
    }

    pub(super) fn insert(&mut self, register: Register) {
        self.0 |= bit(register);
    }

    fn remove(&mut self, register: Register) {
        self.0 &= !bit(register);
    }
}

fn bit(register: Register) -> u16 {
    match register.is_gpr() {
        true => 1 << register.full_register().number(),
        false => 0,
    }
}

/// Whether an instruction writes to the register.
pub(super) fn is_written(used: &UsedRegister) -> bool {
    use iced_x86::OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
    matches!(used.access(), Write | CondWrite | ReadWrite | ReadCondWrite)
}

/// For each instruction the registers that may hold an address of the stack before it.
pub(super) fn stack_addresses(flow: &Flow, code: &[Instruction]) -> Vec<Registers> {
    let mut start = Registers::default();
    start.insert(Register::RSP);
    let mut factory = InstructionInfoFactory::new();
    let mut before = vec![start; code.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for block in flow.blocks() {
            let mut held = start;
            for last in flow.before(block.start) {
                held.0 |= after(before[last], &code[last], &mut factory).0;
            }
            for place in block {
                changed |= before[place] != held;
                before[place] = held;
                held = after(held, &code[place], &mut factory);
            }
        }
    }
    before
}

/// Copies of an address and what is computed from it are addresses too; whatever else is written is none.
fn after(mut held: Registers, instruction: &Instruction, factory: &mut InstructionInfoFactory) -> Registers {
    let second = instruction.op1_kind() == OpKind::Register && held.contains(instruction.op1_register());
    let address = match instruction.mnemonic() {
        Mnemonic::Lea => {
            held.contains(instruction.memory_base()) || held.contains(instruction.memory_index())
        }
        Mnemonic::Mov => second,
        Mnemonic::Add | Mnemonic::Sub | Mnemonic::And | Mnemonic::Inc | Mnemonic::Dec => {
            second || held.contains(instruction.op0_register())
        }
        _ => false,
    };
    let used = factory.info(instruction).used_registers().iter();
    for used in used.filter(|used| is_written(used)) {
        match used.register().full_register() {
            Register::RSP => {}
            register if address => held.insert(register),
            register => held.remove(register),
        }
    }
    held
}
