//! Operations that sampling rules are for (`spec/sampling.md` 2): which spans, by protocol.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A parameter of a query string.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QueryParameter {
    /// Name of the parameter.
    pub name: String,
    /// Its value, exactly.
    pub value_exact: String,
}

/// Requests that a server answers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HeadHttpServer {
    /// Path, exactly, e.g. `/users/{id}`; `*` and `{…}` stand for any one segment. Wins over `routePrefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Beginning of the path, in whole segments: `/api` is not a beginning of `/apix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_prefix: Option<String>,
    /// HTTP method; upper and lower case are the same. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Parameters that must all be present with exactly these values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<QueryParameter>,
}

/// Requests that a server answers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TailHttpServer {
    /// Path, exactly, e.g. `/users/{id}`; `*` and `{…}` stand for any one segment. Wins over `routePrefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Beginning of the path, in whole segments: `/api` is not a beginning of `/apix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_prefix: Option<String>,
    /// HTTP method; upper and lower case are the same. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// Requests that a client sends.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpClient {
    /// Host that is called, exactly as `server.address` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_address: Option<String>,
    /// Path as `url.template` has it, exactly. Wins over `templatedPathPrefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templated_path: Option<String>,
    /// Beginning of that path, in whole segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templated_path_prefix: Option<String>,
    /// HTTP method; upper and lower case are the same. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// gRPC calls that a server answers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GrpcServer {
    /// Full name of the service, e.g. `grpc.health.v1.Health`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Name of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// gRPC calls that a client sends.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GrpcClient {
    /// Full name of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Name of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Host that is called, exactly as `server.address` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_address: Option<String>,
}

/// Messages of a Kafka topic.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Kafka {
    /// Name of the topic. Default: every topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka_topic: Option<String>,
}

/// Root spans that a noisy rule is for; at most one protocol. Empty means every root span.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HeadOperation {
    /// Requests that a server answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_server: Option<HeadHttpServer>,
    /// Requests that a client sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_client: Option<HttpClient>,
    /// gRPC calls that a server answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_server: Option<GrpcServer>,
    /// gRPC calls that a client sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_client: Option<GrpcClient>,
}

/// Spans that a rule is for; at most one protocol. Empty means every span.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TailOperation {
    /// Requests that a server answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_server: Option<TailHttpServer>,
    /// Messages that are received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka_consumer: Option<Kafka>,
    /// Messages that are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka_producer: Option<Kafka>,
}
