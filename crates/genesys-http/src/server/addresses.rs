//! The number of open connections of each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

/// Connections above the limit of an address that are answered at once. Further ones are closed. Our choice.
const REFUSALS: u32 = 8;

/// The limit of the connections of each address, and the number of those that it refused. Clones share both.
#[derive(Clone, Debug)]
pub struct AddressLimit(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limit: u32,
    unlimited: Vec<IpNet>,
    /// Open connections by address. Its size is bounded by the number of connections.
    open: HashMap<IpAddr, u32>,
    refused: u64,
}

impl AddressLimit {
    pub(super) fn new(limit: u32, unlimited: Vec<IpNet>) -> Self {
        Self(Arc::new(Mutex::new(State {
            limit,
            unlimited,
            open: HashMap::new(),
            refused: 0,
        })))
    }

    /// Returns the number of connections that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Changes [`Limits::connections_per_address`](super::Limits::connections_per_address) and
    /// [`Limits::unlimited_networks`](super::Limits::unlimited_networks) for the connections that begin after it. Returns the
    /// number of addresses with more open connections, which stay open.
    pub fn replace(&self, limit: u32, unlimited: Vec<IpNet>) -> usize {
        let mut state = self.lock();
        state.limit = limit;
        state.unlimited = unlimited;
        state.open.values().filter(|open| **open > limit).count()
    }

    /// Counts a connection until the slot is dropped. `None` if it is to be closed at once.
    pub(super) fn open(&self, address: IpAddr) -> Option<AddressSlot> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.unlimited.iter().any(|network| network.contains(&address)) {
            return Some(AddressSlot::Unlimited);
        }
        let prefix = prefix(address);
        let count = state.open.entry(prefix).or_insert(0);
        let is_above = *count >= state.limit;
        if is_above {
            state.refused += 1;
        }
        if *count >= state.limit.saturating_add(REFUSALS) {
            return None;
        }
        *count += 1;
        Some(AddressSlot::Counted {
            limit: self.clone(),
            prefix,
            is_above,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in the count of its address.
pub(crate) enum AddressSlot {
    Unlimited,
    Counted {
        limit: AddressLimit,
        prefix: IpAddr,
        is_above: bool,
    },
}

impl AddressSlot {
    /// Whether its address had the maximum number of connections before.
    pub(super) fn is_above(&self) -> bool {
        matches!(self, Self::Counted { is_above: true, .. })
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let Self::Counted { limit, prefix, .. } = self else {
            return;
        };
        let mut state = limit.lock();
        if let Some(count) = state.open.get_mut(prefix) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(prefix);
            }
        }
    }
}

/// The address, or the first 64 bits of one of IPv6: the smallest network of a subscriber.
fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(limit: u32) -> AddressLimit {
        AddressLimit::new(limit, vec!["10.0.0.0/8".parse().unwrap()])
    }

    /// Opens a connection: whether it is above the limit, `None` if it is closed at once.
    fn open(addresses: &AddressLimit, address: &str, kept: &mut Vec<AddressSlot>) -> Option<bool> {
        let slot = addresses.open(address.parse().unwrap())?;
        let is_above = slot.is_above();
        kept.push(slot);
        Some(is_above)
    }

    #[test]
    fn connections_above_the_limit_are_refused_then_closed() {
        let (addresses, mut kept) = (addresses(2), Vec::new());
        let opened: Vec<_> = (0..12)
            .map(|_| open(&addresses, "192.0.2.1", &mut kept))
            .collect();
        let expected = [vec![Some(false); 2], vec![Some(true); 8], vec![None; 2]].concat();
        assert_eq!(opened, expected);
        assert_eq!(addresses.refused(), 10);
        assert_eq!(open(&addresses, "192.0.2.2", &mut kept), Some(false));
        kept.clear();
        assert!(addresses.lock().open.is_empty());
        assert_eq!(open(&addresses, "192.0.2.1", &mut kept), Some(false));
    }

    #[test]
    fn lowered_limit_counts_the_addresses_above_it() {
        let (addresses, mut kept) = (addresses(2), Vec::new());
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "10.0.0.1", "10.0.0.1"] {
            open(&addresses, address, &mut kept);
        }
        assert_eq!(
            [2, 1, 2].map(|limit| addresses.replace(limit, Vec::new())),
            [0, 1, 0]
        );
    }

    #[test]
    fn ipv6_is_counted_by_its_first_64_bits() {
        let (addresses, mut kept) = (addresses(1), Vec::new());
        assert_eq!(open(&addresses, "2001:db8:1:2::1", &mut kept), Some(false));
        assert_eq!(open(&addresses, "2001:db8:1:2:3::1", &mut kept), Some(true));
        assert_eq!(open(&addresses, "2001:db8:1:3::1", &mut kept), Some(false));
    }

    #[test]
    fn networks_of_proxies_have_no_limit() {
        let (addresses, mut kept) = (addresses(0), Vec::new());
        for _ in 0..20 {
            assert_eq!(open(&addresses, "10.1.2.3", &mut kept), Some(false));
        }
        assert_eq!(open(&addresses, "11.1.2.3", &mut kept), Some(true));
    }

    #[test]
    fn replaced_limit_counts_the_connections_of_before() {
        let (addresses, mut kept) = (addresses(1), Vec::new());
        assert_eq!(open(&addresses, "192.0.2.1", &mut kept), Some(false));
        addresses.replace(2, vec!["11.0.0.0/8".parse().unwrap()]);
        let opened = [(); 2].map(|()| open(&addresses, "192.0.2.1", &mut kept));
        assert_eq!(opened, [Some(false), Some(true)]);
        let opened = [(); 3].map(|()| open(&addresses, "11.1.2.3", &mut kept));
        assert_eq!(opened, [Some(false); 3]);
        let opened = [(); 3].map(|()| open(&addresses, "10.1.2.3", &mut kept));
        assert_eq!(opened, [Some(false), Some(false), Some(true)]);
    }
}
