//! Loopback ports for processes that are told where to listen.
//!
//! A port that the kernel names free (port 0) may be gone before the process listens: the kernel hands the same ports to
//! every outgoing connection. Ports of tests lie below that range, and each belongs to one test binary for as long as it runs.

use anyhow::Context;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

/// Below the NodePorts of clusters (from 30000) and the kernel's own choice (from 32768), above what daemons are known by.
const RANGE: std::ops::Range<u16> = 12_000..29_500;

/// Reservations of this process: abstract sockets, which end with it, however it ends.
static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port on which nobody listens, and that no other test gets while this process runs.
///
/// # Errors
/// When no port is left.
pub fn free_port() -> anyhow::Result<u16> {
    let length = u32::from(RANGE.end - RANGE.start);
    // Test binaries begin at different places: what the last one closed may still be waiting for its last packets.
    let begin = std::process::id().wrapping_mul(1_009) % length;
    let mut reserved = RESERVED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for step in 0..length {
        let port = RANGE.start + u16::try_from((begin + step) % length)?;
        let Some(reservation) = reserve(port)? else { continue };
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            reserved.push(reservation);
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free between {} and {}", RANGE.start, RANGE.end)
}

/// The mark that a port is taken, unless another process (or an earlier call) has set it.
fn reserve(port: u16) -> anyhow::Result<Option<UnixListener>> {
    let address = SocketAddr::from_abstract_name(format!("odigos-testkit-port-{port}"))?;
    match UnixListener::bind_addr(&address) {
        Ok(reservation) => Ok(Some(reservation)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error).context("a port cannot be reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::{RANGE, free_port};
    use std::collections::BTreeSet;

    #[test]
    fn a_port_is_given_once_and_never_one_of_the_kernels() {
        let kernels = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let first: u16 = kernels.split_whitespace().next().unwrap().parse().unwrap();
        assert!(RANGE.end <= first, "this machine gives ports from {first} to outgoing connections");
        let given: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..20).map(|_| free_port().unwrap()).collect::<Vec<_>>())).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
    }
}
