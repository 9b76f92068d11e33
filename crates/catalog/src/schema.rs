//! The shape of a catalogue file. Unknown keys are refused, and every template is parsed, so a slip fails the build.
//!
//! A template is ordinary YAML in which a map with a `$` key is an expression:
//!
//! | expression | value |
//! |---|---|
//! | `{$field: {name, as?, secure?, default?, required?}}` | a setting, parsed by the normaliser `as`; left out when empty |
//! | `{$secret: {name, prefix?, optional?, usage?}}` | a reference to the environment variable that holds a secret |
//! | `{$secret_file: {name, path, usage?}}` | the path of a file that holds a secret |
//! | `{$if: condition, then, else?}` | one of two templates; nothing without `else` |
//! | `{$bool: condition}` | `true` or `false` |
//! | `{$concat: [template…]}` | texts joined; left out when one of them is left out |
//! | `{$each: {name, text}}` | a text for each item of a JSON list of strings, `{item}` being the item in OTTL quotes |
//!
//! `usage` says where a secret is used in a request ([`Usage`]); below `headers` it is a header without being said.
//!
//! `{id}` inside any text is the destination's name; `{SETTING}` inside an id is the value of that setting. This module is compiled into the build script too, so it depends
//! on nothing else of the crate.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A catalogue file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
    pub(crate) rendering: Rendering,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Metadata {
    #[serde(rename = "type")]
    pub(crate) type_id: String,
    pub(crate) display_name: String,
    pub(crate) category: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Spec {
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) manifest_only: bool,
    pub(crate) signals: Signals,
    #[serde(default)]
    pub(crate) fields: Vec<Field>,
    #[serde(default)]
    pub(crate) test_connection_supported: bool,
    /// The backend derives request rates, errors and durations from the spans that it gets, as its documentation says.
    #[serde(default)]
    pub(crate) computes_span_metrics: Option<Documented>,
    #[serde(default)]
    pub(crate) note: Option<Note>,
}

/// What the backend's own documentation says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Documented {
    /// The page that says so.
    pub(crate) source: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signals {
    #[serde(default)]
    pub(crate) traces: Support,
    #[serde(default)]
    pub(crate) metrics: Support,
    #[serde(default)]
    pub(crate) logs: Support,
    #[serde(default)]
    pub(crate) profiles: Support,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Support {
    pub(crate) supported: bool,
}

/// A setting of a destination type, as a form shows it (`spec/destinations.md` 3).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// Key in `spec.data`, or in the Secret.
    pub name: String,
    /// Label of the form.
    pub display_name: String,
    /// How the form asks for it.
    pub component_type: ComponentType,
    /// Details of the form: `type`, `required`, `values`, `placeholder`, `tooltip` and the like.
    #[serde(default)]
    pub component_props: BTreeMap<String, Value>,
    /// Whether the value belongs into the Secret.
    #[serde(default)]
    pub secret: bool,
    /// What the form starts with, as text.
    #[serde(default)]
    pub initial_value: Option<String>,
    /// What the example manifest of the type shows, where neither what the form starts with nor its first choice works. One that is not
    /// required is shown because the example would not be valid without it. `${KEY}` stands for a key of the example's Secret.
    #[serde(default)]
    pub example: Option<String>,
    /// When the form shows it; empty means always.
    #[serde(default)]
    pub render_condition: Vec<String>,
    /// When the read view hides it.
    #[serde(default)]
    pub hide_from_read_data: Vec<String>,
    /// Words that the read view shows instead of a value.
    #[serde(default)]
    pub custom_read_data_labels: Vec<ReadLabel>,
}

impl Field {
    /// Whether a form insists on a value.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.component_props.get("required").and_then(Value::as_bool).unwrap_or_default()
    }
}

/// Words shown instead of a value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadLabel {
    /// The value.
    pub condition: String,
    /// What is shown as label.
    pub title: String,
    /// What is shown as value.
    pub value: String,
}

/// How a form asks for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ComponentType {
    /// One line.
    Input,
    /// A switch; `true` or `false`.
    Checkbox,
    /// One of `values`.
    Dropdown,
    /// Several lines.
    Textarea,
    /// A JSON list of strings.
    MultiInput,
    /// A JSON list of `{key, value}`.
    KeyValuePairs,
}

