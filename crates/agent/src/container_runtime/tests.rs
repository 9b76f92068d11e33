//! The client against a gRPC server on a real socket. The server is a stand-in for a container runtime: it gives the answers that
//! containerd gives, and some that none would. The real containerd is asked in the stories (`tests/e2e`).

use super::*;
use crate::container_runtime::messages::{
    ContainerStatus, ContainerStatusRequest, ContainerStatusResponse, Image, ImageStatusRequest, ImageStatusResponse,
    VersionRequest, VersionResponse,
};
use std::convert::Infallible;
use std::task::{Context, Poll};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService};
use tonic_prost::ProstCodec;

/// What the stand-in says.
#[derive(Clone, Debug)]
enum Manner {
    /// The JSON text of its only image.
    Tells(String),
    /// It knows the container, and its image no more.
    LostTheImage,
    /// It never answers.
    Hangs,
}

#[derive(Clone, Debug)]
struct StandIn {
    manner: Arc<Mutex<Manner>>,
    /// Questions, in their order.
    asked: Arc<Mutex<Vec<String>>>,
}

/// One of its two services.
#[derive(Clone, Debug)]
struct Part<const IMAGES: bool>(StandIn);

impl NamedService for Part<true> {
    const NAME: &'static str = "runtime.v1.ImageService";
}

impl NamedService for Part<false> {
    const NAME: &'static str = "runtime.v1.RuntimeService";
}

type Asked = http::Request<tonic::body::Body>;
type Answered = http::Response<tonic::body::Body>;

impl<const IMAGES: bool> Service<Asked> for Part<IMAGES> {
    type Response = Answered;
    type Error = Infallible;
    type Future = BoxFuture<Answered, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Asked) -> Self::Future {
        let stand_in = self.0.clone();
        Box::pin(async move { Ok(stand_in.answer(request).await) })
    }
}

async fn unary<Q, A>(request: Asked, answer: impl Fn(Q) -> A + Clone + Send + 'static) -> Answered
where
    Q: prost::Message + Default + Send + 'static,
    A: prost::Message + Send + 'static,
{
    let service = tower::service_fn(move |question: tonic::Request<Q>| {
        let answer = answer(question.into_inner());
        async move { Ok::<_, tonic::Status>(tonic::Response::new(answer)) }
    });
    Grpc::new(ProstCodec::<A, Q>::default()).unary(service, request).await
}

impl StandIn {
    async fn answer(self, request: Asked) -> Answered {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        self.asked.lock().unwrap().push(method.clone());
        let manner = self.manner.lock().unwrap().clone();
        let info = match manner {
            Manner::Tells(info) => Some(info),
            Manner::LostTheImage => None,
            Manner::Hangs => std::future::pending().await,
        };
        match method.as_str() {
            "Version" => {
                let version = VersionResponse { runtime_name: "containerd".into(), runtime_version: "v2.1.0".into() };
                unary(request, move |_: VersionRequest| version.clone()).await
            }
            "ContainerStatus" => {
                let status = |question: ContainerStatusRequest| ContainerStatusResponse {
                    status: (question.container_id == "c-1").then(|| ContainerStatus {
                        image_ref: "docker-pullable://shop/web@sha256:1".into(),
                        image_id: String::new(),
                    }),
                };
                unary(request, status).await
            }
            _ => {
                let status = move |question: ImageStatusRequest| {
                    assert_eq!(question.image.unwrap().image, "shop/web@sha256:1");
                    let info = info.clone().filter(|_| question.verbose);
                    ImageStatusResponse {
                        image: info.is_some().then(|| Image { id: "sha256:2".into() }),
                        info: info.into_iter().map(|info| ("info".to_owned(), info)).collect(),
                    }
                };
                unary(request, status).await
            }
        }
    }
}

/// A server and a client whose patience is short.
struct Stage {
    folder: TempDir,
    stand_in: StandIn,
    runtime: ContainerRuntime,
    /// Ends with the stage.
    _server: JoinSet<()>,
}

fn patient(socket: PathBuf, limit: Duration) -> ContainerRuntime {
    ContainerRuntime { sockets: vec![socket], limit, state: Arc::default() }
}

impl Stage {
    fn set(manner: Manner) -> Self {
        let folder = TempDir::new().unwrap();
        let stand_in = StandIn { manner: Arc::new(Mutex::new(manner)), asked: Arc::default() };
        let socket = folder.path().join("runtime.sock");
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(Part::<false>(stand_in.clone()))
            .add_service(Part::<true>(stand_in.clone()));
        let mut serving = JoinSet::new();
        serving.spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
        Self { folder, stand_in, runtime: patient(socket, Duration::from_secs(20)), _server: serving }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.stand_in.asked.lock().unwrap())
    }
}

fn tells(environment: &[&str]) -> Manner {
    let info = serde_json::json!({"chainID": "sha256:3", "imageSpec": {"os": "linux", "config": {"Env": environment}}});
    Manner::Tells(info.to_string())
}

const DIGEST: &str = "docker.io/shop/web@sha256:1";

