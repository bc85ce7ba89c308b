//! Resources of the system: open files, the size of files, and the space of a disk.

use std::io;
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::statvfs::statvfs;

/// Files that are open beside those of the connections. Our choice.
pub(crate) const OTHER_FILES: u64 = 256;

/// Open files that a gateway with this many connections needs: a guest has a socket here and one at Genesys.
pub(crate) fn needed_files(connections: u32) -> u64 {
    u64::from(connections) * 2 + OTHER_FILES
}

/// The largest number of connections for which so many files suffice.
pub(crate) fn connections_within(files: u64) -> u32 {
    u32::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(u32::MAX)
}

/// The present and the largest number of open files of this process.
pub(crate) fn open_files() -> io::Result<(u64, u64)> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?)
}

/// Raises the number of open files to the largest one, and returns it. Shells set a low one for programs that use `select`.
pub(crate) fn raise_open_files() -> io::Result<u64> {
    let (present, largest) = open_files()?;
    if present < largest {
        setrlimit(Resource::RLIMIT_NOFILE, largest, largest)?;
    }
    Ok(largest)
}

/// The largest size of a file in bytes, if there is one.
pub(crate) fn file_size() -> io::Result<Option<u64>> {
    let (present, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    Ok((present != RLIM_INFINITY).then_some(present))
}

/// The free bytes of the file system of a folder.
pub(crate) fn free_space(folder: &Path) -> io::Result<u64> {
    let found = statvfs(folder)?;
    // the types differ by the system
    let (blocks, size) = (found.blocks_available(), found.fragment_size());
    Ok(blocks.saturating_mul(size))
}