/// A remark of the documentation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Note, Info, Warning, Tip or Check.
    #[serde(rename = "type")]
    pub kind: String,
    /// The remark.
    pub content: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rendering {
    /// Settings without which nothing can be rendered.
    #[serde(default)]
    pub(crate) required: Vec<String>,
    /// Settings of which at least one must be present.
    #[serde(default)]
    pub(crate) required_any: Vec<String>,
    #[serde(default)]
    pub(crate) exporters: Vec<Component>,
    #[serde(default)]
    pub(crate) processors: Vec<Component>,
    #[serde(default)]
    pub(crate) extensions: Vec<Component>,
    #[serde(default)]
    pub(crate) connectors: Vec<Component>,
    pub(crate) pipelines: Pipelines,
    /// Environment variables that the collector's libraries read by themselves.
    #[serde(default)]
    pub(crate) variables: Vec<Variable>,
    /// Settings that are checked although no component holds them.
    #[serde(default)]
    pub(crate) checks: Vec<Check>,
    /// What is said about settings that work, but probably not as meant.
    #[serde(default)]
    pub(crate) warnings: Vec<Warning>,
    /// Path that a connection test asks instead of exporting nothing.
    #[serde(default)]
    pub(crate) connection_question: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) field: String,
    #[serde(rename = "as", deserialize_with = "through_json")]
    pub(crate) normaliser: Normaliser,
}

/// A remark on a setting, said when the condition holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Warning {
    pub(crate) field: String,
    #[serde(deserialize_with = "through_json")]
    pub(crate) when: Condition,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    pub(crate) name: String,
    #[serde(default, deserialize_with = "through_json")]
    pub(crate) when: Option<Condition>,
    pub(crate) value: Template,
}

/// YAML spells enums as tags; in these files they are maps of one key, which the JSON reader understands.
fn through_json<'de, D: serde::Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<T, D::Error> {
    serde_json::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Component {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "through_json")]
    pub(crate) when: Option<Condition>,
    pub(crate) settings: Template,
}

/// Parts of every pipeline, and what single signals add. Components that are not rendered are left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pipelines {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) receivers: Vec<String>,
    #[serde(default)]
    pub(crate) processors: Vec<String>,
    #[serde(default)]
    pub(crate) exporters: Vec<String>,
    #[serde(default)]
    pub(crate) traces: PipelineAdditions,
    #[serde(default)]
    pub(crate) metrics: PipelineAdditions,
    #[serde(default)]
    pub(crate) logs: PipelineAdditions,
    /// Present where profiles can be rendered.
    #[serde(default)]
    pub(crate) profiles: Option<PipelineAdditions>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PipelineAdditions {
    /// Settings of which at least one must be present for this signal to be sent.
    #[serde(default)]
    pub(crate) needs_any: Vec<String>,
    /// Name of this signal's pipeline where it differs from the others'.
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) receivers: Vec<String>,
    #[serde(default)]
    pub(crate) processors: Vec<String>,
    #[serde(default)]
    pub(crate) exporters: Vec<String>,
}

/// Where a text is used in a request, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// A setting that takes any text.
    Setting,
    /// A header of HTTP requests, or a part of one.
    HttpHeader,
    /// A header of gRPC requests, or a part of one.
    GrpcHeader,
    /// The password in a URL.
    UrlPassword,
    /// The whole URL of an OTLP server, to which the exporter appends the path of each signal.
    OtlpUrl,
    /// A file with any text.
    File,
    /// A file with credentials of Google Cloud.
    GoogleCredentials,
    /// A file with certificates in PEM.
    Certificates,
    /// A file with a private key in PEM.
    PrivateKey,
}

/// When something is rendered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Condition {
    /// The setting is true, in any spelling of a boolean.
    IsTrue(String),
    /// The same, where older forms wrote `Yes` and `No` as well.
    IsLegacyTrue(String),
    /// The setting is present and not blank.
    IsSet(String),
    /// The key is present, even if blank.
    Has(String),
    /// The setting is a JSON list with at least one item.
    HasItems(String),
    /// The key is in the Secret, or in plain text among the settings.
    HasSecret(String),
    /// The signal is selected.
    HasSignal(String),
    /// The setting has this value.
    Equals(String, String),
    /// The setting begins with this text, in any case.
    StartsWith(String, String),
    /// The setting contains this text, not followed by a further digit.
    Contains(String, String),
    /// The setting has this value in any case.
    EqualsIgnoringCase(String, String),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

