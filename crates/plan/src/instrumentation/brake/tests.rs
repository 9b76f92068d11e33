//! When the brake closes and opens.

use super::*;
use odigos_api::WorkloadKind;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn rollbacks(times: &[i64]) -> Vec<(WorkloadRef, Timestamp)> {
    let name = |n: usize| WorkloadRef::new("shop", WorkloadKind::Deployment, format!("app-{n}"));
    times.iter().enumerate().map(|(n, time)| (name(n), at(*time))).collect()
}

#[test]
fn several_rollbacks_close_it_until_enough_of_them_are_old() {
    let options = Options::default();
    assert_eq!(closed(options, &rollbacks(&[1000, 1100]), at(1200)), None);
    let four = rollbacks(&[1300, 1000, 1100, 1200]);
    let found = closed(options, &four, at(1400)).unwrap();
    assert_eq!((found.until, found.last), (at(1100 + 3600), at(1300)));
    assert!(found.message.contains("4 workloads: Deployment shop/app-1, Deployment shop/app-2"), "{}", found.message);
    assert_eq!(closed(options, &four, at(1100 + 3600)), None);
    assert_eq!(closed(Options { rollbacks: 0, ..options }, &four, at(1400)), None);
    assert_eq!(
        closed(Options { released_at: Some(at(1150)), ..options }, &four, at(1400)),
        None,
        "a person has looked"
    );
    // Who asks for one workload knowing of all of them may have it.
    assert!(found.is_overruled(Some("1970-01-01T00:21:41Z")));
    assert!(
        !found.is_overruled(Some("1970-01-01T00:21:40Z"))
            && !found.is_overruled(Some("now"))
            && !found.is_overruled(None)
    );
}
