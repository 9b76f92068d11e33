//! The destination types: what each takes, and its settings as a form shows them.

use crate::schema::{Field, File, Note, Rendering};
use odigos_api::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// A destination type.
#[derive(Clone, Debug)]
pub struct DestinationType {
    /// Value of `spec.type`.
    pub id: String,
    /// Name that people see.
    pub display_name: String,
    /// `managed` or `self hosted`.
    pub category: String,
    /// File name of the logo.
    pub image: String,
    /// Whether only manifests can create it, not a form.
    pub manifest_only: bool,
    /// Signals that it takes.
    pub signals: BTreeSet<Signal>,
    /// Settings, in the order of the form.
    pub fields: Vec<Field>,
    /// Whether a connection test exists.
    pub test_connection_supported: bool,
    /// The page of the backend's documentation that says that it derives request rates, errors and durations from the spans that it
    /// gets; span metrics would be stored, and paid, twice there. `None` where it does not.
    pub computes_span_metrics: Option<String>,
    /// A remark for the documentation.
    pub note: Option<Note>,
    pub(crate) rendering: Rendering,
}

impl DestinationType {
    /// The setting of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether a destination of this type may read that key of its Secret; any key, where users write the settings of the exporter themselves.
    #[must_use]
    pub fn reads_secret_key(&self, key: &str) -> bool {
        self.id == "dynamic" || self.field(key).is_some_and(|field| field.secret)
    }

    /// Path of a `GET` that is answered only to those who may export; without one, a connection test exports nothing.
    #[must_use]
    pub fn connection_question(&self) -> Option<&str> {
        self.rendering.connection_question.as_deref()
    }

    /// Whether a pipeline of the signal can be rendered; profiles only where a type says how.
    #[must_use]
    pub fn can_render(&self, signal: Signal) -> bool {
        signal != Signal::Profiles || self.rendering.pipelines.profiles.is_some()
    }

    fn from_file(file: File) -> Self {
        let supported = file.spec.signals;
        let signals = [
            (Signal::Traces, supported.traces),
            (Signal::Metrics, supported.metrics),
            (Signal::Logs, supported.logs),
            (Signal::Profiles, supported.profiles),
        ];
        Self {
            id: file.metadata.type_id,
            display_name: file.metadata.display_name,
            category: file.metadata.category,
            image: file.spec.image,
            manifest_only: file.spec.manifest_only,
            signals: signals.into_iter().filter(|(_, support)| support.supported).map(|(signal, _)| signal).collect(),
            fields: file.spec.fields,
            test_connection_supported: file.spec.test_connection_supported,
            computes_span_metrics: file.spec.computes_span_metrics.map(|documented| documented.source),
            note: file.spec.note,
            rendering: file.rendering,
        }
    }
}

/// All types by id.
pub fn types() -> &'static BTreeMap<String, DestinationType> {
    static TYPES: OnceLock<BTreeMap<String, DestinationType>> = OnceLock::new();
    TYPES.get_or_init(|| {
        // The build script has parsed every file, so none can fail here; a test counts them.
        let parsed = FILES.iter().filter_map(|(_, text)| File::parse(text).ok());
        parsed.map(DestinationType::from_file).map(|one| (one.id.clone(), one)).collect()
    })
}

/// The type of that id.
#[must_use]
pub fn find(id: &str) -> Option<&'static DestinationType> {
    types().get(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_is_a_type() {
        assert_eq!(types().len(), FILES.len());
        assert!(FILES.iter().all(|(id, _)| find(id).is_some()));
    }

    #[test]
    fn span_metrics_are_computed_only_by_backends_that_get_spans() {
        let computing: Vec<&DestinationType> =
            types().values().filter(|one| one.computes_span_metrics.is_some()).collect();
        assert!(computing.iter().any(|one| one.id == "datadog"));
        for one in computing {
            assert!(one.signals.is_superset(&[Signal::Traces, Signal::Metrics].into()), "{}", one.id);
            let source = one.computes_span_metrics.as_deref().unwrap();
            assert!(source.starts_with("https://"), "{}: {source}", one.id);
        }
        assert!(["prometheus", "otlp", "honeycomb"].iter().all(|id| types()[*id].computes_span_metrics.is_none()));
    }

    #[test]
    fn slips_in_a_file_are_refused() {
        let (_, good) = FILES.iter().find(|(id, _)| *id == "jaeger").unwrap();
        for (from, to, expected) in [
            ("rendering:", "rendering:\n  exporter: []", "unknown field"),
            ("as: grpc_hostport", "as: grpc_host", "unknown variant"),
            (
                "  fields:\n",
                "  fields:\n    - {name: OTHER, displayName: Other, componentType: input}\n",
                "OTHER, which nothing reads",
            ),
            ("$bool", "$boolean", "is no expression"),
            (
                "{name: JAEGER_CA_PEM, as: pem}",
                "{name: JAEGER_CA, as: pem}",
                "JAEGER_CA, which is not among spec.fields",
            ),
            (
                "exporters: [\"otlp_grpc/jaeger-{id}\"]",
                "exporters: [otlp_grpc/x]",
                "otlp_grpc/x, which is not rendered",
            ),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(&bad, good, "{from}");
            let error = File::parse(&bad).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