/// How a text becomes a value (`spec/destinations.md` 5 and 6).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Normaliser {
    #[default]
    Text,
    GrpcHostport,
    OtlpHttpUrl,
    /// The whole URL of one signal, to which nothing is appended.
    SignalUrl,
    LokiUrl,
    PromRwUrl,
    ClickhouseUrl,
    TempoHostport,
    AbsolutePath,
    Integer,
    PositiveInteger,
    Boolean,
    Duration,
    StringList,
    JoinedList,
    CommaList,
    KeyValues,
    Pem,
    Float,
    /// `http(s)://host:port/path` with a default port and a path that must be this one.
    HttpUrl {
        port: Option<u16>,
        path: Option<String>,
    },
    /// `host:port` as typed, with or without a scheme; the port must be there.
    HostWithPort,
    GrafanaLokiUrl,
    GrafanaTempoHostport,
    GrafanaPrometheusUrl,
    ElasticsearchUrl,
    ElasticApmHostport,
    CauselyHostport,
    SignozHostport,
    DynatraceUrl,
    OracleUrl,
    ChronosphereCompany,
    /// Scheme of a URL, `https` unless given.
    UrlScheme,
    /// Everything behind the scheme of a URL and its user, without a slash at the end and without a path that the exporter appends.
    UrlRest,
    /// Host of a URL without its first label.
    UrlDomain,
    /// A text as user or password of a URL.
    UrlUser,
    /// A JSON object of strings, or a JSON list of `{key, value}`.
    TextMap,
    /// A YAML mapping, verbatim.
    YamlMap,
    Choice(Vec<String>),
    /// A whole number that is one of these.
    Numbers(Vec<i64>),
    Table(BTreeMap<String, String>),
    /// `host:port` with this port unless one is given.
    HostAndPort(u16),
    /// A complete URL with `http://` or `https://`.
    Url,
    /// Headers of HTTP.
    Headers,
    /// Headers of gRPC.
    GrpcHeaders,
    /// Kafka brokers.
    Brokers,
    Version,
    /// A version of Kafka that the exporter's client knows.
    KafkaVersion,
    /// A whole number from the first to the second; zero is left to the component.
    Between(i64, i64),
    /// A duration that the component does not find too short.
    DurationAtLeast(String),
    /// One label of a domain name.
    Label,
    Domain,
    DatadogSite,
    Bucket,
    AwsRegion,
    GcpProject,
    AzureAccount,
    AzureContainer,
    /// Name of a database or table.
    Identifier,
    /// Tags, each with a value.
    Tags,
    /// Name of a log group or stream of CloudWatch.
    LogName,
    /// Labels of metrics, none of them empty.
    Labels,
    AzureConnectionString,
    AzureInstrumentationKey,
    /// The user of HTTP basic authentication.
    BasicUser,
    KafkaTopic,
    ElasticsearchIndex,
    /// Path with conversions of strftime.
    PartitionFormat,
    UptraceDsn,
    /// Address of an API of AWS, `https` unless given.
    AwsEndpoint,
    AwsRoleArn,
    /// Any ARN.
    AwsArn,
    /// A JSON list of log groups of CloudWatch.
    LogGroups,
    GcsBucket,
    /// A JSON list of attributes, joined.
    LokiLabels,
}

