//! One connection to a container runtime (`runtime.v1` over a unix socket), and the three questions that are asked.
//!
//! Reads only: nothing here can change a container or an image. Answers are bounded in size; how long they may take is up to the
//! caller.

use super::messages::{
    ContainerStatusRequest, ContainerStatusResponse, ImageSpec, ImageStatusRequest, ImageStatusResponse,
    VersionRequest, VersionResponse,
};
use odigos_detect::Environment;
use serde::Deserialize;
use std::path::Path;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Bytes of an answer. The configuration of an image with a long history takes some tens of thousands.
const ANSWER_BYTES: usize = 2 << 20;

const VERSION: &str = "/runtime.v1.RuntimeService/Version";
const CONTAINER_STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const IMAGE_STATUS: &str = "/runtime.v1.ImageService/ImageStatus";

/// Why there is no answer. Never holds anything of an image's configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens.
    #[error("failed to reach it: {0}")]
    Unreachable(String),
    /// It refused, or knows no such question.
    #[error("it refused: {0}")]
    Refused(String),
    /// It does not know the image of a container.
    #[error("it does not know the image of the container")]
    NoImage,
    /// What it says cannot be read.
    #[error("failed to read what it says of the image")]
    Unreadable,
}

/// `info` of an image: containerd, CRI-O and cri-dockerd write the same.
#[derive(Deserialize)]
struct Info {
    #[serde(rename = "imageSpec")]
    image_spec: Specification,
}

#[derive(Deserialize)]
struct Specification {
    #[serde(default)]
    config: Option<Configuration>,
}

#[derive(Deserialize, Default)]
struct Configuration {
    #[serde(rename = "Env", default)]
    environment: Option<Vec<String>>,
}

/// A connection.
pub(super) struct Client(Grpc<Channel>);

impl Client {
    /// Connects, and asks who is there; also returns name and version.
    pub(super) async fn connect(socket: &Path) -> Result<(Self, String), ClientError> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .map_err(|error| ClientError::Unreachable(error.to_string()))?;
        let channel = endpoint.connect().await.map_err(|error| ClientError::Unreachable(innermost(&error)))?;
        let mut client = Self(Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES));
        let version: VersionResponse = client.ask(VERSION, VersionRequest::default()).await?;
        Ok((client, format!("{} {}", version.runtime_name, version.runtime_version)))
    }

    /// What the image of a container sets, as far as anybody cares for it.
    pub(super) async fn image_environment(&mut self, container: &str) -> Result<Environment, ClientError> {
        let request = ContainerStatusRequest { container_id: container.to_owned() };
        let answer: ContainerStatusResponse = self.ask(CONTAINER_STATUS, request).await?;
        let status = answer.status.ok_or(ClientError::NoImage)?;
        // The id first: a reference may have been taken from its image meanwhile.
        let references = [status.image_id, status.image_ref];
        for reference in references.iter().filter(|one| !one.is_empty()) {
            let image = reference.strip_prefix("docker-pullable://").unwrap_or(reference).to_owned();
            let request = ImageStatusRequest { image: Some(ImageSpec { image }), verbose: true };
            let answer: ImageStatusResponse = self.ask(IMAGE_STATUS, request).await?;
            if answer.image.is_some() {
                return read(answer.info.get("info").map(String::as_str).unwrap_or_default());
            }
        }
        Err(ClientError::NoImage)
    }

    async fn ask<Q, A>(&mut self, path: &'static str, question: Q) -> Result<A, ClientError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.map_err(|error| ClientError::Unreachable(innermost(&error)))?;
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let path = PathAndQuery::from_static(path);
        let answer = self.0.unary(tonic::Request::new(question), path, codec).await;
        answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
            tonic::Code::Unavailable => ClientError::Unreachable(status.message().to_owned()),
            _ => ClientError::Refused(status.message().to_owned()),
        })
    }
}

/// Variables of an image's configuration; those that nobody reads are dropped here.
fn read(info: &str) -> Result<Environment, ClientError> {
    let info: Info = serde_json::from_str(info).map_err(|_| ClientError::Unreadable)?;
    let variables = info.image_spec.config.unwrap_or_default().environment.unwrap_or_default();
    Ok(Environment::of(variables.iter().filter_map(|one| one.split_once('='))))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_of_an_image_is_read() {
        let containerd = r#"{"chainID":"sha256:1","imageSpec":{"created":"2026-01-01T00:00:00Z","architecture":"amd64","os":"linux",
            "config":{"User":"65532","Env":["PATH=/bin","PASSWORD=hunter2","NODE_OPTIONS=--title=a b=c","PYTHONPATH"],"Cmd":null},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x"}]}}"#;
        let found = read(containerd).unwrap();
        assert_eq!(found, Environment::of([("NODE_OPTIONS", "--title=a b=c")]));
        assert!(!format!("{found:?}").contains("hunter2"));
        for nothing in [
            r#"{"labels":{},"imageSpec":{"config":{}}}"#,
            r#"{"imageSpec":{"config":{"Env":null}}}"#,
            r#"{"imageSpec":{}}"#,
        ] {
            assert_eq!(read(nothing).unwrap(), Environment::default(), "{nothing}");
        }
        let deep = format!("{}{}", r#"{"imageSpec":"#, "[".repeat(100_000));
        for hostile in ["", "{}", "null", "[]", r#"{"imageSpec":{"config":{"Env":"x"}}}"#, "failed to marshal", &deep] {
            assert!(matches!(read(hostile), Err(ClientError::Unreadable)), "{}", hostile.len());
        }
    }
}
