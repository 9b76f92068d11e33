//! Texts that a setting accepts, by what they are of: names of objects, images, paths, attributes.
//!
//! Owns why a text is none of them, so that no setting is rendered into what an API server, a kubelet or a collector rejects. What
//! becomes of a rejected text is decided in `values`.

use crate::gateway::allowed_types;
use crate::node::scraped;
use crate::processors::permission;
use crate::{name_pattern, spelling, streams};
use odigos_api::{CollectorRole, labels, names};

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Anything; only for keys that nothing reads.
    Any,
    /// One word, without spaces.
    Word,
    /// Name of a Kubernetes object.
    ObjectName,
    /// Name of a Deployment of ours, with room for what is appended to it.
    DeploymentName,
    /// Reference of a container image.
    Image,
    /// Absolute path of a directory.
    Directory,
    /// Absolute path of a file in a directory.
    Socket,
    /// Directory of nodes whose file system is measured.
    MountPoint,
    /// Address of an HTTP proxy.
    Proxy,
    /// Name of an attribute.
    Attribute,
    /// Name of a span attribute that can be a further dimension of span metrics.
    Dimension,
    /// Name of a data stream that `streams` can create.
    StreamName,
    /// Name of a data stream that labels can carry.
    Stream,
    /// Name, or pattern with `*`.
    Pattern,
    /// Label of nodes as `key=value`.
    NodeLabel,
    /// Type of Destination that has to be allowed.
    DestinationType,
    /// Type of Processor that has to be allowed.
    ProcessorType,
    /// Role of collectors.
    Role,
    /// Two hexadecimal digits.
    HexByte,
}

/// Dimensions that the span metrics connector adds itself; it rejects them as further ones.
const BUILT_IN_DIMENSIONS: [&str; 5] =
    ["service.name", "span.name", "span.kind", "status.code", "collector.instance.id"];

/// Workloads of the product beside its gateways: a gateway of the same name would take one's place.
const OWN_WORKLOADS: [&str; 6] = [
    names::INSTRUMENTOR,
    names::SCHEDULER,
    names::AUTOSCALER,
    names::AGENT_SERVICE,
    names::DETECTION,
    names::NODE_COLLECTOR,
];

/// Roles of collectors.
const ROLES: [CollectorRole; 2] = [CollectorRole::ClusterGateway, CollectorRole::NodeCollector];

