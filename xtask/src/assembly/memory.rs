//! Sums that a loop keeps in memory: stored in one turn, loaded in the next.

use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, OpKind, Register, UsedMemory};
use std::collections::BTreeSet;

use super::flow::{Flow, Loop};
use super::stack::{Registers, is_written, stack_addresses};

/// Where an instruction moves a vector to or from.
struct Access {
    place: usize,
    /// Base, index, scale.
    registers: (Register, Register, u32),
    /// Bytes from there.
    first: i64,
    count: i64,
}

impl Access {
    fn of(place: usize, memory: &UsedMemory) -> Self {
        Self {
            place,
            registers: (memory.base(), memory.index(), memory.scale()),
            first: memory.displacement().cast_signed(),
            count: i64::try_from(memory.memory_size().size()).unwrap_or(0),
        }
    }

    /// Whether both are of a common byte, as long as the registers are what they are.
    fn meets(&self, other: &Self) -> bool {
        self.registers == other.registers
            && self.first < other.first + other.count
            && other.first < self.first + self.count
    }

    fn is_at(&self, registers: Registers) -> bool {
        registers.contains(self.registers.0) || registers.contains(self.registers.1)
    }
}

/// The places in a loop that store a sum: a vector of which the next turn begins with a load. Either the address is the same
/// in each turn, or it moves through an array of sums on the stack. A vector that is stored and loaded within a turn is no
/// sum, and what moves through memory of others is their result.
pub(super) fn stored_sums(flow: &Flow, code: &[Instruction], turn: &Loop) -> Vec<usize> {
    let mut factory = InstructionInfoFactory::new();
    let (mut stores, mut loads) = (Vec::new(), Vec::new());
    let mut moving = Registers::default();
    for &place in &turn.places {
        let instruction = &code[place];
        let info = factory.info(instruction);
        for used in info.used_registers().iter().filter(|used| is_written(used)) {
            // Calls and returns put it back.
            if used.register() != Register::RSP {
                moving.insert(used.register());
            }
        }
        for memory in info.used_memory().iter().filter(|_| has_vector(instruction)) {
            match memory.access() {
                OpAccess::Write | OpAccess::CondWrite => stores.push(Access::of(place, memory)),
                OpAccess::Read | OpAccess::CondRead => loads.push(Access::of(place, memory)),
                _ => {}
            }
        }
    }
    let stack = stack_addresses(flow, code);
    let is_sum = |store: &&Access| {
        (!store.is_at(moving) || store.is_at(stack[store.place]))
            && loads
                .iter()
                .any(|load| load.meets(store) && is_carried(flow, turn, load, &stores))
    };
    stores.iter().filter(is_sum).map(|store| store.place).collect()
}

/// Whether a turn may reach the load without a store to the same address, so that it gets what a former turn has stored.
fn is_carried(flow: &Flow, turn: &Loop, load: &Access, stores: &[Access]) -> bool {
    let stored = |place: usize| {
        stores
            .iter()
            .any(|store| store.place == place && store.meets(load))
    };
    let mut seen = BTreeSet::new();
    let mut open = vec![load.place];
    while let Some(place) = open.pop() {
        if place == turn.head {
            return true;
        }
        for former in flow.before(place) {
            if turn.places.contains(&former) && !stored(former) && seen.insert(former) {
                open.push(former);
            }
        }
    }
    false
}

fn has_vector(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| {
        instruction.op_kind(operand) == OpKind::Register
            && instruction.op_register(operand).is_vector_register()
    })
}
