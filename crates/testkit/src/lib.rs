//! Real peers and builders for tests
