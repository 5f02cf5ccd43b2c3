//! The flow of control in a function: its blocks, what follows each, and its innermost loops.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use iced_x86::{FlowControl, Instruction};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::NodeFiltered;
use petgraph::{Incoming, Outgoing};

/// A function as blocks of instructions that run one after the other. Instructions are named by their places in the list.
pub(super) struct Flow {
    /// The places that each block holds, with an edge for each way from one block to another.
    graph: DiGraph<Range<usize>, ()>,
    /// The block of each place.
    blocks: Vec<NodeIndex>,
}

/// A loop that has no loop inside.
pub(super) struct Loop {
    /// The first place of each turn.
    pub(super) head: usize,
    /// All places. What leaves the loop for good, such as a panic, is no part of it, wherever the compiler has put it.
    pub(super) places: BTreeSet<usize>,
}

impl Flow {
    /// The flow of a whole function.
    pub(super) fn of(code: &[Instruction]) -> Self {
        let places: BTreeMap<u64, usize> = code
            .iter()
            .enumerate()
            .map(|(place, instruction)| (instruction.ip(), place))
            .collect();
        let target = |instruction: &Instruction| match instruction.flow_control() {
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                places.get(&instruction.near_branch_target()).copied()
            }
            _ => None,
        };
        let mut bounds = BTreeSet::from([0, code.len()]);
        for (place, instruction) in code.iter().enumerate() {
            bounds.extend(target(instruction));
            if ends_block(instruction) {
                bounds.insert(place + 1);
            }
        }
        let bounds: Vec<usize> = bounds.into_iter().collect();
        let mut graph = DiGraph::new();
        let mut blocks = Vec::with_capacity(code.len());
        for bounds in bounds.windows(2) {
            let block = graph.add_node(bounds[0]..bounds[1]);
            blocks.resize(bounds[1], block);
        }
        for block in graph.node_indices() {
            let end = graph[block].end;
            let last = &code[end - 1];
            let next = continues(last).then_some(end);
            for place in target(last).into_iter().chain(next) {
                if let Some(&follower) = blocks.get(place) {
                    graph.update_edge(block, follower, ());
                }
            }
        }
        let mut flow = Self { graph, blocks };
        flow.link_tables(code);
        flow
    }

    /// A jump through a table leads to the blocks that nothing else leads to.
    fn link_tables(&mut self, code: &[Instruction]) {
        let graph = &mut self.graph;
        let orphans: Vec<NodeIndex> = graph
            .externals(Incoming)
            .filter(|block| block.index() > 0)
            .collect();
        let jumps: Vec<NodeIndex> = graph
            .externals(Outgoing)
            .filter(|block| code[graph[*block].end - 1].flow_control() == FlowControl::IndirectBranch)
            .collect();
        for jump in jumps {
            for orphan in &orphans {
                graph.update_edge(jump, *orphan, ());
            }
        }
    }

    /// The places of each block.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        self.graph.node_weights().cloned()
    }

    /// The places from which a place is reached.
    pub(super) fn before(&self, place: usize) -> Vec<usize> {
        let block = self.blocks[place];
        if place > self.graph[block].start {
            return vec![place - 1];
        }
        let former = self.graph.neighbors_directed(block, Incoming);
        former.map(|block| self.graph[block].end - 1).collect()
    }

    /// All loops that have no loop inside.
    pub(super) fn innermost_loops(&self) -> Vec<Loop> {
        let mut found = Vec::new();
        self.search(&self.graph.node_indices().collect(), &mut found);
        found
    }

    /// Adds the innermost loops among `blocks` to those found, and tells whether there is any.
    fn search(&self, blocks: &BTreeSet<NodeIndex>, found: &mut Vec<Loop>) -> bool {
        let part = NodeFiltered::from_fn(&self.graph, |block| blocks.contains(&block));
        let mut any = false;
        for cycle in tarjan_scc(&part) {
            if cycle.len() == 1 && !self.graph.contains_edge(cycle[0], cycle[0]) {
                continue;
            }
            any = true;
            let mut cycle: BTreeSet<NodeIndex> = cycle.into_iter().collect();
            let head = self.head(&cycle);
            let places = cycle
                .iter()
                .flat_map(|block| self.graph[*block].clone())
                .collect();
            // Without its head, what still goes round is a loop inside.
            cycle.remove(&head);
            if !self.search(&cycle, found) {
                let head = self.graph[head].start;
                found.push(Loop { head, places });
            }
        }
        any
    }

    /// The block through which a cycle is entered.
    fn head(&self, cycle: &BTreeSet<NodeIndex>) -> NodeIndex {
        let entered = |block: &&NodeIndex| {
            let mut former = self.graph.neighbors_directed(**block, Incoming);
            former.any(|former| !cycle.contains(&former))
        };
        let head = cycle.iter().find(entered).or(cycle.first());
        *head.expect("a cycle has a block")
    }
}

fn ends_block(instruction: &Instruction) -> bool {
    !matches!(
        instruction.flow_control(),
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
    )
}

/// Whether the next instruction in the list may follow.
fn continues(instruction: &Instruction) -> bool {
    !matches!(
        instruction.flow_control(),
        FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::Exception
    )
}
