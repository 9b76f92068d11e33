//! Ids, collisions, limits, and how classes come and go.

use super::*;
use crate::streams::refusals;

fn set(names: &[&str]) -> StreamSet {
    names.iter().map(ToString::to_string).collect()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn usage(sets: &[&[&str]]) -> Usage {
    let mut usage = Usage::default();
    sets.iter().for_each(|names| usage.add("shop", set(names)));
    usage
}

fn existing<'a>(carried: &'a BTreeSet<String>, current: &'a [StreamClass]) -> Existing<'a> {
    Existing { carried, current, drain: DRAIN_PERIOD, quota: usize::MAX }
}

fn fresh(usage: &Usage) -> ClassPlan {
    plan_classes(usage, &existing(&BTreeSet::new(), &[]), at(0))
}

fn gateway(classes: &[StreamClass], served: &[String]) -> CollectorsGroup {
    let mut group = crate::fixtures::collectors_group("odigos-gateway", serde_json::json!({"streamClasses": classes}));
    group.status.get_or_insert_default().served_stream_classes = served.to_vec();
    group
}

#[test]
fn class_ids_are_fixed() {
    assert_eq!(class_id(&set(&[])), "void");
    assert_eq!(class_id(&set(&["default"])), "default");
    // printf 'a,b' | sha256sum
    assert_eq!(class_id(&set(&["b", "a"])), "c1eb7c54d52831bbfe8942af0b1c56b74");
    assert_eq!(earlier_class_id(&set(&["b", "a"])), "c1eb7c54d");
    assert_ne!(class_id(&set(&["a"])), class_id(&set(&["b"])));
}

/// A stream name was searched for half an hour to get these two the same 32 bits.
#[test]
fn sets_that_had_one_id_have_a_class_each() {
    let (attacker, victim) = (set(&["team-a", "xb2f501fe6"]), set(&["payments"]));
    assert_eq!(earlier_class_id(&attacker), earlier_class_id(&victim));
    let both = usage(&[&["team-a", "xb2f501fe6"], &["payments"]]);
    let plan = fresh(&both);
    let sets: Vec<StreamSet> = plan.classes.iter().map(|class| class.streams.iter().cloned().collect()).collect();
    assert!(sets.len() == 2 && sets.contains(&attacker) && sets.contains(&victim), "{sets:?}");
    assert_eq!(plan.refused, BTreeMap::new());
    // Pods of the release before carry an id that fits both, and the gateway does not know which it was: it leads nowhere.
    let carried: BTreeSet<String> = [earlier_class_id(&victim)].into();
    let plan = plan_classes(&both, &existing(&carried, &[]), at(0));
    assert_eq!(plan.classes.len(), 2);
    assert!(plan.classes.iter().all(|class| class.id.len() == 33));
}

#[test]
fn colliding_set_is_refused_and_reported_whoever_comes_first() {
    let same = |_: &StreamSet| "c00000000000000000000000000000000".to_owned();
    let both = usage(&[&["a"], &["b"]]);
    for (held, other) in [("a", "b"), ("b", "a")] {
        let current = [StreamClass { id: same(&set(&[])), streams: vec![held.to_owned()], retired_at: None }];
        let plan = plan_with(&both, &existing(&BTreeSet::new(), &current), at(0), &same);
        assert_eq!(plan.classes, current, "who has it keeps it");
        assert!(matches!(&plan.refused[&set(&[other])], Refusal::Collision { other, .. } if *other == [held]));
        let found = refusals::findings(&plan.refused);
        assert!(found.len() == 1 && found[0].message.contains("belongs to another set of streams"), "{found:?}");
        let conditions = refusals::conditions(&plan.refused);
        assert_eq!(conditions.keys().collect::<Vec<_>>(), [other]);
        assert_eq!(conditions[other].reason, "StreamClassCollision");
    }
    // A class that drains is not handed to another set either.
    let draining = [StreamClass { id: same(&set(&[])), streams: vec!["z".into()], retired_at: Some(Time(at(0))) }];
    let plan = plan_with(&usage(&[&["a"]]), &existing(&BTreeSet::new(), &draining), at(1), &same);
    assert!(plan.classes == draining && plan.refused.contains_key(&set(&["a"])));
    // Even where a gateway serves the id, it is not given to the workloads of another set.
    let id = class_id(&set(&["a"]));
    let foreign = [StreamClass { id: id.clone(), streams: vec!["b".into()], retired_at: None }];
    let foreign = gateway(&foreign, &[id]);
    assert_eq!(assign(&set(&["a"]), None, Some(&foreign), true).as_deref(), Some("void"));
    assert_eq!(assign(&set(&["a"]), Some("c1"), Some(&foreign), true).as_deref(), Some("c1"));
}

#[test]
fn class_enters_before_its_pods_and_leaves_after_them() {
    let of_a = usage(&[&["a"]]);
    let id = class_id(&set(&["a"]));
    let entered = fresh(&of_a);
    assert_eq!(entered.classes.len(), 1);
    // Not served yet: the workload keeps what it has.
    let (waiting, served) = (gateway(&entered.classes, &[]), gateway(&entered.classes, std::slice::from_ref(&id)));
    let assigned = |current, gateway| assign(&set(&["a"]), current, Some(gateway), false);
    assert_eq!(assigned(None, &waiting), None);
    assert_eq!(assigned(Some("default"), &waiting), Some("default".into()));
    assert_eq!(assigned(Some("default"), &served), Some(id.clone()));
    // Out of use, but a pod still carries it.
    let carried: BTreeSet<String> = [id.clone()].into();
    let (none, nobody) = (Usage::default(), BTreeSet::new());
    let kept = plan_classes(&none, &existing(&carried, &entered.classes), at(10));
    assert_eq!(kept.classes, entered.classes);
    // Nothing carries it: it drains, then leaves.
    let draining = plan_classes(&none, &existing(&nobody, &kept.classes), at(20));
    assert_eq!(draining.classes[0].retired_at, Some(Time(at(20))));
    assert_eq!(draining.recheck_after, Some(SignedDuration::from_mins(2)), "as docs/data-streams.md says");
    let after = at(20) + DRAIN_PERIOD;
    let gone = plan_classes(&none, &existing(&nobody, &draining.classes), after);
    assert_eq!(gone, ClassPlan::default());
    // Back in use while draining: no longer retired.
    let back = plan_classes(&of_a, &existing(&nobody, &draining.classes), at(30));
    assert_eq!(back.classes, entered.classes);
}

#[test]
fn earlier_ids_are_routed_until_nothing_carries_them() {
    let of_a = usage(&[&["a"], &["b", "c"]]);
    let (old, new) = (earlier_class_id(&set(&["a"])), class_id(&set(&["a"])));
    let carried: BTreeSet<String> = [old.clone()].into();
    let known = [StreamClass { id: old.clone(), streams: vec!["a".into()], retired_at: None }];
    // Whether the gateway's group still knows it or not.
    for current in [&known[..], &[]] {
        let plan = plan_classes(&of_a, &existing(&carried, current), at(0));
        let of = |id: &str| plan.classes.iter().find(|class| class.id == id).map(|class| class.streams.clone());
        assert_eq!((of(&old), of(&new)), (Some(vec!["a".into()]), Some(vec!["a".into()])));
        assert_eq!(plan.classes.len(), 3);
        // The new id is served: the pods are labelled anew, and the old one drains.
        let relabelled: BTreeSet<String> = [new.clone()].into();
        let drained = plan_classes(&of_a, &existing(&relabelled, &plan.classes), at(1));
        assert!(drained.classes.iter().any(|class| class.id == old && class.retired_at.is_some()));
        let gone = plan_classes(&of_a, &existing(&relabelled, &drained.classes), at(1) + DRAIN_PERIOD);
        assert_eq!(gone.classes.len(), 2);
    }
}

#[test]
fn classes_beyond_the_limit_are_refused_and_what_is_served_stays() {
    let many = |from: usize, to: usize| {
        let mut usage = Usage::default();
        for n in from..to {
            usage.add(&format!("ns{}", n % 64), set(&[&format!("s{n:05}")]));
        }
        usage
    };
    let full = fresh(&many(0, CLASS_LIMIT));
    assert_eq!((full.classes.len(), full.refused.len()), (CLASS_LIMIT, 0));
    const { assert!(CLASS_LIMIT >= 4000) };
    // Thousands of new sets, each of more workloads: nobody loses a class.
    let mut usage = many(0, 2 * CLASS_LIMIT);
    (0..50).for_each(|_| usage.add("attacker", set(&["crowd"])));
    let plan = plan_classes(&usage, &existing(&BTreeSet::new(), &full.classes), at(0));
    assert_eq!(plan.classes, full.classes);
    assert_eq!(plan.refused.len(), CLASS_LIMIT + 1);
    let found = refusals::findings(&plan.refused);
    assert!(found.len() == 1 && found[0].message.contains("4097 sets of streams got no class"), "{found:?}");
    assert_eq!(refusals::findings(&BTreeMap::new()), []);
    // New workloads of such a set go to the void, others keep what they have.
    let group = gateway(&plan.classes, &[]);
    assert_eq!(assign(&set(&["crowd"]), None, Some(&group), true).as_deref(), Some("void"));
    assert_eq!(assign(&set(&["crowd"]), Some("c1"), Some(&group), true).as_deref(), Some("c1"));
}

#[test]
fn namespace_beyond_its_quota_keeps_its_classes_and_takes_none_from_others() {
    let mut usage = Usage::default();
    (0..5).for_each(|n| usage.add("crowd", set(&[&format!("a{n}")])));
    usage.add("crowd", set(&["shared"]));
    usage.add("other", set(&["shared"]));
    let none = BTreeSet::new();
    let quota = |quota, current| plan_classes(&usage, &Existing { quota, ..existing(&none, current) }, at(0));
    let plan = quota(2, &[]);
    let named =
        |plan: &ClassPlan| -> BTreeSet<String> { plan.classes.iter().map(|class| class.streams.join(",")).collect() };
    assert_eq!(named(&plan), ["a0", "shared"].map(String::from).into(), "another namespace may use it");
    assert_eq!(plan.refused.len(), 4);
    let refusal = &plan.refused[&set(&["a4"])];
    assert_eq!(refusal, &Refusal::Quota { namespaces: vec!["crowd".into()], quota: 2 });
    // A lower quota takes nothing away.
    let all = quota(100, &[]).classes;
    assert_eq!(quota(2, &all).classes, all);
    // What belongs to no workload is never refused.
    usage.keep(set(&["infra"]));
    let plan = plan_classes(&usage, &Existing { quota: 0, ..existing(&none, &[]) }, at(0));
    assert_eq!(named(&plan), ["infra".to_owned()].into());
}

#[test]
fn set_of_more_streams_than_a_source_may_name_gets_no_new_class() {
    let many = |count: usize| -> StreamSet { (0..count).map(|n| format!("s{n:02}")).collect() };
    let mut usage = Usage::default();
    usage.add("shop", many(16));
    usage.add("shop", many(17));
    let plan = fresh(&usage);
    assert_eq!((plan.classes.len(), plan.refused.get(&many(17))), (1, Some(&Refusal::Size(17))));
    // What had a class before there was a limit keeps it.
    let id = class_id(&many(17));
    let known = [StreamClass { id, streams: many(17).into_iter().collect(), retired_at: None }];
    let plan = plan_classes(&usage, &existing(&BTreeSet::new(), &known), at(0));
    assert_eq!((plan.classes.len(), plan.refused.len()), (2, 0));
}
