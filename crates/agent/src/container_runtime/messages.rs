//! What is spoken of the container runtime interface: of `runtime.v1` (kubernetes/cri-api 0.34, `pkg/apis/runtime/v1/api.proto`)
//! only the messages and fields that are used. Others are skipped unread; numbers of fields never change within `v1`.

use std::collections::BTreeMap;

/// `VersionRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionRequest {
    /// Version of the kubelet's interface; runtimes do not look at it.
    #[prost(string, tag = "1")]
    pub(super) version: String,
}

/// `VersionResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionResponse {
    /// Name of the runtime, e.g. containerd.
    #[prost(string, tag = "2")]
    pub(super) runtime_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub(super) runtime_version: String,
}

/// `ContainerStatusRequest`. Its field `verbose` is never set: the answer would hold every variable of the container.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ContainerStatusRequest {
    /// Id of the container.
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}

/// `ContainerStatusResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ContainerStatusResponse {
    /// Absent when the runtime has nothing to say.
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<ContainerStatus>,
}

/// `ContainerStatus`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ContainerStatus {
    /// Reference of the image with its digest, or its id.
    #[prost(string, tag = "9")]
    pub(super) image_ref: String,
    /// Id of the image on this node; older runtimes do not tell it.
    #[prost(string, tag = "17")]
    pub(super) image_id: String,
}

/// `ImageSpec`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ImageSpec {
    /// Reference or id of the image.
    #[prost(string, tag = "1")]
    pub(super) image: String,
}

/// `ImageStatusRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ImageStatusRequest {
    /// Which image.
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<ImageSpec>,
    /// Whether the image's configuration is asked for.
    #[prost(bool, tag = "2")]
    pub(super) verbose: bool,
}

/// `ImageStatusResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ImageStatusResponse {
    /// Absent when the runtime does not have the image.
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Image>,
    /// JSON texts; under `info` that of the image.
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: BTreeMap<String, String>,
}

/// `Image`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Image {
    /// Its id.
    #[prost(string, tag = "1")]
    pub(super) id: String,
}
