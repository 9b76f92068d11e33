//! Kinds, labels, names and conditions of the group odigos.io
