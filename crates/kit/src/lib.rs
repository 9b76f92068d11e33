//! Everything generic around kube: client, stores, queue, applier, leases, webhook server, admin server.
//!
//! The three controllers are made of these parts: a [`hub`] watches a kind and keeps its objects, changes put keys into
//! a [`queue`], a reconcile function plans and hands objects to the [`apply`] module. Knows no domain words.

pub mod admin;
pub mod apply;
pub mod certificates;
pub mod client;
mod connections;
pub mod events;
pub mod front_proxy;
pub mod https;
pub mod hub;
pub mod leader_election;
pub mod metrics;
pub mod queue;
pub mod settings;
pub mod tasks;
pub mod telemetry;
pub mod webhook;
