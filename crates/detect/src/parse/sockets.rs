//! `/proc/PID/net/tcp`, `/proc/PID/net/tcp6` and the links of `/proc/PID/fd` → with whom a process is connected.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// States of a connection that exists: established, and closed by the other side only.
const CONNECTED: [&str; 2] = ["01", "08"];

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; IPv4 also where the socket speaks IPv6.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Number of the socket on this side.
    pub socket: u64,
}

/// Number of the socket that an open file is, from its link `socket:[N]`.
#[must_use]
pub fn socket(link: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(link).ok()?;
    text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The connections of a table of the kernel; one table holds those of a whole pod.
#[must_use]
pub fn peers(table: &[u8]) -> Vec<Peer> {
    table.split(|byte| *byte == b'\n').skip(1).filter_map(|line| peer(std::str::from_utf8(line).ok()?)).collect()
}

/// `sl local remote state queues timer retransmits uid timeout socket …`
fn peer(line: &str) -> Option<Peer> {
    let mut words = line.split_ascii_whitespace();
    let remote = words.nth(2)?;
    if !CONNECTED.contains(&words.next()?) {
        return None;
    }
    let socket = words.nth(5)?.parse().ok()?;
    let (address, port) = remote.split_once(':')?;
    Some(Peer { address: self::address(address)?, port: u16::from_str_radix(port, 16).ok()?, socket })
}

/// Words of 32 bits in the byte order of the machine, as the kernel prints them.
fn address(text: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let part = text.get(8 * index..8 * (index + 1))?;
        Some(u32::from_str_radix(part, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0_u8; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn connections_are_read_and_others_passed_over() {
        let table =
            b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0\n\
            1: 0100007F:9C40 0A00F40A:10DE 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0\n\
            2: 0100007F:9C41 0A00F40A:10DE 06 00000000:00000000 00:00000000 00000000  1000        0 0 1 0\n\
            broken\n";
        let other: IpAddr = "10.244.0.10".parse().unwrap();
        assert_eq!(peers(table), [Peer { address: other, port: 4318, socket: 12 }]);
        let table = b"header\n 0: 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000A00F40A:10DE 08 0:0 0:0 0 0 0 13 1\n";
        assert_eq!(peers(table), [Peer { address: other, port: 4318, socket: 13 }]);
        for garbage in [&b""[..], b"\n\n\n", b"h\n0: x y 01 a b c d e f", &[0xff; 300]] {
            assert_eq!(peers(garbage), []);
        }
        assert_eq!((socket(b"socket:[42]"), socket(b"/dev/null"), socket(b"socket:[x]")), (Some(42), None, None));
    }
}
