//! Which connections are open, and which of them closes when there is no room for another one.
//!
//! Owns the order: connections of the address that holds the most go first, those that never sent a request before those that did,
//! the longest idle ones before the others. Has no socket; the time is given.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many connections a server holds, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most connections at once.
    pub(crate) total: usize,
    /// Most connections of one address at once; of a network of 64 bits with IPv6, which one machine may have whole.
    pub(crate) per_peer: usize,
    /// How long a connection may take until its first request has come; also a TLS handshake.
    pub(crate) first_request: Duration,
    /// How long it may be without a request after that.
    pub(crate) idle: Duration,
    /// How long one request may take.
    pub(crate) request: Duration,
    /// How long it may last; requests that run then are answered.
    pub(crate) age: Duration,
}

/// How long a connection that makes room may take to say that it closes; a client that is told loses no request.
const EVICTION_GRACE: Duration = Duration::from_secs(1);
/// Most connections that take that time at once; beyond, they are cut.
const LEAVING: usize = 64;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays until then, unless something changes.
    StaysUntil(Instant),
    /// It closes; requests that run have this time.
    Closes(Duration),
}

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    opened: Instant,
    /// When its last request ended.
    last: Option<Instant>,
    running: usize,
    /// Set when it has to make room.
    evicted: Option<Duration>,
    changed: Arc<Notify>,
}

impl Entry {
    /// Who goes first has the smallest.
    fn rank(&self) -> (bool, bool, Instant) {
        (self.running > 0, self.last.is_some(), self.last.unwrap_or(self.opened))
    }
}

/// The open connections of a server.
#[derive(Debug)]
pub(crate) struct Table {
    limits: Limits,
    next: u64,
    entries: HashMap<u64, Entry>,
}

/// What came of a new connection.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Its id, and how it hears of an eviction; none when there is no room.
    pub(crate) admitted: Option<(u64, Arc<Notify>)>,
    /// The address that lost a connection, or did not get one.
    pub(crate) short: Option<IpAddr>,
}

impl Table {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, next: 0, entries: HashMap::new() }
    }

    /// Lets a connection in; where there is no room, another one goes, or it is refused itself.
    pub(crate) fn admit(&mut self, address: IpAddr, now: Instant) -> Admission {
        let peer = network(address);
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.entries.values().filter(|entry| entry.evicted.is_none()) {
            *counts.entry(entry.peer).or_default() += 1;
        }
        let (own, all) = (counts.get(&peer).copied().unwrap_or_default(), counts.values().sum::<usize>());
        let most = counts.values().copied().max().unwrap_or_default();
        let mut short = None;
        if own >= self.limits.per_peer || all >= self.limits.total {
            let is_greedy = own >= self.limits.per_peer || own >= most;
            // A peer takes from itself what is idle; from one that holds more, anything.
            let is_candidate = |entry: &Entry| match is_greedy {
                true => entry.peer == peer && entry.running == 0,
                false => counts.get(&entry.peer) == Some(&most),
            };
            let victim = self.first(|entry| entry.evicted.is_none() && is_candidate(entry));
            let Some(victim) = victim else { return Admission { admitted: None, short: Some(peer) } };
            short = Some(self.evict(victim));
        }
        let (id, changed) = (self.next, Arc::new(Notify::new()));
        self.next += 1;
        let entry = Entry { peer, opened: now, last: None, running: 0, evicted: None, changed: changed.clone() };
        self.entries.insert(id, entry);
        Admission { admitted: Some((id, changed)), short }
    }

    fn first(&self, is_candidate: impl Fn(&Entry) -> bool) -> Option<u64> {
        let candidates = self.entries.iter().filter(|(_, entry)| is_candidate(entry));
        candidates.min_by_key(|(id, entry)| (entry.rank(), **id)).map(|(id, _)| *id)
    }

    fn evict(&mut self, id: u64) -> IpAddr {
        let leaving = self.entries.values().filter(|entry| entry.evicted.is_some()).count();
        let Some(entry) = self.entries.get_mut(&id) else { return Ipv6Addr::UNSPECIFIED.into() };
        let is_polite = leaving < LEAVING && (entry.last.is_some() || entry.running > 0);
        entry.evicted = Some(if is_polite { EVICTION_GRACE } else { Duration::ZERO });
        entry.changed.notify_one();
        entry.peer
    }

    /// A request has come.
    pub(crate) fn begin(&mut self, id: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.running += 1;
        }
    }

    /// A request was answered.
    pub(crate) fn end(&mut self, id: u64, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.running = entry.running.saturating_sub(1);
            entry.last = Some(now);
        }
    }

    /// Whether a connection stays.
    pub(crate) fn fate(&self, id: u64, now: Instant) -> Fate {
        let Some(entry) = self.entries.get(&id) else { return Fate::Closes(Duration::ZERO) };
        if let Some(grace) = entry.evicted {
            return Fate::Closes(grace);
        }
        let of_age = entry.opened + self.limits.age;
        let quiet = match entry.last {
            Some(last) => last + self.limits.idle,
            None => entry.opened + self.limits.first_request,
        };
        // While a request runs, it has its own limit; what comes after is seen then.
        let quiet = if entry.running > 0 { now + self.limits.idle } else { quiet };
        match of_age.min(quiet) {
            until if until <= now => Fate::Closes(self.limits.request),
            until => Fate::StaysUntil(until),
        }
    }

    /// A connection is closed.
    pub(crate) fn remove(&mut self, id: u64) {
        self.entries.remove(&id);
    }
}