/// A value with expressions in it.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    Literal(Value),
    List(Vec<Template>),
    Map(BTreeMap<String, Template>),
    Field(FieldExpression),
    Secret(SecretExpression),
    SecretFile(SecretFileExpression),
    Concat(Vec<Template>),
    Each(EachExpression),
    If(Condition, Box<Template>, Option<Box<Template>>),
    Bool(Condition),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldExpression {
    pub(crate) name: String,
    #[serde(default, rename = "as")]
    pub(crate) normaliser: Normaliser,
    #[serde(default)]
    pub(crate) secure: Option<Condition>,
    #[serde(default)]
    pub(crate) default: Option<Value>,
    #[serde(default)]
    pub(crate) required: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretExpression {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) prefix: String,
    /// Left out when the Secret has no such key.
    #[serde(default)]
    pub(crate) optional: bool,
    #[serde(default)]
    pub(crate) usage: Option<Usage>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EachExpression {
    pub(crate) name: String,
    pub(crate) text: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretFileExpression {
    pub(crate) name: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) usage: Option<Usage>,
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Template {
    fn from_value(value: Value) -> Result<Self, String> {
        let map = match value {
            Value::Object(map) => map,
            Value::Array(list) => {
                return Ok(Self::List(list.into_iter().map(Self::from_value).collect::<Result<_, _>>()?));
            }
            literal => return Ok(Self::Literal(literal)),
        };
        let Some(key) = map.keys().find(|key| key.starts_with('$')).cloned() else {
            let entries = map.into_iter().map(|(key, value)| Ok((key, Self::from_value(value)?)));
            return Ok(Self::Map(entries.collect::<Result<_, String>>()?));
        };
        let mut map = map;
        let argument = map.remove(&key).unwrap_or_default();
        let template = match key.as_str() {
            "$field" => Self::Field(parse(&key, argument)?),
            "$secret" => Self::Secret(parse(&key, argument)?),
            "$secret_file" => Self::SecretFile(parse(&key, argument)?),
            "$concat" => Self::Concat(parse(&key, argument)?),
            "$each" => Self::Each(parse(&key, argument)?),
            "$bool" => Self::Bool(parse(&key, argument)?),
            "$if" => {
                let then = map.remove("then").ok_or("$if needs then")?;
                let otherwise = map.remove("else").map(Self::from_value).transpose()?.map(Box::new);
                Self::If(parse(&key, argument)?, Box::new(Self::from_value(then)?), otherwise)
            }
            unknown => return Err(format!("{unknown} is no expression")),
        };
        match map.keys().next() {
            None => Ok(template),
            Some(rest) => Err(format!("{rest} cannot stand beside {key}")),
        }
    }

    /// Names of all settings that the template reads.
    pub(crate) fn names(&self, found: &mut Vec<String>) {
        match self {
            Self::Literal(_) => {}
            Self::List(list) => list.iter().for_each(|item| item.names(found)),
            Self::Map(map) => map.values().for_each(|item| item.names(found)),
            Self::Field(field) => {
                found.push(field.name.clone());
                field.secure.iter().for_each(|condition| condition.names(found));
            }
            Self::Secret(secret) => found.push(secret.name.clone()),
            Self::SecretFile(secret) => found.push(secret.name.clone()),
            Self::Concat(parts) => parts.iter().for_each(|part| part.names(found)),
            Self::Each(each) => found.push(each.name.clone()),
            Self::Bool(condition) => condition.names(found),
            Self::If(condition, then, otherwise) => {
                condition.names(found);
                then.names(found);
                otherwise.iter().for_each(|template| template.names(found));
            }
        }
    }
}

/// Settings that conditions read as booleans, by name; true where older forms wrote other words as well.
pub(crate) type Switches<'a> = BTreeMap<&'a str, bool>;

impl Rendering {
    /// Every setting that a condition reads as a boolean.
    pub(crate) fn switches(&self) -> Switches<'_> {
        let mut found = Switches::new();
        for component in [&self.exporters, &self.processors, &self.extensions, &self.connectors].into_iter().flatten() {
            component.when.iter().for_each(|condition| condition.switches(&mut found));
            component.settings.switches(&mut found);
        }
        for variable in &self.variables {
            variable.when.iter().for_each(|condition| condition.switches(&mut found));
            variable.value.switches(&mut found);
        }
        self.warnings.iter().for_each(|warning| warning.when.switches(&mut found));
        found
    }
}

impl Template {
    fn switches<'a>(&'a self, found: &mut Switches<'a>) {
        match self {
            Self::Literal(_) | Self::Secret(_) | Self::SecretFile(_) | Self::Each(_) => {}
            Self::List(list) | Self::Concat(list) => list.iter().for_each(|item| item.switches(found)),
            Self::Map(map) => map.values().for_each(|item| item.switches(found)),
            Self::Field(field) => field.secure.iter().for_each(|condition| condition.switches(found)),
            Self::Bool(condition) => condition.switches(found),
            Self::If(condition, then, otherwise) => {
                condition.switches(found);
                then.switches(found);
                otherwise.iter().for_each(|template| template.switches(found));
            }
        }
    }
}

