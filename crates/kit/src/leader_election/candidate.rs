//! What a replica does with the Lease that it found: the decisions of the election, without a client.
//!
//! Owns whether to take the lease, to renew it or to wait, and until when this replica may believe that it leads. Never compares the
//! clocks of two machines: `renewTime` is another machine's word, so a lease counts as held for as long as it changes, by this process's
//! own monotonic clock from the moment at which it saw the last change. Clocks that are minutes apart steal no lease.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use std::time::Duration;
use tokio::time::Instant;

/// What to send to the API server.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// There is no Lease: create this one.
    Create(Lease),
    /// Replace the Lease by this one; it carries the version that was seen, so only one of several replicas succeeds.
    Replace(Lease),
    /// Another replica holds it.
    Follow,
}

/// One replica in the election.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    duration: Duration,
    /// The last content that differed from the one before, and when this process saw it.
    observed: Option<(Option<LeaseSpec>, Instant)>,
    /// When the last request that took or renewed the lease was begun.
    renewed: Option<Instant>,
}

impl Candidate {
    pub(super) fn new(identity: String, duration: Duration) -> Self {
        Self { identity, duration, observed: None, renewed: None }
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Until when this replica leads; rivals wait for the whole duration since they saw it change, so a write that is under way has the rest to end.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + self.duration * 4 / 5)
    }

    /// Pause after an attempt that succeeded, or that found another leader.
    pub(super) fn period(&self) -> Duration {
        if self.renewed.is_some() { self.duration / 3 } else { self.duration / 5 }
    }

    /// Pause after an attempt that failed.
    pub(super) fn retry(&self) -> Duration {
        self.duration / 15
    }

    /// How long one attempt may take. A connection that answers nothing must not keep a leader from trying another one.
    pub(super) fn patience(&self) -> Duration {
        self.duration / 5
    }

    /// What to do about the Lease as it was just read. `wall` is what this machine writes into it, for people.
    pub(super) fn step(&mut self, found: Option<Lease>, now: Instant, wall: Timestamp) -> Step {
        let Some(mut lease) = found else {
            self.renewed = None;
            return Step::Create(Lease { spec: Some(self.taken(None, wall)), ..Lease::default() });
        };
        if self.observed.as_ref().is_none_or(|(spec, _)| *spec != lease.spec) {
            self.observed = Some((lease.spec.clone(), now));
        }
        let holder = holder(&lease);
        if holder.is_some_and(|holder| holder == self.identity) {
            let mut spec = lease.spec.take().unwrap_or_default();
            spec.renew_time = Some(MicroTime(wall));
            spec.lease_duration_seconds = Some(self.seconds());
            lease.spec = Some(spec);
            return Step::Replace(lease);
        }
        self.renewed = None;
        let unchanged = self.observed.as_ref().map_or(Duration::ZERO, |(_, since)| now.duration_since(*since));
        if holder.is_some() && unchanged < self.duration {
            return Step::Follow;
        }
        lease.spec = Some(self.taken(lease.spec.as_ref(), wall));
        Step::Replace(lease)
    }

    /// The API server took what [`Self::step`] gave; the attempt was `begun` then.
    pub(super) fn holds(&mut self, lease: &Lease, begun: Instant) {
        self.observed = Some((lease.spec.clone(), begun));
        self.renewed = Some(begun);
    }

    /// The Lease as this replica leaves it, so that the next leader need not wait.
    pub(super) fn released(mut lease: Lease) -> Lease {
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
        lease.spec = Some(LeaseSpec { lease_transitions: transitions, ..LeaseSpec::default() });
        lease
    }

    fn taken(&self, before: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            lease_duration_seconds: Some(self.seconds()),
            lease_transitions: Some(before.and_then(|spec| spec.lease_transitions).unwrap_or(0).saturating_add(1)),
            ..LeaseSpec::default()
        }
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX)
    }
}

/// Who holds a Lease.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|identity| !identity.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn at(seconds: u64, start: Instant) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn held(step: Step) -> Lease {
        match step {
            Step::Create(lease) | Step::Replace(lease) => lease,
            Step::Follow => panic!("it follows"),
        }
    }

    /// A clock that is a minute ahead sees a `renewTime` that is a minute old; one that is behind sees one in the future.
    #[test]
    fn clocks_that_differ_steal_no_lease() {
        for skew in [-60, 60] {
            let start = Instant::now();
            let mut leader = Candidate::new("leader".into(), DURATION);
            let mut rival = Candidate::new("rival".into(), DURATION);
            let mut lease = held(leader.step(None, start, wall(0)));
            leader.holds(&lease, start);
            for second in (0..120).step_by(5) {
                lease = held(leader.step(Some(lease), at(second, start), wall(i64::try_from(second).unwrap())));
                leader.holds(&lease, at(second, start));
                let step =
                    rival.step(Some(lease.clone()), at(second, start), wall(i64::try_from(second).unwrap() + skew));
                assert_eq!(step, Step::Follow, "skew {skew}, second {second}");
            }
        }
    }

    #[test]
    fn lease_that_no_longer_changes_is_taken_after_its_duration_only() {
        let start = Instant::now();
        let mut leader = Candidate::new("leader".into(), DURATION);
        let lease = held(leader.step(None, start, wall(0)));
        leader.holds(&lease, start);
        let mut rival = Candidate::new("rival".into(), DURATION);
        // Its age does not count, however old it says that it is: the rival has just begun to look.
        assert_eq!(rival.step(Some(lease.clone()), at(100, start), wall(1000)), Step::Follow);
        assert_eq!(rival.step(Some(lease.clone()), at(114, start), wall(1014)), Step::Follow);
        let taken = held(rival.step(Some(lease.clone()), at(115, start), wall(1015)));
        assert_eq!(holder(&taken), Some("rival"));
        assert_eq!(taken.spec.as_ref().unwrap().lease_transitions, Some(2));
        // The old leader has stopped to believe in itself long before anybody could take over, and sees who leads.
        assert!(leader.leads_until().unwrap() < at(15, start));
        assert_eq!(leader.step(Some(taken), at(116, start), wall(1016)), Step::Follow);
        assert_eq!(leader.leads_until(), None);
    }

    #[test]
    fn released_lease_is_taken_at_once() {
        let start = Instant::now();
        let mut leader = Candidate::new("leader".into(), DURATION);
        let lease = held(leader.step(None, start, wall(0)));
        let mut rival = Candidate::new("rival".into(), DURATION);
        assert_eq!(rival.step(Some(lease.clone()), start, wall(0)), Step::Follow);
        let left = Candidate::released(lease);
        assert_eq!(holder(&left), None);
        assert_eq!(holder(&held(rival.step(Some(left), at(1, start), wall(1)))), Some("rival"));
    }

    #[test]
    fn what_is_replaced_carries_the_version_that_was_seen() {
        let mut candidate = Candidate::new("one".into(), DURATION);
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some("17".into());
        let taken = held(candidate.step(Some(lease), Instant::now(), wall(0)));
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("17"));
    }
}
