//! Loopback ports for processes that are told where to listen.
//!
//! A port that the kernel names free (port 0) may be gone before the process listens: the kernel hands the same ports to
//! every outgoing connection. Ports of tests lie below that range, and each belongs to one test binary for as long as it runs.

use anyhow::Context;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below the NodePorts of clusters (from 30000) and the kernel's own choice (from 32768), above what daemons are known by.
const RANGE: std::ops::Range<u16> = 12_000..29_500;

/// Ports that `deploy/samples` names, in that range: the demonstration listens on them, and no test gets them.
pub const SAMPLE_PORTS: [u16; 2] = [24_317, 24_328];

/// Reservations of this process.
static RESERVED: Mutex<Vec<Reservation>> = Mutex::new(Vec::new());

/// An abstract socket, which ends with its process, however that ends, and leaves nothing behind.
#[cfg(target_os = "linux")]
type Reservation = std::os::unix::net::UnixListener;
/// A lock on a file, which ends with its process too, elsewhere.
#[cfg(not(target_os = "linux"))]
type Reservation = std::fs::File;

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
        if SAMPLE_PORTS.contains(&port) {
            continue;
        }
        let Some(reservation) = reserve(port)? else { continue };
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            reserved.push(reservation);
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free between {} and {}", RANGE.start, RANGE.end)
}

/// Takes the ports of the samples for this process.
///
/// # Errors
/// When another process has them.
pub fn reserve_sample_ports() -> anyhow::Result<()> {
    // A demonstration that was killed has them until its processes are ended.
    crate::leftovers::end();
    let mut reserved = RESERVED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for port in SAMPLE_PORTS {
        let reservation = reserve(port)?.filter(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok());
        reserved.push(reservation.with_context(|| {
            format!("port {port} is in use; another `make run` may be running (KEEP=1): end it first")
        })?);
    }
    Ok(())
}

/// The mark that a port is taken, unless another process (or an earlier call) has set it.
#[cfg(target_os = "linux")]
fn reserve(port: u16) -> anyhow::Result<Option<Reservation>> {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(format!("odigos-testkit-port-{port}"))?;
    match Reservation::bind_addr(&address) {
        Ok(reservation) => Ok(Some(reservation)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error).context("failed to reserve a port"),
    }
}

/// The same without abstract sockets.
#[cfg(not(target_os = "linux"))]
fn reserve(port: u16) -> anyhow::Result<Option<Reservation>> {
    let folder = std::env::temp_dir().join("odigos-testkit-ports");
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let file = Reservation::options().create(true).append(true).open(folder.join(port.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error).context("failed to reserve a port"),
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
