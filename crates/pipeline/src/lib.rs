//! Typed model of an OpenTelemetry Collector configuration
