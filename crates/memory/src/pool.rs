//! Large blocks out of regions of a gigabyte: a request gets the smallest free block that holds it, and free neighbours become
//! one block. Tensors of many sizes that come and go leave little between them this way.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use memmap2::MmapMut;

/// Sizes and places of blocks are multiples of it; no block needs to be aligned to more.
pub(crate) const PAGE: usize = 4096;

/// What is asked of the system at a time. A page of it takes no memory before it is written.
const REGION: usize = 1 << 30;

/// Blocks that are free, and regions that all blocks lie in.
pub(crate) struct Pool(Mutex<Blocks>);

impl Pool {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Blocks {
            regions: Vec::new(),
            by_place: BTreeMap::new(),
            by_size: BTreeSet::new(),
        }))
    }

    /// A block of at least `size` bytes that begins with a page and holds whatever; null where the system has no more.
    pub(crate) fn take(&self, size: usize) -> *mut u8 {
        let size = size.next_multiple_of(PAGE);
        let mut blocks = self.blocks();
        let place = blocks.take(size).or_else(|| {
            blocks.grow(size.max(REGION))?;
            blocks.take(size)
        });
        place.map_or(null_mut(), std::ptr::with_exposed_provenance_mut)
    }

    /// Whether a block is one of this pool.
    pub(crate) fn owns(&self, block: *mut u8) -> bool {
        let regions = &self.blocks().regions;
        regions
            .iter()
            .any(|region| region.as_ptr_range().contains(&block.cast_const()))
    }

    /// Takes a block of `size` bytes back.
    pub(crate) fn give(&self, block: *mut u8, size: usize) {
        self.blocks().give(block.addr(), size.next_multiple_of(PAGE));
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Blocks {
    regions: Vec<MmapMut>,
    /// Size of each free block.
    by_place: BTreeMap<usize, usize>,
    /// Size and place of the same blocks.
    by_size: BTreeSet<(usize, usize)>,
}

impl Blocks {
    fn take(&mut self, size: usize) -> Option<usize> {
        let (found, place) = *self.by_size.range((size, 0)..).next()?;
        self.remove(place, found);
        if found > size {
            self.insert(place + size, found - size);
        }
        Some(place)
    }

    fn give(&mut self, mut place: usize, mut size: usize) {
        if let Some(next) = self.by_place.get(&(place + size)).copied() {
            self.remove(place + size, next);
            size += next;
        }
        if let Some((before, length)) = self.by_place.range(..place).next_back().map(|(a, b)| (*a, *b))
            && before + length == place
        {
            self.remove(before, length);
            (place, size) = (before, size + length);
        }
        self.insert(place, size);
    }

    fn grow(&mut self, size: usize) -> Option<()> {
        let mut region = MmapMut::map_anon(size).ok()?;
        // Fewer, larger pages: tensors are read from end to end. The system may decline.
        #[cfg(target_os = "linux")]
        let _ = region.advise(memmap2::Advice::HugePage);
        let place = region.as_mut_ptr().expose_provenance();
        self.regions.push(region);
        self.give(place, size);
        Some(())
    }

    fn insert(&mut self, place: usize, size: usize) {
        self.by_place.insert(place, size);
        self.by_size.insert((size, place));
    }

    fn remove(&mut self, place: usize, size: usize) {
        self.by_place.remove(&place);
        self.by_size.remove(&(size, place));
    }
}

#[cfg(test)]
mod tests {
    use super::{PAGE, Pool, REGION};

    #[test]
    fn the_smallest_block_that_holds_a_request_is_cut() {
        let pool = Pool::new();
        let [small, wall, large] = [3, 1, 8].map(|pages| pool.take(pages * PAGE));
        let end = pool.take(PAGE);
        assert_eq!(small.addr() + 3 * PAGE, wall.addr());
        pool.give(small, 3 * PAGE);
        pool.give(large, 8 * PAGE);
        assert_eq!(pool.take(2 * PAGE - 100), small);
        assert_eq!(pool.take(4 * PAGE), large);
        assert_eq!(pool.take(PAGE), small.wrapping_add(2 * PAGE));
        assert!(pool.owns(end) && !pool.owns(std::ptr::null_mut()));
    }

    #[test]
    fn neighbours_become_one() {
        let pool = Pool::new();
        let blocks: Vec<_> = (0..5).map(|_| pool.take(PAGE)).collect();
        for index in [1, 3, 2, 0, 4] {
            pool.give(blocks[index], PAGE);
        }
        assert_eq!(pool.take(REGION), blocks[0]);
        let other = pool.take(REGION + 1);
        assert!(pool.owns(other.wrapping_add(REGION)), "a region of its own");
    }

    /// Blocks of many sizes in use at the same time on several threads never overlap.
    #[test]
    fn nobody_writes_into_the_block_of_another() {
        let pool = &Pool::new();
        std::thread::scope(|scope| {
            for thread in 1..=4u8 {
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 1..400usize {
                        let size = (round * 7919 * usize::from(thread)) % (64 * PAGE) + 1;
                        let block = pool.take(size);
                        // SAFETY: the block is that large and nobody else's.
                        unsafe { block.write_bytes(thread, size) };
                        held.push((block, size));
                        if round % 3 == 0 {
                            let (block, size) = held.swap_remove(round % held.len());
                            // SAFETY: as above; it was written.
                            let bytes = unsafe { std::slice::from_raw_parts(block, size) };
                            assert!(bytes.iter().all(|byte| *byte == thread));
                            pool.give(block, size);
                        }
                    }
                });
            }
        });
    }
}
