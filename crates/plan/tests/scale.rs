//! Figures of the planning core at the size of design 9; run by `make bench`, not by the ordinary tests.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement prints its figures")]

mod cluster;

use cluster::cluster;
use std::time::Instant;

#[test]
#[ignore = "a measurement, run by `make bench`"]
fn settle_and_configuration_size() {
    let world = cluster(5000, 50, 100);
    let mut times: Vec<u128> = (0..5)
        .map(|_| {
            let mut world = world.clone();
            let begun = Instant::now();
            let settled = world.settle(jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(world.configs.len(), 5000);
            assert!(settled.findings.is_empty());
            begun.elapsed().as_millis()
        })
        .collect();
    times.sort_unstable();
    println!("settle of 5000 workloads, 50 streams, 100 destinations: median {} ms of {times:?}", times[2]);
    for (streams, destinations) in [(10, 20), (50, 100), (500, 500)] {
        let mut world = cluster(5000, streams, destinations);
        let size = world.settle(jiff::Timestamp::UNIX_EPOCH).gateway.unwrap().config.to_yaml().len();
        println!("gateway configuration, {streams} streams, {destinations} destinations: {} KiB", size / 1024);
    }
}