impl Text {
    /// What is expected, for messages and documents.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Any => "a string",
            Self::Word => "a word without spaces",
            Self::ObjectName => "a name of lower-case letters, digits, `-` and `.`",
            Self::DeploymentName => "a name of lower-case letters, digits and `-`, at most 50",
            Self::Image => "an image such as `registry.example.com/team/agents:1.0`",
            Self::Directory => "an absolute path such as `/data/logs`",
            Self::Socket => "an absolute path such as `/run/containerd/containerd.sock`",
            Self::MountPoint => "an absolute path such as `/data`",
            Self::Proxy => "a URL such as `http://proxy.example.com:3128`",
            Self::Attribute => "the name of an attribute, without spaces",
            Self::Dimension => "the name of a span attribute that is no dimension already",
            Self::StreamName | Self::Stream => "the name of a data stream",
            Self::Pattern => "a name, `*` stands for any text",
            Self::NodeLabel => "a label as `key=value`",
            Self::DestinationType => "a type of Destination",
            Self::ProcessorType => "a type of Processor",
            Self::Role => "a role of collectors",
            Self::HexByte => "two hexadecimal digits",
        }
    }

    /// Whether the text stays although it is reported: it does no harm, or more would be lost or allowed without it.
    pub(super) const fn stays(self) -> bool {
        matches!(self, Self::Pattern | Self::Image | Self::Role)
    }

    /// What every accepted text that is not empty looks like, as a regular expression for schemas: `problem` judges more.
    #[must_use]
    pub fn pattern(self) -> Option<String> {
        let any_of = |known: &[&str]| known.join("|");
        let pattern = match self {
            Self::Any => return None,
            Self::Word | Self::Proxy | Self::Attribute | Self::Dimension => r"\S+".to_owned(),
            Self::ObjectName => "[a-z0-9]([-a-z0-9.]*[a-z0-9])?".to_owned(),
            Self::DeploymentName => "[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?".to_owned(),
            Self::Image => r"\s*[A-Za-z0-9\[]\S*\s*".to_owned(),
            Self::Directory | Self::MountPoint => r"/[^\s:]+".to_owned(),
            Self::Socket => r"(/[^/\s:]+){2,}".to_owned(),
            Self::StreamName => "[A-Za-z0-9]([-_A-Za-z0-9]{0,38}[A-Za-z0-9])?".to_owned(),
            Self::Stream => "[-_.A-Za-z0-9]*[A-Za-z0-9]".to_owned(),
            Self::Pattern => "[-a-z0-9*]*[-a-z0-9][-a-z0-9*]*".to_owned(),
            Self::NodeLabel => "[-._/A-Za-z0-9]+=[-._A-Za-z0-9]*".to_owned(),
            Self::DestinationType => any_of(&allowed_types::names()),
            Self::ProcessorType => any_of(&permission::names()).replace('_', "_?"),
            Self::Role => any_of(&ROLES.map(CollectorRole::as_str)),
            Self::HexByte => "[0-9A-Fa-f]{2}".to_owned(),
        };
        Some(pattern)
    }

    /// Why a text that is not empty is none of these.
    #[must_use]
    pub fn problem(self, text: &str) -> Option<String> {
        let has_space = || text.chars().any(|c| c.is_whitespace() || c.is_control());
        let unless = |fits: bool| (!fits).then(|| format!("expected {}", self.words()));
        match self {
            Self::Any => None,
            Self::Word => unless(!has_space()),
            Self::ObjectName => unless(is_subdomain(text)),
            Self::DeploymentName if OWN_WORKLOADS.contains(&text) => {
                Some("another workload of this product is called like that".to_owned())
            }
            Self::DeploymentName => unless(super::is_object_name(text)),
            Self::Image => unless(is_image(text.trim())),
            Self::Directory => unless(text.len() > 1 && is_path(text)),
            Self::Socket => unless(is_path(text) && text.matches('/').count() > 1),
            Self::MountPoint => scraped::mount_point_problem(text).map(str::to_owned),
            Self::Proxy => unless(is_proxy(text)),
            Self::Attribute => unless(!has_space() && !text.is_empty()),
            Self::Dimension if BUILT_IN_DIMENSIONS.contains(&text) => {
                Some("every span metric has this dimension".to_owned())
            }
            Self::Dimension => unless(!has_space() && !text.is_empty()),
            Self::StreamName if streams::is_name(text) => None,
            Self::StreamName => {
                Some("it is no name of a data stream: letters, digits, - and _ only, at most 40".to_owned())
            }
            Self::Stream if text.contains('*') => Some(
                "`*` stands for itself and no data stream can have it in its name: list each data stream".to_owned(),
            ),
            Self::Stream => labels::stream_name_problem(text),
            Self::Pattern => name_pattern::problem(text),
            Self::NodeLabel => match text.split_once('=') {
                Some((key, value)) => label_problem(key, value).map(str::to_owned),
                None => unless(false),
            },
            Self::DestinationType => one_of(text, allowed_types::names(), str::to_owned),
            Self::ProcessorType => one_of(text, permission::names(), permission::canonical),
            Self::Role => one_of(text, ROLES.map(CollectorRole::as_str).into(), str::to_owned),
            Self::HexByte => unless(text.len() == 2 && text.chars().all(|c| c.is_ascii_hexdigit())),
        }
    }
}

