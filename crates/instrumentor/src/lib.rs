//! Controller of Sources and InstrumentationConfigs, and the admission webhooks
