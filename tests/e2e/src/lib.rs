//! What stories on a cluster are told with: objects, questions to pods, and the actors that run inside.
//!
//! Nothing here knows how the cluster came to be: everything goes through the API server that KUBECONFIG names, questions to
//! pods too.

pub mod actors;
pub mod cluster;
pub mod office;
pub mod records;
pub mod shop;
