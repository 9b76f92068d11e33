//! Which namespaces may be covered at all, and which are covered without a Source.
//!
//! Owns the reading of `ignoredNamespaces`, `instrumentation.mode` and `instrumentation.optOutDataStreams`. Never looks at a
//! Source: what Sources decide inside the scope is `coverage`.

use crate::configuration::Configuration;
use crate::name_pattern::NamePatterns;
use crate::streams;
use odigos_api::labels::stream_label;
use std::collections::BTreeMap;

/// Namespace of the cluster's own components, which is never covered: what stops there may stop the cluster.
pub const KUBE_SYSTEM: &str = "kube-system";
/// Data streams of workloads that no Source covers in the mode `optOut`.
pub const DEFAULT_OPT_OUT_STREAMS: [&str; 1] = ["default"];

/// What the configuration says about namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    own_namespace: String,
    ignored: NamePatterns,
    mode: Mode,
}

/// Which workloads are covered when no Source covers them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not known: there is no effective configuration. Nothing is newly covered, and nothing is taken back, since which namespaces
    /// are ignored, which agents exist and who may be restarted is not known either.
    #[default]
    Unknown,
    /// None.
    OptIn,
    /// All that nothing excludes, in these data streams.
    OptOut(Vec<String>),
}

/// Words of `instrumentation.mode`.
pub const MODES: [&str; 2] = ["optIn", "optOut"];

/// Why a namespace is never covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// It is the control plane's own.
    ControlPlane,
    /// It is `kube-system`.
    ClusterComponents,
    /// An entry of `ignoredNamespaces` matches it; holds the entry.
    Listed(String),
}

impl Exclusion {
    /// The sentence for conditions: what is the case and what a person can do.
    #[must_use]
    pub fn message(&self, namespace: &str) -> String {
        match self {
            Self::ControlPlane => {
                format!("Namespace {namespace} is the control plane's own and is never instrumented.")
            }
            Self::ClusterComponents => {
                format!("Namespace {namespace} holds components of the cluster and is never instrumented.")
            }
            Self::Listed(entry) => format!(
                "Namespace {namespace} is ignored: ignoredNamespaces of the effective configuration lists {entry:?}. Remove the \
                 entry to instrument it; if it is one of the defaults, set ignoreDefaultNamespaces: false."
            ),
        }
    }
}

impl Scope {
    /// Reads it from an effective configuration. `own_namespace` is the control plane's.
    #[must_use]
    pub fn of(configuration: &Configuration, own_namespace: &str) -> Self {
        let mode = match configuration.text("instrumentation.mode") {
            Some("optOut") => Mode::OptOut(opt_out_streams(configuration)),
            _ => Mode::OptIn,
        };
        let ignored = NamePatterns::new(configuration.texts("ignoredNamespaces"));
        Self { own_namespace: own_namespace.to_owned(), ignored, mode }
    }

    /// The scope while no effective configuration is known.
    #[must_use]
    pub fn unknown(own_namespace: &str) -> Self {
        Self { own_namespace: own_namespace.to_owned(), ..Self::default() }
    }

    /// Whether there is an effective configuration.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.mode != Mode::Unknown
    }

    /// Why a namespace is never covered, if so.
    #[must_use]
    pub fn exclusion(&self, namespace: &str) -> Option<Exclusion> {
        if namespace == self.own_namespace {
            return Some(Exclusion::ControlPlane);
        }
        if namespace == KUBE_SYSTEM {
            return Some(Exclusion::ClusterComponents);
        }
        self.ignored.matching(namespace).map(|entry| Exclusion::Listed(entry.to_owned()))
    }

    /// Which workloads are covered without a Source.
    #[must_use]
    pub const fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Stream labels of workloads in a namespace whose Sources name no stream; `None` where only Sources cover.
    #[must_use]
    pub fn opt_out_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        match &self.mode {
            Mode::OptOut(names) if self.exclusion(namespace).is_none() => {
                Some(names.iter().map(|name| (stream_label(name), "true".to_owned())).collect())
            }
            _ => None,
        }
    }
}

fn opt_out_streams(configuration: &Configuration) -> Vec<String> {
    let named = configuration.texts("instrumentation.optOutDataStreams");
    let named: Vec<String> = named.into_iter().filter(|name| streams::is_name(name)).collect();
    if named.is_empty() { DEFAULT_OPT_OUT_STREAMS.map(str::to_owned).to_vec() } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::of(&Configuration::parse(text).unwrap(), "odigos-system")
    }

    #[test]
    fn control_plane_and_kube_system_are_excluded_whatever_is_listed() {
        let scope = scope("ignoredNamespaces: [shop, 'team-*']");
        assert_eq!(scope.exclusion("odigos-system"), Some(Exclusion::ControlPlane));
        assert_eq!(scope.exclusion("kube-system"), Some(Exclusion::ClusterComponents));
        assert_eq!(scope.exclusion("shop"), Some(Exclusion::Listed("shop".into())));
        assert_eq!(scope.exclusion("team-a"), Some(Exclusion::Listed("team-*".into())));
        assert_eq!(scope.exclusion("shops"), None);
    }

    #[test]
    fn opt_out_streams_default_to_the_default_stream() {
        let labels = |text: &str| scope(text).opt_out_labels("shop");
        let of = |names: &[&str]| Some(names.iter().map(|name| (stream_label(name), "true".to_owned())).collect());
        assert_eq!(Scope::unknown("odigos-system").opt_out_labels("shop"), None);
        assert_eq!(labels("{}"), None);
        assert_eq!(labels("instrumentation: {mode: optIn}"), None);
        assert_eq!(labels("instrumentation: {mode: optOut}"), of(&["default"]));
        assert_eq!(labels("instrumentation: {mode: optOut, optOutDataStreams: [a, b]}"), of(&["a", "b"]));
        assert_eq!(labels("instrumentation: {mode: optOut, optOutDataStreams: []}"), of(&["default"]));
        assert_eq!(labels("instrumentation: {mode: optOut, optOutDataStreams: ['a b']}"), of(&["default"]));
        assert_eq!(labels("instrumentation: {mode: optOut}\nignoredNamespaces: [shop]"), None);
    }
}
