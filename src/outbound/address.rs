//! Which addresses are a site's own business, in every notation they have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Says what an address is when it may not be connected to.
pub type Reach = fn(IpAddr) -> Result<(), &'static str>;

/// First address, length of the prefix, what lies there. All that IANA's registry does not call globally reachable.
const CLOSED_V4: [(Ipv4Addr, u32, &str); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "no address"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "a provider's own"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "this machine"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for examples"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a tunnel"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for examples"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for examples"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// Within `2000::/3`; outside of it nothing is globally reachable: not loopback, unique local and link-local addresses, not
/// multicast, and not an IPv4 address that is mapped, translated (NAT64) or written in six.
const CLOSED_V6: [(Ipv6Addr, u32, &str); 4] = [
    // Teredo among them, which has an IPv4 address in it.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for examples"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "a tunnel"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "for examples"),
];

/// What anybody on the internet can reach; nothing else.
pub fn public(address: IpAddr) -> Result<(), &'static str> {
    match address {
        IpAddr::V4(address) => {
            let bits = |address: Ipv4Addr, length: u32| address.to_bits() >> (32 - length);
            let closed = CLOSED_V4.into_iter().find(|(first, length, _)| bits(*first, *length) == bits(address, *length));
            closed.map_or(Ok(()), |(_, _, what)| Err(what))
        }
        IpAddr::V6(address) => {
            let bits = |address: Ipv6Addr, length: u32| address.to_bits() >> (128 - length);
            if bits(address, 3) != 0b001 {
                return Err("not a public address");
            }
            let closed = CLOSED_V6.into_iter().find(|(first, length, _)| bits(*first, *length) == bits(address, *length));
            closed.map_or(Ok(()), |(_, _, what)| Err(what))
        }
    }
}

/// For an intranet, and for what the site's own configuration names.
pub fn anywhere(_: IpAddr) -> Result<(), &'static str> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_can_reach_is_public() {
        for address in ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "223.255.255.255", "2606:4700::1111"] {
            assert_eq!(public(address.parse().unwrap()), Ok(()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "100::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(public(address.parse().unwrap()).is_err(), "{address}");
        }
    }
}
