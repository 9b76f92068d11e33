//! When gateways are added because of what they refuse, and when that would not help.
//!
//! Owns `spec/collectors-and-pipelines.md` 6.2 (ours 1, 3, 4): the decision over what gateways say of themselves, round by
//! round. The result is a floor under the replicas of the HorizontalPodAutoscaler, which stays the only one that scales. Never
//! asks a gateway, never writes: readings and the time come in.
//!
//! A gateway whose memory limiter or whose full queues turn items away counts them as refused by its receivers. Whether that
//! is the gateway's fault or a destination's is known from the exporters: what they send against what they give up or find no
//! room for.

pub mod custom_metrics;
pub mod figures;
pub mod hpa;
pub mod pods;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use odigos_api::collectors_group::{GatewayLoad, StreamClass};
use odigos_api::condition::{ConditionDraft, kind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds in a row after which a state is believed.
const ROUNDS: u32 = 2;
/// Rounds without refusals after which `ItemsRefused` is taken back.
const QUIET_ROUNDS: u32 = 6;
/// Rounds without a sign of a blocked exporter after which it is forgotten although it sends nothing.
const FORGOTTEN_ROUNDS: u32 = 30;
/// Rounds in which no gateway answers at all before that is reported; new ones start meanwhile.
const UNHEARD_ROUNDS: u32 = 12;
/// How full a queue is that counts as full (6.2, ours 3).
const FULL: f64 = 0.7;
/// How many gateways are added at once.
const STEP: i32 = 2;
/// How long a floor holds.
const LEASE: SignedDuration = SignedDuration::from_mins(15);
/// When less than this is left of it and gateways still refuse, it is renewed.
const RENEWAL: SignedDuration = SignedDuration::from_mins(10);
/// How long added gateways get to take their share before more are added: node collectors open new connections within 25 s.
const SETTLING: SignedDuration = SignedDuration::from_secs(60);

/// Seconds by which a collector's uptime may lag behind the time between two readings without a new start.
const CLOCK_ERROR: f64 = 3.0;

/// What one gateway counted since it started.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// When it was asked.
    pub at: Timestamp,
    /// Seconds since its collector started; 0 if it does not tell.
    pub uptime: f64,
    /// Items that its receivers took.
    pub accepted: f64,
    /// Items that its receivers turned away, whatever the reason.
    pub refused: f64,
    /// Items that its memory limiter turned away.
    pub refused_for_memory: f64,
    /// Its exporters by component id.
    pub exporters: BTreeMap<String, ExporterReading>,
    /// Items that passed the pipelines of streams and of stream classes, by the pipeline's name behind the signal.
    pub pipelines: BTreeMap<String, f64>,
}

/// What one exporter counted since its gateway started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExporterReading {
    /// Items that were taken.
    pub sent: f64,
    /// Items that were given up.
    pub failed: f64,
    /// Items for which the queue had no room.
    pub not_queued: f64,
    /// How full its fullest queue is, from 0 to 1.
    pub queue: f64,
}

/// A gateway pod that runs and is not going.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// What it answered; none if it did not.
    pub reading: Option<Reading>,
    /// Whether its collector was ended for its memory just now.
    pub out_of_memory: bool,
}

/// What a round sees.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Gateway pods by name.
    pub pods: &'a BTreeMap<String, Pod>,
    /// Destination by exporter; exporters that belong to none are passed over.
    pub destinations: &'a BTreeMap<String, String>,
    /// Stream classes of these gateways.
    pub classes: &'a [StreamClass],
    /// Fewest and most replicas by the configuration.
    pub bounds: (i32, i32),
    /// Replicas that are wanted now.
    pub current: i32,
    /// Whether the HorizontalPodAutoscaler reads what gateways refuse by itself, so that no floor is needed.
    pub is_read: bool,
}

/// A floor under the gateway's replicas for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hint {
    /// Fewest replicas meanwhile.
    pub min_replicas: i32,
    /// When it ends.
    pub until: Timestamp,
}

/// What is remembered from round to round, and what was concluded from the last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The floor that is in force.
    pub hint: Option<Hint>,
    /// Figures for people, renewed once a minute.
    pub load: Option<GatewayLoad>,
    /// How many gateways there are, how many of them refuse, and how many do not answer.
    pub counts: Counts,
    load_at: Option<Timestamp>,
    raised_at: Option<Timestamp>,
    readings: BTreeMap<String, Reading>,
    /// Rounds in a row in which at least half of the gateways refused, and in which they did not.
    refusing: u32,
    quiet: u32,
    /// Rounds in a row in which they refused and no destination was the cause.
    overloaded: u32,
    /// Whether the refusals are told of.
    told: bool,
    cause: Cause,
    blocked: BTreeMap<String, Streak>,
    /// Rounds in a row in which no gateway answered although some run.
    unheard: u32,
}

