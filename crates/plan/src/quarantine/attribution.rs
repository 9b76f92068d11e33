//! Which object is quarantined when collectors do not start.
//!
//! Owns the order of suspicion and the second look. One object goes at a time: first what the collector names as its subject if that is new,
//! then what is new since the configuration that serves, and last what the collector names although it started before. The next start
//! without it confirms the choice, or takes it back. So a message that was made to name others costs them one start that served nobody.
//! Where collectors run out of memory without each of the new ones as well, none of these stays out.

use super::{Candidates, Quarantined, RETRY_AFTER};
use crate::gateway::destinations::without_queue;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Collectors that did not start, and what is known about that.
#[derive(Debug)]
pub struct StartFailure<'a> {
    /// What may be quarantined, by its name in the store, with its fingerprint.
    pub candidates: &'a Candidates,
    /// What is remembered.
    pub store: &'a BTreeMap<String, Quarantined>,
    /// What the collector wrote.
    pub text: &'a str,
    /// The component that the collector named as its subject.
    pub subject: Option<&'a str>,
    /// Components of the configuration that did not start: owner and settings by id.
    pub components: &'a BTreeMap<String, (String, Value)>,
    /// The configuration that serves meanwhile, if any does; where collectors run out of memory, the one before.
    pub serving: Option<&'a Value>,
    /// Collectors ran out of memory before they were ready.
    pub is_out_of_memory: bool,
    /// What is not left out for memory ([`super::masks`]).
    pub masks: &'a BTreeSet<String>,
    /// The time.
    pub now: Timestamp,
}

impl StartFailure<'_> {
    /// Entries of the store that change: one object that goes, and what comes back.
    #[must_use]
    pub fn attribute(&self) -> BTreeMap<String, Quarantined> {
        let is_out = |owner: &str| matches!(self.state(owner), Some(State::Unconfirmed | State::Confirmed));
        if self.components.values().any(|(owner, _)| is_out(owner)) {
            // The store is newer than this configuration: the next one is rendered without it.
            return BTreeMap::new();
        }
        let subject = self.subject.and_then(|id| Some(&self.components.get(id)?.0));
        let subject = subject.filter(|owner| self.is_candidate(owner));
        let changed = self.changed();
        let is_new = |owner: &&String| self.serving.is_none() || changed.contains(*owner);
        if let Some(owner) = subject.filter(is_new).filter(|owner| self.state(owner) == Some(State::Acquitted)) {
            // A start without it failed too, and it is named again: more than one is broken.
            return [self.entry(owner, true)].into();
        }
        let mut order: Vec<&String> = Vec::new();
        order.extend(subject.filter(is_new));
        order.extend(&changed);
        order.extend(subject);
        let Some(first) = order.into_iter().find(|owner| self.state(owner).is_none()) else {
            if self.is_out_of_memory {
                return self.acquitted();
            }
            // Each of them was out alone, and that was not enough.
            let all: Vec<&String> =
                if changed.is_empty() { subject.into_iter().collect() } else { changed.iter().collect() };
            let mut entries = self.acquitted();
            entries.extend(all.into_iter().map(|owner| self.entry(owner, true)));
            return if changed.is_empty() && subject.is_none() { BTreeMap::new() } else { entries };
        };
        let mut entries = self.acquitted();
        entries.extend([self.entry(first, false)]);
        entries
    }

    fn is_candidate(&self, owner: &str) -> bool {
        self.candidates.contains_key(owner) && !(self.is_out_of_memory && self.masks.contains(owner))
    }

    /// What was out while the start failed all the same.
    fn acquitted(&self) -> BTreeMap<String, Quarantined> {
        let is_open = |name: &String| self.state(name) == Some(State::Unconfirmed);
        let open = self.store.iter().filter(|(name, _)| is_open(name));
        open.map(|(name, entry)| (name.clone(), Quarantined { is_acquitted: true, ..entry.clone() })).collect()
    }

    fn entry(&self, name: &str, is_confirmed: bool) -> (String, Quarantined) {
        let fingerprint = self.candidates.get(name).cloned().unwrap_or_default();
        let entry = Quarantined {
            fingerprint,
            said: self.text.to_owned(),
            since: self.now,
            is_confirmed,
            is_acquitted: false,
            is_out_of_memory: self.is_out_of_memory,
        };
        (name.to_owned(), entry)
    }

    fn state(&self, name: &str) -> Option<State> {
        let entry = self.store.get(name)?;
        let is_same = self.candidates.get(name) == Some(&entry.fingerprint);
        if !is_same || self.now.duration_since(entry.since) >= RETRY_AFTER {
            return None;
        }
        Some(match entry {
            Quarantined { is_acquitted: true, .. } => State::Acquitted,
            Quarantined { is_confirmed: true, .. } => State::Confirmed,
            _ => State::Unconfirmed,
        })
    }

    /// Owners of components that the serving configuration has not, or not in this form; nobody's where none serves.
    fn changed(&self) -> BTreeSet<String> {
        let Some(serving) = self.serving else { return BTreeSet::new() };
        let is_known = |id: &str, settings: &Value| {
            let sections = ["exporters", "processors", "extensions", "connectors"];
            let of = |section: &&str| serving.get(section)?.get(id).map(without_queue);
            sections.iter().filter_map(of).any(|before| before == without_queue(settings))
        };
        let changed = self.components.iter().filter(|(id, (_, settings))| !is_known(id, settings));
        let owners = changed.map(|(_, (owner, _))| owner).filter(|owner| self.is_candidate(owner));
        owners.cloned().collect()
    }
}

