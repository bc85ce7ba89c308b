//! The number of open connections of each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

/// Connections above the limit of an address that are answered at once. Further ones are closed. Our choice.
const REFUSALS: u32 = 8;

/// Open connections by address. Its size is bounded by the number of connections.
pub(crate) struct Addresses {
    limit: u32,
    unlimited: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, u32>>,
    refused: RefusedConnections,
}

/// The number of connections that a server refused because their address had too many. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct RefusedConnections(Arc<AtomicU64>);

impl RefusedConnections {
    /// Returns the number since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Addresses {
    pub(super) fn new(limit: u32, unlimited: Vec<IpNet>, refused: RefusedConnections) -> Self {
        Self {
            limit,
            unlimited,
            open: Mutex::default(),
            refused,
        }
    }

    /// Counts a connection until the slot is dropped. `None` if it is to be closed at once.
    pub(super) fn open(self: &Arc<Self>, address: IpAddr) -> Option<AddressSlot> {
        if self.unlimited.iter().any(|network| network.contains(&address)) {
            return Some(AddressSlot::Unlimited);
        }
        let prefix = prefix(address);
        let mut open = self.lock();
        let count = open.entry(prefix).or_insert(0);
        let is_above = *count >= self.limit;
        if is_above {
            self.refused.0.fetch_add(1, Ordering::Relaxed);
        }
        if *count >= self.limit.saturating_add(REFUSALS) {
            return None;
        }
        *count += 1;
        let addresses = Arc::clone(self);
        Some(AddressSlot::Counted {
            addresses,
            prefix,
            is_above,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in the count of its address.
pub(crate) enum AddressSlot {
    Unlimited,
    Counted {
        addresses: Arc<Addresses>,
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
        let Self::Counted {
            addresses, prefix, ..
        } = self
        else {
            return;
        };
        let mut open = addresses.lock();
        if let Some(count) = open.get_mut(prefix) {
            *count -= 1;
            if *count == 0 {
                open.remove(prefix);
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

    fn addresses(limit: u32) -> Arc<Addresses> {
        let proxies = vec!["10.0.0.0/8".parse().unwrap()];
        Arc::new(Addresses::new(limit, proxies, RefusedConnections::default()))
    }

    /// Opens a connection: whether it is above the limit, `None` if it is closed at once.
    fn open(addresses: &Arc<Addresses>, address: &str, kept: &mut Vec<AddressSlot>) -> Option<bool> {
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
        assert_eq!(addresses.refused.count(), 10);
        assert_eq!(open(&addresses, "192.0.2.2", &mut kept), Some(false));
        kept.clear();
        assert!(addresses.lock().is_empty());
        assert_eq!(open(&addresses, "192.0.2.1", &mut kept), Some(false));
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
}
