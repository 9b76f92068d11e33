//! `Chart.yaml`.

use crate::Error;
use serde::Deserialize;

/// What `Chart.yaml` says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name of the chart.
    pub name: String,
    /// Version of the chart.
    pub version: String,
    /// Version of the product; also the default tag of its images.
    #[serde(default)]
    pub app_version: String,
    /// Kubernetes releases that it runs on, e.g. `>=1.28.0-0`.
    #[serde(default)]
    pub kube_version: String,
}

impl Metadata {
    pub(crate) fn read(text: &str) -> Result<Self, Error> {
        serde_yaml::from_str(text)
            .map_err(|error| Error::File { file: "Chart.yaml".into(), message: error.to_string() })
    }

    /// The oldest Kubernetes release as major and minor; none when the chart does not ask for one in the form `>=1.28…`.
    #[must_use]
    pub fn oldest_kubernetes(&self) -> Option<(u32, u32)> {
        release(self.kube_version.trim().strip_prefix(">=")?)
    }
}

/// Major and minor of a version such as `v1.34.4-vendor.1` or `1.28.0-0`.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_release_is_read() {
        let mut metadata = Metadata::read("name: a\nversion: 1.0.0\nkubeVersion: '>=1.28.0-0'\n").unwrap();
        assert_eq!(metadata.oldest_kubernetes(), Some((1, 28)));
        metadata.kube_version = "~1.30".into();
        assert_eq!(metadata.oldest_kubernetes(), None);
        assert!(Metadata::read("version: 1").is_err());
    }
}
