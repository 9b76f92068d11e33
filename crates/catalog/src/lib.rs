//! Embedded destination catalogue and its rendering rules