/// Why a text is none of the known ones, in the spelling in which they are compared.
fn one_of(text: &str, known: Vec<&'static str>, spelt: fn(&str) -> String) -> Option<String> {
    if known.iter().any(|one| spelt(one) == spelt(text)) {
        return None;
    }
    Some(match spelling::nearest(text, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("expected one of {}", known.join(", ")),
    })
}

/// Whether an object can have this name (RFC 1123 subdomain).
fn is_subdomain(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_part =
        |part: &str| !part.is_empty() && part.chars().all(is_inner) && !part.starts_with('-') && !part.ends_with('-');
    name.len() <= 253 && name.split('.').all(is_part)
}

/// Why a label cannot have this key and value.
fn label_problem(key: &str, value: &str) -> Option<&'static str> {
    label_key_problem(key).or_else(|| label_value_problem(value))
}

/// Why a label cannot have this key.
pub(super) fn label_key_problem(key: &str) -> Option<&'static str> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let fits = !name.is_empty() && is_label_name(name) && prefix.is_none_or(is_subdomain);
    (!fits).then_some(
        "no label can have this key: letters, digits, -, _ and . only, at most 63, with a domain and / in front if needed",
    )
}

/// Why a label cannot have this value.
pub(super) fn label_value_problem(value: &str) -> Option<&'static str> {
    (!is_label_name(value)).then_some("no label can have this value: letters, digits, -, _ and . only, at most 63")
}

fn is_label_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = text.chars().next().into_iter().chain(text.chars().last());
    text.len() <= 63 && text.chars().all(is_inner) && ends.into_iter().all(|c| c.is_ascii_alphanumeric())
}

fn is_path(text: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    text.starts_with('/')
        && text.split('/').skip(1).all(is_part)
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':')
}

/// Whether a container runtime takes a text as an image: path, tag and digest, each optional but the first.
fn is_image(text: &str) -> bool {
    let (named, digest) = text.split_once('@').map_or((text, None), |(named, digest)| (named, Some(digest)));
    let slash = named.rfind('/').map_or(0, |at| at + 1);
    let (path, tag) = match named.get(slash..).and_then(|last| last.rfind(':')) {
        Some(colon) => named.split_at(slash + colon),
        None => (named, ""),
    };
    let is_tag = |tag: &str| {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        (1..=128).contains(&tag.len()) && tag.chars().all(is_inner) && !tag.starts_with(['.', '-'])
    };
    let is_digest = |digest: &str| {
        digest.split_once(':').is_some_and(|(kind, hex)| {
            !kind.is_empty() && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
        })
    };
    let is_registry = |part: &str| {
        (part.contains(['.', ':']) || part == "localhost")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '[' | ']'))
    };
    let is_part = |part: &str| {
        let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        let ends = part.chars().next().into_iter().chain(part.chars().last());
        !part.is_empty() && part.chars().all(is_inner) && ends.into_iter().all(|c| c.is_ascii_alphanumeric())
    };
    let rest = match path.split_once('/') {
        Some((first, rest)) if is_registry(first) => rest,
        _ => path,
    };
    rest.split('/').all(is_part) && tag.strip_prefix(':').is_none_or(is_tag) && digest.is_none_or(is_digest)
}