/// Gateways by how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that run.
    pub all: usize,
    /// Those that refuse items or ran out of memory.
    pub refusing: usize,
    /// Those that do not answer.
    pub silent: usize,
}

/// Why gateways refuse, and what is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cause {
    /// They are too few; more are asked for.
    #[default]
    TooFew,
    /// They are too few, and as many as may be.
    AtMaximum,
    /// Destinations hold them up.
    Destinations,
}

/// How long an exporter has been blocked or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Streak {
    blocked: u32,
    clear: u32,
    idle: u32,
    told: bool,
}

/// What changed in one gateway between two readings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth<'a> {
    pub(crate) seconds: f64,
    pub(crate) accepted: f64,
    pub(crate) refused: f64,
    pub(crate) exporters: BTreeMap<&'a str, ExporterReading>,
    pub(crate) pipelines: BTreeMap<&'a str, f64>,
}

fn growth<'a>(before: &Reading, now: &'a Reading) -> Option<Growth<'a>> {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    if seconds <= 0.0 {
        return None;
    }
    // A collector that began again counts from zero; so does a counter that is smaller than before.
    let restarted = now.uptime > 0.0 && now.uptime + CLOCK_ERROR < before.uptime + seconds;
    let grown = |before: f64, now: f64| if restarted || now < before { now } else { now - before };
    let none = ExporterReading::default();
    let exporters = now.exporters.iter().map(|(id, now)| {
        let before = before.exporters.get(id).unwrap_or(&none);
        let growth = ExporterReading {
            sent: grown(before.sent, now.sent),
            failed: grown(before.failed, now.failed),
            not_queued: grown(before.not_queued, now.not_queued),
            queue: now.queue,
        };
        (id.as_str(), growth)
    });
    // Receivers count what the memory limiter refuses too; items of scrapers pass no receiver that counts.
    let refused = grown(before.refused, now.refused).max(grown(before.refused_for_memory, now.refused_for_memory));
    let accepted = grown(before.accepted, now.accepted);
    let before_of = |name: &String| before.pipelines.get(name).copied().unwrap_or_default();
    let pipelines = now.pipelines.iter().map(|(name, count)| (name.as_str(), grown(before_of(name), *count)));
    let (exporters, pipelines) = (exporters.collect(), pipelines.collect());
    Some(Growth { seconds, accepted, refused, exporters, pipelines })
}

/// Whether an exporter is held up: there are signs of it, and no more gets through than is lost.
fn is_blocked(one: &ExporterReading) -> bool {
    let lost = one.failed + one.not_queued;
    (one.queue >= FULL || lost > 0.0) && lost >= one.sent
}

fn is_active(one: &ExporterReading) -> bool {
    one.sent > 0.0 || one.failed > 0.0 || one.not_queued > 0.0 || one.queue > 0.0
}

/// At least half; of none, none is half.
fn is_half(part: usize, all: usize) -> bool {
    part > 0 && part * 2 >= all
}

impl Memory {
    /// A memory that begins with the floor that stands in the cluster, e.g. after another replica has taken the lead.
    #[must_use]
    pub fn beginning_with(hint: Option<Hint>) -> Self {
        Self { hint, ..Self::default() }
    }