#[tokio::test]
async fn an_image_is_asked_for_once() {
    let stage = Stage::set(tells(&["PATH=/bin", "TOKEN=hunter2", "NODE_OPTIONS=--title=image"]));
    let expected = Environment::of([("NODE_OPTIONS", "--title=image")]);
    assert_eq!(stage.runtime.image_environment("c-1", DIGEST).await.unwrap(), expected);
    assert_eq!(stage.asked(), ["Version", "ContainerStatus", "ImageStatus"]);
    assert!(!format!("{:?}", stage.runtime).contains("hunter2"), "nothing else is kept");
    assert_eq!(stage.runtime.image_environment("c-2", DIGEST).await.unwrap(), expected, "another container of it");
    assert!(stage.asked().is_empty());
    for _ in 0..2 {
        assert_eq!(stage.runtime.image_environment("c-1", "shop/web:1").await.unwrap(), expected);
        assert_eq!(stage.asked().len(), 3, "a tag alone may mean another image tomorrow");
    }
}

#[tokio::test]
async fn answers_that_help_nobody_are_told_and_asked_for_again() {
    let stage = Stage::set(Manner::LostTheImage);
    let huge = format!(r#"{{"imageSpec":{{"config":{{"Env":["X={}"]}}}}}}"#, "x".repeat(3 << 20));
    for (manner, container, expected) in [
        (Manner::LostTheImage, "c-1", "does not know the image"),
        (tells(&[]), "another", "does not know the image"),
        (Manner::Tells("{\"imageSpec\":{\"config\":{\"Env\":[1]}},\"x\":\"hunter2\"}".into()), "c-1", "failed to read"),
        (Manner::Tells("failed to marshal".into()), "c-1", "failed to read"),
        (Manner::Tells(huge), "c-1", "it refused"),
    ] {
        *stage.stand_in.manner.lock().unwrap() = manner;
        let why = stage.runtime.image_environment(container, DIGEST).await.unwrap_err().to_string();
        assert!(why.contains(expected) && why.contains("runtime.sock"), "{expected}: {why}");
        assert!(!why.contains("hunter2") && why.len() < 512, "{why}");
    }
    *stage.stand_in.manner.lock().unwrap() = tells(&[]);
    assert_eq!(stage.runtime.image_environment("c-1", DIGEST).await.unwrap(), Environment::default());
}

#[tokio::test]
async fn one_that_never_answers_is_left_alone_for_a_while() {
    let mut stage = Stage::set(Manner::Hangs);
    stage.runtime.limit = Duration::from_millis(300);
    let why = stage.runtime.image_environment("c-1", DIGEST).await.unwrap_err();
    assert!(matches!(why, RuntimeError::Silent(_)), "{why}");
    assert_eq!(stage.asked(), ["Version"]);
    let why = stage.runtime.image_environment("c-1", DIGEST).await.unwrap_err();
    assert!(matches!(why, RuntimeError::Silent(_)), "{why}");
    assert!(stage.asked().is_empty(), "other pods do not wait for it again");
    *stage.stand_in.manner.lock().unwrap() = tells(&[]);
    stage.runtime.state().silent_until = Some(Instant::now());
    stage.runtime.limit = Duration::from_secs(20);
    assert!(stage.runtime.image_environment("c-1", DIGEST).await.is_ok(), "the pause is over");
}

#[tokio::test]
async fn the_first_socket_behind_which_a_runtime_answers_is_taken() {
    let stage = Stage::set(tells(&["PYTHONPATH=/app"]));
    let path = |name: &str| stage.folder.path().join(name);
    // A socket that nobody listens on any more, a file, something that speaks another language, and what is not there.
    drop(UnixListener::bind(path("left.sock")).unwrap());
    std::fs::write(path("file.sock"), "").unwrap();
    let babble = UnixListener::bind(path("babble.sock")).unwrap();
    let mut babbling = JoinSet::new();
    babbling.spawn(async move {
        loop {
            let _ = babble.accept().await.unwrap().0.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
        }
    });
    let mut runtime = patient(path("none.sock"), Duration::from_secs(20));
    let why = runtime.image_environment("c-1", DIGEST).await.unwrap_err().to_string();
    assert!(why.starts_with("no container runtime listens on") && why.ends_with("none.sock"), "{why}");
    runtime.sockets.extend(["left.sock", "file.sock", "babble.sock"].map(path));
    let why = runtime.image_environment("c-1", DIGEST).await.unwrap_err().to_string();
    assert!(why.contains("left.sock was asked: failed to reach it"), "{why}");
    runtime.sockets.push(path("runtime.sock"));
    let found = runtime.image_environment("c-1", DIGEST).await.unwrap();
    assert_eq!(found, Environment::of([("PYTHONPATH", "/app")]));
}

#[test]
fn the_sockets_of_the_usual_runtimes_are_tried() {
    let plain = ContainerRuntime::new(None);
    assert_eq!(plain.sockets, SOCKETS.map(PathBuf::from));
    let named = ContainerRuntime::new(Some("unix:///run/mine.sock".into()));
    assert_eq!(named.sockets[0], Path::new("/run/mine.sock"));
    assert_eq!(named.sockets[1..], plain.sockets);
}