/// Whether Go's HTTP client takes a text as a proxy; it completes one without a scheme.
fn is_proxy(text: &str) -> bool {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if ["http", "https", "socks5", "socks5h"].contains(&scheme) => rest,
        Some(_) => return false,
        None => text,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let is_host = |host: &str| {
        !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':'))
    };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    !text.chars().any(|c| c.is_whitespace() || c.is_control()) && is_host(host) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each kind of text accepts, and what it rejects.
    const CASES: &[(Text, &[&str], &[&str])] = &[
        (Text::Word, &["info,kube=debug"], &["a b", " a"]),
        (Text::ObjectName, &["regcred", "my.secret-2"], &["Reg Cred", "-a", "a..b", "a_b"]),
        (Text::DeploymentName, &["my-gateway"], &["My-Gateway", "a.b", "a-"]),
        (
            Text::Image,
            &[
                "a",
                "r/agent:1",
                "localhost:5000/a/b",
                "R.example.com:5000/a/b:V1.0",
                " r/agent:1 ",
                "a:1@sha256:0123456789abcdef0123456789abcdef",
            ],
            &["a b", "a:", "A/b", "a//b", "https://r.example.com/a", "a:b c", "a@sha256:12", "a:.1"],
        ),
        (Text::Directory, &["/data/logs"], &["data", "/", "/a/../etc", "/a b", "/a/", "/a:b"]),
        (Text::Socket, &["/run/containerd/containerd.sock"], &["run/a.sock", "/a.sock", "unix:///run/a.sock"]),
        (Text::MountPoint, &["/data"], &["/", "data", "/proc"]),
        (
            Text::Proxy,
            &["http://proxy:3128", "proxy.example.com:3128", "https://u:p@10.0.0.1", "socks5://[::1]:1080"],
            &["my proxy", "ftp://a", "http://", "http://a:99999", "http://a:x", "//a"],
        ),
        (Text::Attribute, &["http.url"], &["a b", ""]),
        (Text::Dimension, &["tenant"], &["service.name", "span.kind", "a b"]),
        (Text::StreamName, &["shop"], &["a b", "-a"]),
        (Text::Stream, &["shop.eu"], &["a b", "", "*", "shop*"]),
        (Text::Pattern, &["shop-*"], &["Shop", "*", ""]),
        (Text::NodeLabel, &["kubernetes.io/os=linux", "zone="], &["zone", "a b=c", "zone=a b", "=a"]),
        (Text::DestinationType, &["dynamic", "file"], &["dynamik", "otlp"]),
        (Text::ProcessorType, &["geoip", "k8s_attributes", "k8sattributes", "memorylimiter"], &["geo", "batch"]),
        (Text::Role, &["CLUSTER_GATEWAY", "NODE_COLLECTOR"], &["GATEWAY", "cluster_gateway"]),
        (Text::HexByte, &["0f"], &["0", "xx"]),
    ];

    #[test]
    fn text_is_accepted_by_what_it_is_of() {
        for (kind, accepted, rejected) in CASES {
            for text in *accepted {
                assert_eq!(kind.problem(text), None, "{kind:?} {text:?}");
            }
            for text in *rejected {
                assert!(kind.problem(text).is_some(), "{kind:?} {text:?}");
            }
        }
    }

    #[test]
    fn pattern_fits_every_accepted_text() {
        for (kind, accepted, rejected) in CASES {
            let pattern = regex::Regex::new(&format!("^({})$", kind.pattern().unwrap())).unwrap();
            for text in *accepted {
                assert!(pattern.is_match(text), "{kind:?} {text:?}");
            }
            assert!(rejected.iter().any(|text| !pattern.is_match(text)), "{kind:?} keeps something out");
        }
    }

    #[test]
    fn gateway_takes_the_name_of_no_other_workload() {
        for name in
            ["odigos-autoscaler", "odigos-scheduler", "odigos-instrumentor", "odiglet", "odigos-data-collection"]
        {
            assert!(Text::DeploymentName.problem(name).is_some(), "{name}");
        }
        assert_eq!(Text::DeploymentName.problem(names::GATEWAY), None);
    }

    #[test]
    fn label_is_what_the_api_server_takes() {
        assert_eq!(label_problem("topology.kubernetes.io/zone", "eu-1a"), None);
        assert_eq!(label_problem("zone", ""), None);
        for (key, value) in
            [("a b", "c"), ("zone", "a b"), ("A/b", "c"), ("a/b/c", "d"), ("", "a"), ("zone", "a=b"), ("-a", "b")]
        {
            assert!(label_problem(key, value).is_some(), "{key}={value}");
        }
    }
}