/// What counts as one peer.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        total: 8,
        per_peer: 4,
        first_request: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        request: Duration::from_secs(30),
        age: Duration::from_secs(600),
    };

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    struct World {
        table: Table,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { table: Table::new(LIMITS), start: Instant::now() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn admit(&mut self, number: u8, seconds: u64) -> Option<u64> {
            let at = self.at(seconds);
            self.table.admit(peer(number), at).admitted.map(|(id, _)| id)
        }

        fn stays(&self, id: u64, seconds: u64) -> bool {
            matches!(self.table.fate(id, self.at(seconds)), Fate::StaysUntil(_))
        }

        fn request(&mut self, id: u64, seconds: u64) {
            let at = self.at(seconds);
            self.table.begin(id);
            self.table.end(id, at);
        }
    }

    #[test]
    fn peer_beyond_its_limit_loses_its_own_oldest_connection_that_asked_nothing() {
        let mut world = World::new();
        let ids: Vec<u64> = (0..4).filter_map(|second| world.admit(1, second)).collect();
        let other = world.admit(2, 0);
        world.request(ids[0], 5);
        assert!(world.admit(1, 6).is_some());
        assert!(world.stays(ids[0], 6) && !world.stays(ids[1], 6) && world.stays(ids[2], 6));
        assert!(other.is_some_and(|other| world.stays(other, 6)));
    }

    #[test]
    fn full_server_takes_from_the_peer_that_holds_most() {
        let mut world = World::new();
        let greedy: Vec<u64> = (0..4).filter_map(|_| world.admit(1, 0)).collect();
        let modest: Vec<u64> = (2..6).filter_map(|number| world.admit(number, 0)).collect();
        greedy.iter().for_each(|id| world.table.begin(*id));
        assert!(world.admit(9, 1).is_some(), "also what is busy there");
        assert_eq!(greedy.iter().filter(|id| !world.stays(**id, 1)).count(), 1);
        assert!(modest.iter().all(|id| world.stays(*id, 1)));
        assert_eq!(world.table.fate(greedy[0], world.at(1)), Fate::Closes(EVICTION_GRACE));
    }

    #[test]
    fn peer_whose_connections_are_all_busy_gets_no_further_one() {
        let mut world = World::new();
        let ids: Vec<u64> = (0..4).filter_map(|_| world.admit(1, 0)).collect();
        ids.iter().for_each(|id| world.table.begin(*id));
        assert_eq!(world.admit(1, 1), None);
        let end = world.at(1);
        world.table.end(ids[2], end);
        assert!(world.admit(1, 2).is_some());
        assert!(!world.stays(ids[2], 2) && world.stays(ids[0], 2));
    }

    #[test]
    fn connection_ends_without_request_without_further_ones_and_of_age() {
        let mut world = World::new();
        let (silent, quiet, busy) = (world.admit(1, 0), world.admit(1, 0), world.admit(1, 0));
        let (silent, quiet, busy) = (silent.unwrap_or(9), quiet.unwrap_or(9), busy.unwrap_or(9));
        world.request(quiet, 5);
        world.table.begin(busy);
        assert!(world.stays(silent, 9) && !world.stays(silent, 10));
        assert!(world.stays(quiet, 64) && !world.stays(quiet, 65));
        assert!(world.stays(busy, 599) && !world.stays(busy, 600));
        assert_eq!(world.table.fate(busy, world.at(600)), Fate::Closes(LIMITS.request));
    }

    #[test]
    fn addresses_of_one_network_are_one_peer() {
        let parse = |text: &str| text.parse::<IpAddr>().map(network).ok();
        assert_eq!(parse("fd00::1"), parse("fd00::2:3:4:5"));
        assert_ne!(parse("fd00::1"), parse("fd00:0:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
    }
}
