//! Allowed addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The addresses to which connections are allowed. Checked for the address of each connection, after name resolution, so
/// that a changed DNS record cannot circumvent it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Egress {
    /// All addresses, for hosts that the operator configures.
    #[default]
    Anywhere,
    /// Public addresses only, never through a proxy: for hosts that a tenant names, such as webhook receivers.
    PublicOnly {
        /// Allowed networks that are not public.
        allow: Vec<IpNet>,
    },
}

impl Egress {
    /// Whether connections to `address` are allowed. IPv4-mapped IPv6 addresses count as IPv4.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::PublicOnly { allow } => {
                let address = address.to_canonical();
                allow.iter().any(|network| network.contains(&address))
                    || !NOT_PUBLIC.iter().any(|network| network.contains(&address))
            }
        }
    }
}

/// Networks outside the public Internet: the IANA special-purpose registries of IPv4 and IPv6. All public IPv6 addresses
/// are in `2000::/3`; outside of it are loopback, private networks, and prefixes that embed an IPv4 address.
const NOT_PUBLIC: [IpNet; 22] = [
    v4([0, 0, 0, 0], 8),           // this network
    v4([10, 0, 0, 0], 8),          // private, RFC 1918
    v4([100, 64, 0, 0], 10),       // carrier-grade NAT, RFC 6598
    v4([127, 0, 0, 0], 8),         // loopback
    v4([169, 254, 0, 0], 16),      // link-local, and the metadata service of most clouds
    v4([172, 16, 0, 0], 12),       // private, RFC 1918
    v4([192, 0, 0, 0], 24),        // protocol assignments
    v4([192, 0, 2, 0], 24),        // documentation
    v4([192, 88, 99, 0], 24),      // 6to4 relays
    v4([192, 168, 0, 0], 16),      // private, RFC 1918
    v4([198, 18, 0, 0], 15),       // benchmarks
    v4([198, 51, 100, 0], 24),     // documentation
    v4([203, 0, 113, 0], 24),      // documentation
    v4([224, 0, 0, 0], 4),         // multicast
    v4([240, 0, 0, 0], 4),         // reserved, and broadcast
    v6([0, 0, 0, 0], 3),           // loopback, embedded IPv4 such as NAT64 (RFC 6052), discard
    v6([0x2001, 0, 0, 0], 23),     // protocol assignments, such as Teredo and benchmarks
    v6([0x2001, 0xdb8, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0], 16),     // 6to4
    v6([0x3fff, 0, 0, 0], 20),     // documentation, RFC 9637
    v6([0x4000, 0, 0, 0], 2),      // segment routing (RFC 9602), and reserved
    v6([0x8000, 0, 0, 0], 1),      // unique local, link-local, site-local, multicast, and reserved
];

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix)
}

/// A network by its first 64 bits.
const fn v6(head: [u16; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = head;
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First and last address of each range, independent of the table.
    const RANGES: [(&str, &str); 21] = [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "239.255.255.255"),
        ("240.0.0.0", "255.255.255.255"),
        ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ];

    /// First and last address of the IPv6 ranges of Svix' guard, which a larger range of the table covers.
    const COVERED: [(&str, &str); 11] = [
        ("::", "::ffff:ffff"),
        ("::ffff:0:0:0", "::ffff:0:ffff:ffff"),
        ("64:ff9b::", "64:ff9b::ffff:ffff"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
        ("100::", "100::ffff:ffff:ffff:ffff"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ];

    fn ranges() -> impl Iterator<Item = (IpAddr, IpAddr)> {
        RANGES
            .into_iter()
            .map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap()))
    }

    /// The address at distance `by`, unless it is outside the address family.
    fn step(address: IpAddr, by: i8) -> Option<IpAddr> {
        Some(match address {
            IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add_signed(by.into())?).into(),
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add_signed(by.into())?).into(),
        })
    }

    #[test]
    fn ranges_have_exact_boundaries() {
        let public = Egress::PublicOnly { allow: Vec::new() };
        let mut open_neighbors = 0;
        for (first, last) in ranges() {
            assert!(!public.permits(first), "{first}");
            assert!(!public.permits(last), "{last}");
            for neighbor in [step(first, -1), step(last, 1)].into_iter().flatten() {
                let expected = !ranges().any(|(first, last)| (first..=last).contains(&neighbor));
                assert_eq!(public.permits(neighbor), expected, "{neighbor}");
                open_neighbors += u32::from(expected);
            }
        }
        assert!(open_neighbors >= 30, "{open_neighbors}");
        for text in COVERED.into_iter().flat_map(|(first, last)| [first, last]) {
            assert!(!public.permits(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn mapped_and_embedded_addresses_are_blocked() {
        let public = Egress::PublicOnly { allow: Vec::new() };
        for text in [
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:a9fe:a9fe",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::7f00:1",
            "2002:7f00:1::",
            "2001:0:1:1:1:1:80ff:fffe",
        ] {
            assert!(!public.permits(text.parse().unwrap()), "{text}");
        }
        for text in ["::ffff:1.1.1.1", "1.1.1.1", "2606:4700:4700::1111"] {
            assert!(public.permits(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn allow_list_permits_its_networks_only() {
        let egress = Egress::PublicOnly {
            allow: vec!["10.1.0.0/16".parse().unwrap()],
        };
        assert!(egress.permits("10.1.2.3".parse().unwrap()));
        assert!(egress.permits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!egress.permits("10.2.0.1".parse().unwrap()));
        assert!(Egress::Anywhere.permits("127.0.0.1".parse().unwrap()));
    }
}
