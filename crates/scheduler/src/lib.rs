//! Controller of the effective configuration, collectors groups and data streams
