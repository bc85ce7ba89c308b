//! The size of the tests that draw cases at random: a few in the test command, many in `cargo xtask ci --deep`.

/// A number of cases: `few`, times the variable `AUDIT_EFFORT`.
pub(crate) fn cases(few: u64) -> u64 {
    few * variable("AUDIT_EFFORT", 1)
}

/// A source of cases, whose seed is printed. The variable `AUDIT_SEED` sets another.
pub(crate) fn random() -> Random {
    let seed = variable("AUDIT_SEED", 1);
    println!("AUDIT_SEED={seed}");
    Random(seed)
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// Random numbers of a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }
}
