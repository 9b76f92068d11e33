//! Time of the pure decisions: the whole cluster, and the gateway's configuration by itself.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement; criterion's macros write undocumented items")]

#[path = "../tests/cluster/mod.rs"]
mod cluster;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn settle(c: &mut Criterion) {
    let mut group = c.benchmark_group("settle");
    group.sample_size(10);
    for (workloads, streams, destinations) in [(100, 10, 10), (1000, 50, 100), (5000, 50, 100)] {
        let world = cluster::cluster(workloads, streams, destinations);
        let name = format!("{workloads} workloads, {streams} streams, {destinations} destinations");
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || world.clone(),
                |mut world| world.settle(jiff::Timestamp::UNIX_EPOCH),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, settle);
criterion_main!(benches);
