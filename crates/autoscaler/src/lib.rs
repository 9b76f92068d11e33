//! Controller of the collectors: configuration, workloads and status