    /// Takes in a round.
    #[must_use]
    pub fn after(&self, seen: &Seen<'_>, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.hint = self.hint.filter(|hint| hint.until > now);
        let growths: BTreeMap<&str, Growth<'_>> = seen
            .pods
            .iter()
            .filter_map(|(name, pod)| Some((name.as_str(), growth(self.readings.get(name)?, pod.reading.as_ref()?)?)))
            .collect();
        let refusing: BTreeSet<&str> = seen
            .pods
            .iter()
            .filter(|(name, pod)| {
                pod.out_of_memory || growths.get(name.as_str()).is_some_and(|growth| growth.refused > 0.0)
            })
            .map(|(name, _)| name.as_str())
            .collect();
        next.counts = Counts {
            all: seen.pods.len(),
            refusing: refusing.len(),
            silent: seen.pods.values().filter(|pod| pod.reading.is_none()).count(),
        };
        let unheard = refusing.is_empty() && next.counts.all > 0 && next.counts.silent == next.counts.all;
        next.unheard = if unheard { self.unheard + 1 } else { 0 };
        // A pod that does not answer once is compared with what it said before; one that is gone is forgotten.
        next.readings.retain(|name, _| seen.pods.contains_key(name));
        let fresh = seen.pods.iter().filter_map(|(name, pod)| Some((name.clone(), pod.reading.clone()?)));
        next.readings.extend(fresh);
        if growths.is_empty() && refusing.is_empty() {
            // Nobody answers, or nobody can be compared yet: nothing is known, so nothing changes.
            return next;
        }
        next.note_exporters(&growths, seen.destinations);
        next.note_refusals(&refusing, &growths, seen);
        next.ask_for_more(seen, now);
        if !growths.is_empty() && self.load_at.is_none_or(|at| now.duration_since(at) >= figures::RENEWAL) {
            next.load = Some(figures::load(seen, &growths));
            next.load_at = Some(now);
        }
        next
    }

    /// Which destinations are held up, with the patience of some rounds in both directions.
    fn note_exporters(&mut self, growths: &BTreeMap<&str, Growth<'_>>, destinations: &BTreeMap<String, String>) {
        // By destination: gateways in which it is blocked, in which it is used, and whether anything gets through.
        let mut seen: BTreeMap<&str, (usize, usize, bool)> = BTreeMap::new();
        for growth in growths.values() {
            let mut here: BTreeMap<&str, (bool, bool, bool)> = BTreeMap::new();
            for (exporter, one) in &growth.exporters {
                let Some(destination) = destinations.get(*exporter) else { continue };
                let entry = here.entry(destination).or_default();
                *entry = (entry.0 || is_blocked(one), entry.1 || is_active(one), entry.2 || one.sent > 0.0);
            }
            for (destination, (blocked, active, sends)) in here {
                let entry = seen.entry(destination).or_default();
                *entry = (entry.0 + usize::from(blocked), entry.1 + usize::from(active), entry.2 || sends);
            }
        }
        self.blocked.retain(|destination, _| destinations.values().any(|one| one == destination));
        for (destination, (blocked, active, sends)) in seen {
            let streak = self.blocked.entry(destination.to_owned()).or_default();
            *streak = match (is_half(blocked, active), sends) {
                (true, _) => Streak { blocked: streak.blocked + 1, clear: 0, idle: 0, told: streak.told },
                (false, true) => Streak { blocked: 0, clear: streak.clear + 1, idle: 0, told: streak.told },
                (false, false) => Streak { blocked: 0, clear: 0, idle: streak.idle + 1, told: streak.told },
            };
            streak.told = match streak.told {
                false => streak.blocked >= ROUNDS,
                true => streak.clear < ROUNDS && streak.idle < FORGOTTEN_ROUNDS,
            };
        }
        self.blocked.retain(|_, streak| streak.told || streak.blocked > 0);
    }

    fn note_refusals(&mut self, refusing: &BTreeSet<&str>, growths: &BTreeMap<&str, Growth<'_>>, seen: &Seen<'_>) {
        if !is_half(refusing.len(), seen.pods.len()) {
            (self.refusing, self.overloaded, self.quiet) = (0, 0, self.quiet + 1);
            self.told = self.told && self.quiet < QUIET_ROUNDS;
            return;
        }
        (self.refusing, self.quiet) = (self.refusing + 1, 0);
        self.told = self.told || self.refusing >= ROUNDS;
        let of_destination = |id: &str| seen.destinations.contains_key(id);
        let held_up = refusing.iter().filter(|name| {
            let exporters = growths.get(**name).into_iter().flat_map(|growth| &growth.exporters);
            exporters.into_iter().any(|(id, one)| of_destination(id) && is_blocked(one))
        });
        (self.cause, self.overloaded) = match is_half(held_up.count(), refusing.len()) {
            true => (Cause::Destinations, 0),
            false => (Cause::TooFew, self.overloaded + 1),
        };
    }

