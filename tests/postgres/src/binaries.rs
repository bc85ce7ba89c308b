//! The folder of the server's binaries.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use left_out::Missing;

/// Names a folder to use instead of the system's.
const SETTING: &str = "GUEST_SUITE_POSTGRES";
const NEEDED: [&str; 3] = ["initdb", "postgres", "psql"];
/// Debian's packages have a folder for each version below this one.
const DEBIAN: &str = "/usr/lib/postgresql";
const POSTGRES: Missing = Missing {
    program: "postgresql",
    install: "apt-get install postgresql",
};

/// The folder of the named binaries, of those on `PATH`, or of the newest package.
pub(crate) fn find() -> Result<PathBuf, Missing> {
    if let Some(named) = env::var_os(SETTING) {
        let folder = PathBuf::from(&named);
        assert!(
            has_all(&folder),
            "invalid {SETTING}: {named:?} has not all of {NEEDED:?}: name the `bin` folder of a PostgreSQL server"
        );
        return Ok(folder);
    }
    on_path().or_else(|| newest(Path::new(DEBIAN))).ok_or(POSTGRES)
}

fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find_map(|folder| {
        // a link leads to the folder of the others
        let server = folder.join("postgres").canonicalize().ok()?;
        let folder = server.parent()?;
        has_all(folder).then(|| folder.to_owned())
    })
}

fn newest(versions: &Path) -> Option<PathBuf> {
    fs::read_dir(versions)
        .ok()?
        .flatten()
        .filter(|version| has_all(&version.path().join("bin")))
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version)))
        .max_by_key(|(number, _)| *number)
        .map(|(_, version)| version.path().join("bin"))
}

fn has_all(folder: &Path) -> bool {
    NEEDED.iter().all(|program| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_is_the_highest_number_with_all_binaries() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path()), None);
        for (version, programs) in [
            ("9", &NEEDED[..]),
            ("15", &NEEDED),
            ("18", &["psql"]),
            ("other", &NEEDED),
        ] {
            let bin = folder.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for program in programs {
                fs::write(bin.join(program), "").unwrap();
            }
        }
        assert_eq!(newest(folder.path()), Some(folder.path().join("15/bin")));
    }
}
