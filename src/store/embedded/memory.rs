//! Memory for a database that is gone with the process: as much as has been written, and no more.
//!
//! redb doubles the length of what it writes to, and rounds what it keeps up to powers of two: a form of a little more than a mebibyte
//! takes two. Here a block of nothing but zeros takes no memory.

use parking_lot::RwLock;
use redb::StorageBackend;
use std::fmt;
use std::io::{Error, ErrorKind, Result};

const BLOCK: usize = 16 * 1_024;

/// Blocks of memory; those that were never written, or with zeros only, are not there.
#[derive(Default)]
pub(super) struct Memory(RwLock<Blocks>);

#[derive(Default)]
struct Blocks {
    length: u64,
    blocks: Vec<Option<Box<[u8; BLOCK]>>>,
}

/// It would print every byte otherwise.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> Result<u64> {
        Ok(self.0.read().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let blocks = self.0.read();
        let mut at = blocks.within(offset, out.len())?;
        let mut rest = out;
        while !rest.is_empty() {
            let (number, from) = (at / BLOCK, at % BLOCK);
            let (part, later) = rest.split_at_mut(rest.len().min(BLOCK - from));
            let block = blocks.blocks.get(number).and_then(Option::as_deref);
            match block.and_then(|block| block.get(from..from + part.len())) {
                Some(there) => part.copy_from_slice(there),
                None => part.fill(0),
            }
            at += part.len();
            rest = later;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<()> {
        let mut blocks = self.0.write();
        let length_here = usize::try_from(length).map_err(|_| out_of_range())?;
        blocks.blocks.resize_with(length_here.div_ceil(BLOCK), || None);
        // What lies behind the end must be zeros if it is ever within again.
        if let Some(cut) = blocks.blocks.last_mut().and_then(Option::as_mut).filter(|_| length_here % BLOCK != 0) {
            cut.iter_mut().skip(length_here % BLOCK).for_each(|byte| *byte = 0);
        }
        blocks.length = length;
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut blocks = self.0.write();
        let mut at = blocks.within(offset, data.len())?;
        let mut rest = data;
        while !rest.is_empty() {
            let (number, from) = (at / BLOCK, at % BLOCK);
            let (part, later) = rest.split_at(rest.len().min(BLOCK - from));
            blocks.put(number, from, part);
            at += part.len();
            rest = later;
        }
        Ok(())
    }
}

impl Blocks {
    /// Where so many bytes begin, if they are all there.
    fn within(&self, offset: u64, length: usize) -> Result<usize> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.length).ok_or_else(out_of_range)?;
        usize::try_from(end).map(|end| end - length).map_err(|_| out_of_range())
    }

    fn put(&mut self, number: usize, from: usize, part: &[u8]) {
        let Some(place) = self.blocks.get_mut(number) else { return };
        let is_nothing = part.iter().all(|byte| *byte == 0);
        if is_nothing && (place.is_none() || part.len() == BLOCK) {
            *place = None;
            return;
        }
        let block = place.get_or_insert_with(|| Box::new([0; BLOCK]));
        if let Some(there) = block.get_mut(from..from + part.len()) {
            there.copy_from_slice(part);
        }
    }
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::InvalidInput, "beyond the end of the memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_and_all_else_is_zeros(
            writes in prop::collection::vec((0..200_000_u64, 0..40_000_usize, any::<u8>()), 0..12),
        ) {
            const LENGTH: usize = 150_001;
            let (memory, mut model) = (Memory::default(), vec![0; LENGTH]);
            memory.set_len(LENGTH as u64).expect("a length");
            for (offset, length, byte) in writes {
                let data = vec![byte; length];
                let fits = offset as usize + length <= LENGTH;
                prop_assert_eq!(memory.write(offset, &data).is_ok(), fits);
                if fits {
                    model[offset as usize..][..length].copy_from_slice(&data);
                }
            }
            let mut read = vec![1; LENGTH];
            memory.read(0, &mut read).expect("all of it");
            prop_assert!(read == model);
            prop_assert!(memory.read(1, &mut read).is_err());
        }
    }

    #[test]
    fn what_holds_nothing_takes_nothing() {
        let memory = Memory::default();
        memory.set_len(1 << 33).expect("a length");
        memory.write(1 << 30, &vec![0; 10 * BLOCK]).expect("written");
        memory.write((1 << 30) + 5, b"hallo").expect("written");
        let taken = || memory.0.read().blocks.iter().flatten().count();
        assert_eq!(taken(), 1);
        memory.write(1 << 30, &[0; BLOCK]).expect("written");
        assert_eq!(taken(), 0);
    }

    #[test]
    fn what_was_cut_off_is_gone() {
        let memory = Memory::default();
        memory.set_len(3 * BLOCK as u64).expect("a length");
        memory.write(0, &vec![7; 3 * BLOCK]).expect("written");
        memory.set_len(BLOCK as u64 / 2).expect("a length");
        memory.set_len(3 * BLOCK as u64).expect("a length");
        let mut read = vec![1; 3 * BLOCK];
        memory.read(0, &mut read).expect("all of it");
        assert!(read[..BLOCK / 2].iter().all(|byte| *byte == 7) && read[BLOCK / 2..].iter().all(|byte| *byte == 0));
    }
}
