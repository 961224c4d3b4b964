//! Seconds of a run that goes on, on disk: memory stays the same however long it runs, and a run that is killed leaves
//! what it measured. One JSON object a line, each a [`Slice`]. Judges nothing, and never loses a second silently.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::path::Path;

use crate::recording::Slice;

/// A file of seconds.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    seconds: u64,
}

impl Spool {
    /// Begins one; a file of this name is begun anew.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(super) fn create(path: &Path) -> std::io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Self { file, seconds: 0 })
    }

    /// Adds a second.
    ///
    /// # Errors
    /// When it cannot be written whole; what was written before is read back all the same.
    pub(super) fn add(&mut self, slice: &Slice) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(slice)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.seconds += 1;
        Ok(())
    }

    /// Reads all seconds back, in order, and how many of them could not be.
    pub(super) fn take(mut self) -> (Vec<Slice>, u64) {
        let slices = self.read().unwrap_or_default();
        let lost = self.seconds.saturating_sub(slices.len() as u64);
        (slices, lost)
    }

    fn read(&mut self) -> std::io::Result<Vec<Slice>> {
        self.file.rewind()?;
        let whole = usize::try_from(self.seconds).unwrap_or(usize::MAX);
        let lines = BufReader::new(&self.file).lines().take(whole);
        // From a line that is damaged on, nothing is believed.
        let slices = lines.map_while(|line| serde_json::from_str(&line.ok()?).ok());
        Ok(slices.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(path: &Path, seconds: u64) -> Spool {
        let mut spool = Spool::create(path).expect("it can be created");
        for second in 0..seconds {
            let slice = Slice {
                second,
                ..Slice::default()
            };
            spool.add(&slice).expect("it can be written");
        }
        spool
    }

    fn seconds((slices, lost): (Vec<Slice>, u64)) -> (Vec<u64>, u64) {
        (slices.iter().map(|slice| slice.second).collect(), lost)
    }

    #[test]
    fn seconds_come_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let spool = spooled(&dir.path().join("seconds.jsonl"), 3);
        assert_eq!(seconds(spool.take()), (vec![0, 1, 2], 0));
    }

    #[test]
    fn seconds_that_somebody_damaged_are_counted_as_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seconds.jsonl");
        let spool = spooled(&path, 3);
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        std::fs::write(&path, format!("{first}\n{{\n{first}\n")).unwrap();
        assert_eq!(seconds(spool.take()), (vec![0], 2));
    }

    #[test]
    fn half_a_second_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = spooled(&dir.path().join("seconds.jsonl"), 2);
        spool.file.write_all(b"{\"second\":2").unwrap();
        assert_eq!(seconds(spool.take()), (vec![0, 1], 0));
    }
}
