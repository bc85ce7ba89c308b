//! A disk that loses unsynced sectors at a crash, and fails on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::effort::Random;
use crate::files::disk::Disk;

const SECTOR: usize = 512;

/// A handle on a disk in memory, which outlives the log on it.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<String, Segment>,
    opened: String,
    operations: u64,
    fault: Option<Fault>,
    /// Set by a fault that ends the process: nothing works afterwards.
    is_down: bool,
    is_sync_failed: bool,
}

/// The operation that fails, counted from the first after [`FaultyDisk::fail`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) at: u64,
    pub(super) kind: FaultKind,
    /// Bytes that a failing write writes all the same.
    pub(super) written: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FaultKind {
    /// The operation fails once.
    Error,
    /// The process ends.
    Crash,
}

/// A file with two contents.
#[derive(Clone, Debug, Default)]
struct Segment {
    /// The content that the process reads.
    cached: Vec<u8>,
    /// The content on the disk.
    stored: Vec<u8>,
    /// Sectors of the cache that are yet to be written. A failed sync forgets them, as Linux does.
    unsynced: BTreeSet<usize>,
    /// Whether the name is on the disk.
    is_named: bool,
}

impl FaultyDisk {
    /// Lets an operation fail.
    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        state.operations = 0;
        state.fault = Some(fault);
    }

    /// Whether the fault has happened.
    pub(super) fn has_failed(&self) -> bool {
        self.state().fault.is_none()
    }

    pub(super) fn has_failed_to_sync(&self) -> bool {
        self.state().is_sync_failed
    }

    pub(super) fn forget_failed_sync(&self) {
        self.state().is_sync_failed = false;
    }

    /// A disk with all that the process has written: the image after `kill -9`.
    pub(super) fn after_kill(&self) -> Self {
        let mut state = self.state().clone();
        (state.is_down, state.fault, state.is_sync_failed) = (false, None, false);
        Self(Arc::new(Mutex::new(state)))
    }

    /// A disk with a random part of what was not synced: an image after the power was lost.
    pub(super) fn after_power_loss(&self, random: &mut Random) -> Self {
        let mut files = BTreeMap::new();
        // half of the images lose all or nothing, which random sectors rarely do
        let keep = match random.below(4) {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        for (name, segment) in &self.state().files {
            if !segment.is_named && !keep.unwrap_or(random.below(2) == 0) {
                continue;
            }
            let mut image = segment.clone();
            if keep.unwrap_or(random.below(2) == 0) {
                image.stored.resize(image.cached.len(), 0);
            }
            for sector in &segment.unsynced {
                if keep.unwrap_or(random.below(2) == 0) {
                    image.store(*sector);
                }
            }
            let bytes = image.stored;
            files.insert(name.clone(), Segment::durable(bytes));
        }
        Self(Arc::new(Mutex::new(State {
            files,
            ..State::default()
        })))
    }

    /// The last segment.
    pub(super) fn last(&self) -> Vec<u8> {
        self.state().files.values().next_back().unwrap().cached.clone()
    }

    /// A copy with another last segment.
    pub(super) fn with_last(&self, bytes: Vec<u8>) -> Self {
        let mut state = self.state().clone();
        *state.files.values_mut().next_back().unwrap() = Segment::durable(bytes);
        Self(Arc::new(Mutex::new(state)))
    }

    /// A copy without the segment at this place.
    pub(super) fn without(&self, index: usize) -> Self {
        let mut state = self.state().clone();
        let name = state.files.keys().nth(index).unwrap().clone();
        state.files.remove(&name);
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn segment_count(&self) -> usize {
        self.state().files.len()
    }

    /// The lines of all segments.
    pub(super) fn lines(&self) -> Vec<Vec<u8>> {
        let state = self.state();
        let written = state.files.values().flat_map(|file| {
            let lines = file.cached.split_inclusive(|byte| *byte == b'\n');
            lines.filter(|line| line.ends_with(b"\n")).map(<[u8]>::to_vec)
        });
        written.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation. Returns the number of bytes that it writes although it fails.
    fn begin(&self) -> Result<MutexGuard<'_, State>, (MutexGuard<'_, State>, usize)> {
        let mut state = self.state();
        let number = state.operations;
        state.operations += 1;
        if state.is_down {
            return Err((state, 0));
        }
        match state.fault {
            Some(fault) if fault.at == number => {
                state.fault = None;
                state.is_down = fault.kind == FaultKind::Crash;
                Err((state, fault.written))
            }
            _ => Ok(state),
        }
    }
}

impl State {
    fn opened(&mut self) -> &mut Segment {
        self.files.get_mut(&self.opened).unwrap()
    }
}

impl Segment {
    fn durable(bytes: Vec<u8>) -> Self {
        Self {
            cached: bytes.clone(),
            stored: bytes,
            unsynced: BTreeSet::new(),
            is_named: true,
        }
    }

    /// Writes a sector to the disk, as far as the file reaches there.
    fn store(&mut self, sector: usize) {
        let end = ((sector + 1) * SECTOR)
            .min(self.cached.len())
            .min(self.stored.len());
        let range = (sector * SECTOR).min(end)..end;
        self.stored[range.clone()].copy_from_slice(&self.cached[range]);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[at..end].copy_from_slice(bytes);
        self.unsynced.extend(at / SECTOR..end.div_ceil(SECTOR));
    }
}

fn broken() -> io::Error {
    io::Error::other("injected")
}

impl Disk for FaultyDisk {
    fn segments(&self) -> io::Result<Vec<String>> {
        let state = self.begin().map_err(|_| broken())?;
        Ok(state.files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.begin().map_err(|_| broken())?;
        Ok(state.files[name].cached.clone())
    }

    fn open(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.begin().map_err(|_| broken())?;
        name.clone_into(&mut state.opened);
        state.files.entry(name.to_owned()).or_default();
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = at as usize;
        match self.begin() {
            Ok(mut state) => {
                state.opened().write(at, bytes);
                Ok(())
            }
            Err((mut state, written)) => {
                if written > 0 {
                    let segment = state.opened();
                    segment.write(at, &bytes[..written.min(bytes.len())]);
                    // the kernel may write it before anything else happens
                    let length = segment.stored.len().max(segment.cached.len());
                    segment.stored.resize(length, 0);
                    let unsynced: Vec<_> = segment.unsynced.iter().copied().collect();
                    unsynced.into_iter().for_each(|sector| segment.store(sector));
                }
                Err(broken())
            }
        }
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.begin().map_err(|_| broken())?;
        let segment = state.opened();
        segment.cached.resize(length as usize, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut state, is_ok) = match self.begin() {
            Ok(state) => (state, true),
            Err((state, _)) => (state, false),
        };
        if state.is_down {
            return Err(broken());
        }
        let segment = state.opened();
        // after a failure the kernel shows the bytes, has not written them, and will not write them later
        let unsynced = std::mem::take(&mut segment.unsynced);
        if is_ok {
            segment.stored.resize(segment.cached.len(), 0);
            unsynced.into_iter().for_each(|sector| segment.store(sector));
            return Ok(());
        }
        state.is_sync_failed = true;
        Err(broken())
    }

    fn sync_new(&mut self) -> io::Result<()> {
        self.sync()?;
        let mut state = match self.begin() {
            Ok(state) => state,
            Err((mut state, _)) => {
                state.is_sync_failed = true;
                return Err(broken());
            }
        };
        let opened = state.opened.clone();
        for (name, segment) in &mut state.files {
            segment.is_named |= *name <= opened;
        }
        Ok(())
    }
}