/// What is remembered of an object that was quarantined and not changed since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Out, and no start without it was seen yet.
    Unconfirmed,
    /// Out, and collectors start without it.
    Confirmed,
    /// In again: collectors did not start without it either.
    Acquitted,
}

/// Entries that a start of collectors without these objects confirms; where memory was short, only once they have run for a while.
#[must_use]
pub fn confirmed(
    store: &BTreeMap<String, Quarantined>,
    candidates: &Candidates,
    has_settled: bool,
) -> BTreeMap<String, Quarantined> {
    let is_open = |(name, entry): &(&String, &Quarantined)| {
        let is_asked = !entry.is_confirmed && !entry.is_acquitted && (has_settled || !entry.is_out_of_memory);
        is_asked && candidates.get(*name) == Some(&entry.fingerprint)
    };
    let open = store.iter().filter(is_open);
    open.map(|(name, entry)| (name.clone(), Quarantined { is_confirmed: true, ..entry.clone() })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Collectors that do not start while one of `broken` is in their configuration, and name what `names` says.
    struct Lab {
        candidates: Candidates,
        store: BTreeMap<String, Quarantined>,
        all: BTreeMap<String, (String, Value)>,
        serving: Option<Value>,
        is_out_of_memory: bool,
        masks: BTreeSet<String>,
    }

    impl Lab {
        fn new(names: &[&str], serving: Option<&[&str]>) -> Self {
            let component = |name: &str| (format!("otlp_http/{name}"), (name.to_owned(), json!({"endpoint": name})));
            let exporters = |names: &[&str]| -> Value {
                names.iter().map(|name| (format!("otlp_http/{name}"), json!({"endpoint": name}))).collect()
            };
            Self {
                candidates: names.iter().map(|name| ((*name).to_owned(), "f".to_owned())).collect(),
                store: BTreeMap::new(),
                all: names.iter().map(|name| component(name)).collect(),
                serving: serving.map(|names| json!({"exporters": exporters(names)})),
                is_out_of_memory: false,
                masks: BTreeSet::new(),
            }
        }

        fn out(&self) -> Vec<&str> {
            let out = super::super::in_force(&self.store, &self.candidates, Timestamp::UNIX_EPOCH);
            self.store.keys().map(String::as_str).filter(|name| out.contains_key(*name)).collect()
        }

        /// Starts until collectors run, at most eight times; what was out at each start.
        fn run(&mut self, names: impl Fn(&[&str]) -> Option<&'static str>) -> Vec<Vec<String>> {
            let mut starts = Vec::new();
            for _ in 0..8 {
                let out: Vec<String> = self.out().into_iter().map(str::to_owned).collect();
                starts.push(out.clone());
                let components: BTreeMap<_, _> = self
                    .all
                    .iter()
                    .filter(|(_, (owner, _))| !out.contains(owner))
                    .map(|(id, one)| (id.clone(), one.clone()))
                    .collect();
                let present: Vec<&str> = components.values().map(|(owner, _)| owner.as_str()).collect();
                let Some(named) = names(&present) else {
                    self.store.extend(confirmed(&self.store, &self.candidates, true));
                    return starts;
                };
                let id = format!("otlp_http/{named}");
                let failure = StartFailure {
                    candidates: &self.candidates,
                    store: &self.store,
                    text: "no",
                    subject: Some(id.as_str()).filter(|_| !named.is_empty()),
                    components: &components,
                    serving: self.serving.as_ref(),
                    is_out_of_memory: self.is_out_of_memory,
                    masks: &self.masks,
                    now: Timestamp::UNIX_EPOCH,
                };
                let entries = failure.attribute();
                self.store.extend(entries);
            }
            starts
        }
    }

    #[test]
    fn named_object_goes_alone() {
        let mut lab = Lab::new(&["a", "b", "evil"], Some(&["a", "b"]));
        let starts = lab.run(|present| present.contains(&"evil").then_some("evil"));
        assert_eq!(starts, [vec![], vec!["evil".to_owned()]]);
        assert!(lab.store["evil"].is_confirmed);
        let mut first = Lab::new(&["a", "b"], None);
        first.run(|present| present.contains(&"b").then_some("b"));
        assert_eq!(first.out(), ["b"], "where none serves yet, the subject is all that is known");
    }

    /// H2: what an attacker's message names stays, since it started before.
    #[test]
    fn forged_names_quarantine_the_forger() {
        let mut lab = Lab::new(&["evil", "payments", "team"], Some(&["payments", "team"]));
        let starts = lab.run(|present| present.contains(&"evil").then_some("payments"));
        assert_eq!(starts, [vec![], vec!["evil".to_owned()]]);
        // Even if it started before and fails now: nobody else is out when collectors run.
        let mut old = Lab::new(&["evil", "payments", "team"], Some(&["evil", "payments", "team"]));
        old.run(|present| {
            present.contains(&"evil").then(|| if present.contains(&"payments") { "payments" } else { "evil" })
        });
        assert_eq!(old.out(), ["evil"]);
    }

    #[test]
    fn several_broken_objects_are_found_one_after_another() {
        let mut lab = Lab::new(&["a", "b", "c", "d"], Some(&["d"]));
        let broken = ["a", "c"];
        let starts = lab.run(|present| broken.into_iter().find(|one| present.contains(one)));
        assert_eq!(lab.out(), broken, "{starts:?}");
        assert!(starts.windows(2).all(|pair| pair[1].len() <= pair[0].len() + 1), "{starts:?}");
    }

    #[test]
    fn forgers_that_work_together_go_together() {
        let mut lab = Lab::new(&["evil", "forger", "payments"], Some(&["payments"]));
        lab.run(|present| (present.contains(&"evil") || present.contains(&"forger")).then_some("payments"));
        assert_eq!(lab.out(), ["evil", "forger"]);
    }

    #[test]
    fn unnamed_failure_tries_what_is_new_one_at_a_time() {
        let mut lab = Lab::new(&["a", "b", "c", "d"], Some(&["d"]));
        let starts = lab.run(|present| present.contains(&"c").then_some(""));
        assert_eq!(lab.out(), ["c"], "{starts:?}");
        assert!(starts.iter().all(|out| out.len() <= 1), "{starts:?}");
        let mut unchanged = Lab::new(&["a", "b"], Some(&["a", "b"]));
        unchanged.run(|_| Some(""));
        assert_eq!(unchanged.out(), Vec::<&str>::new(), "there is no candidate");
    }

    #[test]
    fn what_takes_all_memory_goes_and_load_takes_nothing_out() {
        let names = ["a", "b", "heavy", "payments"];
        let mut lab = Lab { is_out_of_memory: true, ..Lab::new(&names, Some(&["payments"])) };
        let starts = lab.run(|present| present.contains(&"heavy").then_some(""));
        assert_eq!(lab.out(), ["heavy"], "{starts:?}");
        assert!(starts.iter().all(|out| out.len() <= 1 && !out.contains(&"payments".to_owned())), "{starts:?}");
        // Whatever is left out, they run out of memory.
        let mut load = Lab { is_out_of_memory: true, ..Lab::new(&names, Some(&["payments"])) };
        load.run(|_| Some(""));
        assert_eq!(load.out(), Vec::<&str>::new());
        let mut old = Lab { is_out_of_memory: true, ..Lab::new(&names, None) };
        old.run(|_| Some(""));
        assert!(old.store.is_empty(), "no object is suspected when none is known to be new");
    }

    /// Without a mask, what it hides would be exported.
    #[test]
    fn mask_that_takes_all_memory_is_not_left_out() {
        let mut lab = Lab { is_out_of_memory: true, ..Lab::new(&["mask", "other", "payments"], Some(&["payments"])) };
        lab.masks = ["mask".to_owned()].into();
        let starts = lab.run(|present| present.contains(&"mask").then_some(""));
        assert!(starts.iter().all(|out| !out.contains(&"mask".to_owned())), "{starts:?}");
        assert_eq!(lab.out(), Vec::<&str>::new(), "and nothing else in its place");
        // What collectors name that do not start with it is another matter.
        let mut broken = Lab { masks: lab.masks.clone(), ..Lab::new(&["mask", "payments"], Some(&["payments"])) };
        broken.run(|present| present.contains(&"mask").then_some("mask"));
        assert_eq!(broken.out(), ["mask"]);
    }

    #[test]
    fn memory_is_confirmed_when_collectors_have_run_for_a_while_and_forgotten_after_that() {
        let names = ["heavy", "payments"];
        let mut lab = Lab { is_out_of_memory: true, ..Lab::new(&names, Some(&["payments"])) };
        lab.run(|present| present.contains(&"heavy").then_some(""));
        let open = Quarantined { is_confirmed: false, ..lab.store["heavy"].clone() };
        let store = BTreeMap::from([("heavy".to_owned(), open)]);
        assert!(confirmed(&store, &lab.candidates, false).is_empty());
        assert_eq!(confirmed(&store, &lab.candidates, true).len(), 1);
        // It is tried again after a while, and suspected again only where it is new.
        lab.serving = None;
        for entry in lab.store.values_mut() {
            entry.since = Timestamp::UNIX_EPOCH - RETRY_AFTER;
        }
        lab.run(|present| present.contains(&"heavy").then_some(""));
        assert_eq!(lab.out(), Vec::<&str>::new(), "what was suspected once is no more suspect than others");
    }
}