impl Condition {
    fn switches<'a>(&'a self, found: &mut Switches<'a>) {
        match self {
            Self::IsTrue(name) => {
                found.entry(name).or_insert(false);
            }
            Self::IsLegacyTrue(name) => {
                found.insert(name, true);
            }
            Self::IsSet(_)
            | Self::Has(_)
            | Self::HasSecret(_)
            | Self::HasItems(_)
            | Self::HasSignal(_)
            | Self::Equals(..)
            | Self::StartsWith(..)
            | Self::Contains(..)
            | Self::EqualsIgnoringCase(..) => {}
            Self::Not(inner) => inner.switches(found),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.switches(found)),
        }
    }

    pub(crate) fn names(&self, found: &mut Vec<String>) {
        match self {
            Self::IsTrue(name)
            | Self::IsLegacyTrue(name)
            | Self::IsSet(name)
            | Self::Has(name)
            | Self::HasSecret(name)
            | Self::HasItems(name)
            | Self::Equals(name, _)
            | Self::StartsWith(name, _)
            | Self::Contains(name, _)
            | Self::EqualsIgnoringCase(name, _) => found.push(name.clone()),
            Self::HasSignal(_) => {}
            Self::Not(inner) => inner.names(found),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.names(found)),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(key: &str, value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("{key}: {error}"))
}

impl File {
    /// Reads a catalogue file and checks that it makes sense on its own.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: Self = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        if file.api_version != "internal.odigos.io/v1beta1" || file.kind != "Destination" {
            return Err("apiVersion must be internal.odigos.io/v1beta1 and kind Destination".into());
        }
        let declared: Vec<&str> = file.spec.fields.iter().map(|field| field.name.as_str()).collect();
        let rendering = &file.rendering;
        let mut read: Vec<String> = rendering.required.iter().chain(&rendering.required_any).cloned().collect();
        read.extend(rendering.checks.iter().map(|check| check.field.clone()));
        let all = rendering
            .exporters
            .iter()
            .chain(&rendering.processors)
            .chain(&rendering.extensions)
            .chain(&rendering.connectors);
        let mut ids = Vec::new();
        for component in all {
            component.settings.names(&mut read);
            component.when.iter().for_each(|condition| condition.names(&mut read));
            ids.push(component.id.as_str());
        }
        for variable in &rendering.variables {
            variable.value.names(&mut read);
            variable.when.iter().for_each(|condition| condition.names(&mut read));
        }
        for warning in &rendering.warnings {
            read.push(warning.field.clone());
            warning.when.names(&mut read);
        }
        let pipelines = &rendering.pipelines;
        let none = PipelineAdditions::default();
        let profiles = pipelines.profiles.as_ref().unwrap_or(&none);
        let additions = [&pipelines.traces, &pipelines.metrics, &pipelines.logs, profiles];
        read.extend(additions.iter().flat_map(|additions| additions.needs_any.clone()));
        if let Some(unknown) = read.iter().find(|name| !declared.contains(&name.as_str())) {
            return Err(format!("rendering reads {unknown}, which is not among spec.fields"));
        }
        // An id may hold the value of a setting.
        let is_read = |name: &&str| read.iter().any(|one| one == name) || ids.iter().any(|id| id.contains(name));
        if let Some(ignored) = declared.iter().find(|name| !is_read(name)) {
            return Err(format!(
                "spec.fields names {ignored}, which nothing reads; render it, or say in rendering.warnings that it has no effect"
            ));
        }
        let named = pipelines.receivers.iter().chain(&pipelines.processors).chain(&pipelines.exporters);
        let named = named
            .chain(additions.into_iter().flat_map(|a| a.receivers.iter().chain(&a.processors).chain(&a.exporters)));
        for id in named {
            if !ids.contains(&id.as_str()) {
                return Err(format!("rendering.pipelines names {id}, which is not rendered"));
            }
        }
        Ok(file)
    }
}
