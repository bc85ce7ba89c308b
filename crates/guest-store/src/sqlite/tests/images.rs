//! Files of a store after a loss of power, or with damage: 300 images in the test command, and as many times more as the
//! variable `STORE_EFFORT` sets. The variable `STORE_SEED` sets other ones.

use std::fs;

use super::*;
use crate::verify;

const SECTOR: usize = 512;
const UNITS: u64 = 40;

/// The files of a store under load.
struct Recording {
    folder: tempfile::TempDir,
    /// The database before the last checkpoint, and after it.
    database: [Vec<u8>; 2],
    /// The write-ahead log before the checkpoint.
    log: Vec<u8>,
    /// Its length after each unit. `None` of those that are in the database already.
    ends: Vec<usize>,
    /// The bytes of all entries.
    entries: Vec<Vec<u8>>,
}

impl Recording {
    async fn new(random: &mut fastrand::Rng) -> Self {
        // files in memory take no time to sync
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let path = folder.path().join("guest.db");
        let log = || fs::read(folder.path().join("guest.db-wal")).unwrap();
        let store = open(&path).unwrap();
        // the log starts anew after this transaction
        store.commit(webhook("x")).await.unwrap();
        let mut ends = Vec::new();
        for number in 1..=UNITS {
            let body = "x".repeat(random.usize(..4_000));
            store.commit(numbered(number, &body)).await.unwrap();
            ends.push(log().len());
        }
        let entries = store.entries(EntryQuery::From(0), 1_000).await.unwrap();
        let (before, log) = (fs::read(&path).unwrap(), log());
        drop(store);
        let database = [before, fs::read(&path).unwrap()];
        Self {
            folder,
            database,
            log,
            ends,
            entries: entries.into_iter().map(|entry| entry.bytes).collect(),
        }
    }

    /// An image after the power was lost while a unit was written. Returns the number of units before it.
    fn in_commit(&self, random: &mut fastrand::Rng) -> (Vec<u8>, Vec<u8>, u64) {
        let before = random.usize(1..self.ends.len());
        let (synced, end) = (self.ends[before - 1], self.ends[before]);
        let mut log = self.log[..end].to_vec();
        for sector in (synced / SECTOR..end.div_ceil(SECTOR)).map(|sector| sector * SECTOR) {
            let range = sector.max(synced)..(sector + SECTOR).min(end);
            match random.u8(..4) {
                0 => log[range].fill(0),
                1 => log[range].fill_with(|| random.u8(..)),
                _ => {}
            }
        }
        // the length of the file is lost too, or not
        if random.bool() {
            log.truncate(random.usize(synced..=end));
        }
        (self.database[0].clone(), log, before as u64)
    }

