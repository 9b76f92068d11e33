//! Decisions of the control plane as pure functions