    /// Raises or renews the floor.
    fn ask_for_more(&mut self, seen: &Seen<'_>, now: Timestamp) {
        if self.overloaded < ROUNDS {
            return;
        }
        let (least, most) = seen.bounds;
        if seen.is_read {
            // The autoscaler adds gateways by the metric; a floor beside it would add twice. One that stands runs out.
            self.cause = if seen.current >= most { Cause::AtMaximum } else { Cause::TooFew };
            return;
        }
        let floor = self.hint.map_or(least, |hint| hint.min_replicas.max(least)).min(most);
        let wanted = seen.current.saturating_add(STEP).min(most);
        // Gateways that were asked for and do not run yet cannot have helped yet.
        let has_come = i32::try_from(seen.pods.len()).is_ok_and(|pods| pods >= floor);
        let has_settled = self.raised_at.is_none_or(|at| now.duration_since(at) >= SETTLING);
        if wanted > floor && has_come && has_settled {
            self.hint = Some(Hint { min_replicas: wanted, until: now + LEASE });
            self.raised_at = Some(now);
        } else if let Some(hint) = &mut self.hint
            && hint.until.duration_since(now) < RENEWAL
        {
            hint.until = now + LEASE;
        }
        let floor = self.hint.map_or(floor, |hint| hint.min_replicas);
        self.cause = if floor >= most && seen.current >= most { Cause::AtMaximum } else { Cause::TooFew };
    }

    /// Whether at least half of the gateways refuse because they are too few, two rounds in a row; none while nothing is known.
    /// Where none runs, or none answers, nobody is known to refuse.
    #[must_use]
    pub fn are_too_few(&self) -> Option<bool> {
        if self.refusing + self.quiet + self.unheard == 0 {
            return None;
        }
        Some(self.overloaded >= ROUNDS && self.unheard == 0 && self.counts.all > 0)
    }

    /// Destinations that are held up, by name.
    #[must_use]
    pub fn held_up(&self) -> Vec<&str> {
        self.blocked.iter().filter(|(_, streak)| streak.told).map(|(name, _)| name.as_str()).collect()
    }

    /// `ItemsRefused` and `DestinationBackpressure`; none before two rounds could be compared, so that what stands in the
    /// status stays. Messages change only when something else is so.
    #[must_use]
    pub fn conditions(&self) -> Vec<ConditionDraft> {
        if self.unheard >= UNHEARD_ROUNDS {
            let message = "No gateway answers on its metrics port, so it is unknown what they reject: only CPU and memory decide. Allow odigos-autoscaler to reach that port of gateways: 8889, or 8888 where their image is none of this release's.";
            return vec![ConditionDraft::unknown(kind::ITEMS_REFUSED, "GatewaysDoNotAnswer", message)];
        }
        if self.refusing + self.quiet < ROUNDS && !self.told {
            return Vec::new();
        }
        let held_up = self.held_up().join(", ");
        let backpressure = if held_up.is_empty() {
            ConditionDraft::no(
                kind::DESTINATION_BACKPRESSURE,
                "DestinationsKeepUp",
                "Destinations take what is sent to them.",
            )
        } else {
            ConditionDraft::yes(
                kind::DESTINATION_BACKPRESSURE,
                "DestinationsFail",
                format!(
                    "Gateways cannot send to {held_up}: attempts fail, or nothing is taken and the queues fill up. More gateways would not help, so none are added for it. Look at the backend, and at what gateways log about it."
                ),
            )
        };
        vec![self.refusals(), backpressure]
    }

    fn refusals(&self) -> ConditionDraft {
        const KIND: &str = kind::ITEMS_REFUSED;
        const HALF: &str = "At least half of the gateways refuse items; senders keep them and try again";
        let floor =
            self.hint.map(|hint| format!("at least {} gateways run until {:.0}", hint.min_replicas, hint.until));
        match (self.told, self.cause, floor) {
            (false, _, None) => ConditionDraft::no(KIND, "NothingRefused", "Gateways take what they are sent."),
            (false, _, Some(floor)) => {
                ConditionDraft::no(KIND, "GatewaysAdded", format!("Gateways take what they are sent; {floor}."))
            }
            (true, Cause::Destinations, _) => ConditionDraft::yes(
                KIND,
                "DestinationBackpressure",
                format!(
                    "{HALF}. Destinations hold them up, see the condition DestinationBackpressure; no gateways are added."
                ),
            ),
            (true, Cause::AtMaximum, _) => ConditionDraft::yes(
                KIND,
                "AtMaximum",
                format!(
                    "{HALF}. As many gateways run as may: raise collectorGateway.maxReplicas, choose a larger resourceSizePreset, or send less."
                ),
            ),
            (true, Cause::TooFew, Some(floor)) => {
                ConditionDraft::yes(KIND, "GatewaysAdded", format!("{HALF}. Therefore {floor}."))
            }
            (true, Cause::TooFew, None) => ConditionDraft::yes(KIND, "Refusing", format!("{HALF}.")),
        }
    }
}
