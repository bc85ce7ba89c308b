//! A table of guests with the decisions that the sources of the law lead to: `guests.csv`, which counsel can read.
//!
//! Its columns are separated by semicolons. A decision is `on` or `off` with its reason. The column `by` after it has the
//! laws that the decision must cite, separated by ` + `. `leave` has the attributes that may be sent. The last two columns
//! explain where version 1.1.0 of the policy decided otherwise.

use time::OffsetDateTime;

use crate::{Actor, Age, Choice, Consent, Evidence, NewGuest, Policy, Purpose, Signals};

fn now() -> OffsetDateTime {
    genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap()
}

struct Row<'a>(Vec<&'a str>);

impl Row<'_> {
    fn guest(&self) -> NewGuest {
        let choice = match self.0[5] {
            "granted" => Choice::Granted,
            "denied" => Choice::Denied,
            _ => Choice::Unknown,
        };
        let mut evidence = Evidence::at(now());
        if !self.0[3].is_empty() {
            evidence.actor = Actor::Guardian;
        }
        let consent = Consent::together([choice; 3], evidence);
        let place = self.0[1].parse().unwrap();
        let mut guest = NewGuest::new("channel".parse().unwrap(), place, consent);
        guest.age = match self.0[2] {
            "" => Age::UNKNOWN,
            age => age.parse().unwrap(),
        };
        guest.signals = Signals {
            gpc: !self.0[4].is_empty(),
        };
        for name in self.0[7].split(' ') {
            guest.attributes.insert(name, "value").unwrap();
        }
        guest
    }

    /// The outcome under version 1.1.0: marketing, personalization, analytics, and the attributes that leave.
    fn before(&self) -> String {
        if !self.0[17].is_empty() {
            return self.0[17].to_owned();
        }
        let switch = |at: usize| self.0[at].split(':').next().unwrap();
        let mut leave: Vec<&str> = self.0[16].split(' ').collect();
        leave.sort_unstable();
        format!("{} {} {}: {}", switch(8), switch(10), switch(12), leave.join(" "))
    }
}

#[test]
fn guests_are_decided_as_in_the_table() {
    let table = include_str!("guests.csv");
    let rows = table.lines().skip(1).map(|line| Row(line.split(';').collect()));
    let mut guests = 0;
    let mut failures = Vec::new();
    for row in rows {
        assert_eq!(row.0.len(), 19, "guest {}", row.0[0]);
        let session = row.guest().decide(Policy::purpose_scoped(), now()).unwrap();
        let data = session.data();
        let states = Purpose::ALL.map(|purpose| match data.consent().purpose(purpose).is_on() {
            true => "on",
            false => "off",
        });
        let leave: Vec<&str> = data.attributes().map(|(name, _)| name).collect();
        let found = format!("{}: {}", states.join(" "), leave.join(" "));
        if found != row.before() {
            failures.push(format!("{};{found};{}", row.0[0], row.before()));
        }
        assert_eq!(row.0[17].is_empty(), row.0[18].is_empty(), "guest {}", row.0[0]);
        guests += 1;
    }
    assert!(guests >= 200, "{guests} guests");
    assert_eq!(failures, [""; 0], "guest; found; expected");
}