    /// An image after the power was lost while a checkpoint was made: each sector of the database is old or new.
    fn in_checkpoint(&self, random: &mut fastrand::Rng) -> (Vec<u8>, Vec<u8>, u64) {
        let [old, new] = &self.database;
        let length = random.usize(old.len()..=new.len());
        let mut database = old.clone();
        database.resize(length, 0);
        for (sector, written) in database.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
            if random.bool() {
                let length = sector.len().min(written.len());
                sector[..length].copy_from_slice(&written[..length]);
            }
        }
        (database, self.log.clone(), UNITS)
    }

    /// An image with damage in the database or the log.
    fn damaged(&self, random: &mut fastrand::Rng) -> (Vec<u8>, Vec<u8>) {
        let (mut database, mut log) = match random.bool() {
            true => (self.database[0].clone(), self.log.clone()),
            false => (self.database[1].clone(), Vec::new()),
        };
        let is_log = !log.is_empty() && random.bool();
        let bytes = if is_log { &mut log } else { &mut database };
        let at = random.usize(..bytes.len());
        let sector = at / SECTOR * SECTOR..(at / SECTOR * SECTOR + SECTOR).min(bytes.len());
        match random.u8(..4) {
            0 => bytes.truncate(at),
            1 => bytes[sector].fill(0),
            2 => bytes[sector].fill_with(|| random.u8(..)),
            _ => bytes[at] ^= 1 << random.u8(..8),
        }
        (database, log)
    }

    fn write(&self, database: &[u8], log: &[u8]) -> PathBuf {
        let path = self.folder.path().join("guest.db");
        let beside = |ending| self.folder.path().join(format!("guest.db{ending}"));
        fs::write(&path, database).unwrap();
        fs::write(beside("-wal"), log).unwrap();
        let _absent = fs::remove_file(beside("-shm"));
        path
    }

    /// Opens an image without damage. Each unit is stored whole, and those that were acknowledged are there.
    async fn check(&self, path: &Path, acknowledged: u64) {
        let store = open_store(path).unwrap();
        let stats = store.stats().await.unwrap();
        let units = stats.audit_entries;
        assert!(units >= acknowledged, "{units} of {acknowledged} units");
        assert_eq!((stats.live_sessions, stats.outbox_pending), (units, units));
        assert_eq!(self.verified(&store).await, Ok(units));
        assert_eq!(store.commit(log(1)).await.unwrap().entries, units..units + 1);
    }

    /// The number of entries of a log that verifies, or the kind of the error. No entry of it was altered.
    async fn verified(&self, store: &SqliteStore) -> Result<u64, StoreErrorKind> {
        match verify(store, |_| ()).await {
            Ok(report) => {
                let found = store.entries(EntryQuery::From(0), 1_000).await;
                let found = found.map_err(|error| error.kind())?;
                let is_own = found
                    .iter()
                    .map(|entry| &entry.bytes)
                    .eq(&self.entries[..found.len()]);
                assert!(is_own, "an altered entry verifies");
                Ok(report.entries)
            }
            Err(crate::VerifyError::Store(error)) => Err(error.kind()),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A new session with an entry and an event.
fn numbered(number: u64, body: &str) -> Unit {
    let mut unit = unit(body);
    if let Some(Change::CreateSession(session)) = &mut unit.change {
        session.id = format!("s-{number}").parse().unwrap();
        session.guest = format!("g-{number}").parse().unwrap();
        unit.events[0].session = session.id.clone();
    }
    unit.events[0].id = format!("e-{number}");
    unit
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[tokio::test]
async fn every_image_verifies_or_is_refused() {
    let (images, seed) = (300 * variable("STORE_EFFORT", 1), variable("STORE_SEED", 1));
    println!("STORE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut recording, mut kinds) = (Recording::new(&mut random).await, [0; 6]);
    for number in 0..images {
        if number % 1_000 == 999 {
            recording = Recording::new(&mut random).await;
        }
        let (database, log, acknowledged) = match number % 3 {
            0 => recording.in_commit(&mut random),
            1 => recording.in_checkpoint(&mut random),
            _ => {
                let (database, log) = recording.damaged(&mut random);
                let path = recording.write(&database, &log);
                let kind = match open_store(&path) {
                    Err(error) => {
                        assert_ne!(
                            error.kind(),
                            StoreErrorKind::Unavailable,
                            "image {number}: {error}"
                        );
                        2
                    }
                    Ok(store) => match recording.verified(&store).await {
                        Ok(entries) if entries < UNITS => 3,
                        Ok(_) => 4,
                        Err(_) => 5,
                    },
                };
                kinds[kind] += 1;
                continue;
            }
        };
        let path = recording.write(&database, &log);
        recording.check(&path, acknowledged).await;
        kinds[number as usize % 3] += 1;
    }
    let [commit, checkpoint, refused, older, sound, altered] = kinds;
    println!(
        "{commit} in a commit, {checkpoint} in a checkpoint; damaged: {refused} refused at once, {altered} when read, \
         {sound} sound, {older} that show an older state"
    );
    assert!(refused > 0 && sound > 0 && older > 0);
}
