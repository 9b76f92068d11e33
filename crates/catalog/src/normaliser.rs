//! The rules that templates name: each text to its value, with everything that is wrong with it, or what is said of it.
//!
//! Owns which rule stands behind which word of a catalogue file. The rules themselves are in [`normalise`].

use crate::normalise;
use crate::normalise::header::{self, Transport};
use crate::schema::Normaliser;
use serde_json::{Value, json};

/// Everything that is wrong with a text: a list can have several wrong items.
#[derive(Debug)]
pub(crate) struct Problems(pub(crate) Vec<String>);

impl From<String> for Problems {
    fn from(problem: String) -> Self {
        Self(vec![problem])
    }
}

impl From<Vec<String>> for Problems {
    fn from(problems: Vec<String>) -> Self {
        Self(problems)
    }
}

/// What is said of a setting that a normaliser takes.
pub(crate) fn remarks(normaliser: &Normaliser, text: &str) -> Vec<String> {
    match normaliser {
        Normaliser::OtlpHttpUrl
        | Normaliser::HttpUrl { .. }
        | Normaliser::UrlRest
        | Normaliser::LokiUrl
        | Normaliser::GrafanaLokiUrl
        | Normaliser::DynatraceUrl
        | Normaliser::OracleUrl => normalise::appended(text).into_iter().chain(loki_remark(normaliser, text)).collect(),
        Normaliser::SignalUrl => normalise::signal_url_remark(text).into_iter().collect(),
        Normaliser::CauselyHostport => normalise::causely_remark(text).into_iter().collect(),
        Normaliser::Headers => header::left_out(text, Transport::Http),
        Normaliser::GrpcHeaders => header::left_out(text, Transport::Grpc),
        Normaliser::DatadogSite => normalise::datadog_site_remark(text).into_iter().collect(),
        Normaliser::AwsRegion => normalise::aws_region_remark(text).into_iter().collect(),
        Normaliser::GcpProject => normalise::gcp_project_remark(text).into_iter().collect(),
        Normaliser::Identifier => normalise::identifier_remark(text).into_iter().collect(),
        Normaliser::AzureConnectionString => normalise::azure_connection_string_remark(text).into_iter().collect(),
        Normaliser::AzureInstrumentationKey => normalise::azure_instrumentation_key_remark(text).into_iter().collect(),
        Normaliser::ElasticsearchIndex => normalise::elasticsearch_index_remark(text).into_iter().collect(),
        Normaliser::PartitionFormat => normalise::partition_format_remark(text).into_iter().collect(),
        Normaliser::AwsArn | Normaliser::AwsRoleArn => normalise::aws_arn_remark(text).into_iter().collect(),
        Normaliser::LogGroups => normalise::log_groups_remark(text).into_iter().collect(),
        Normaliser::Bucket => normalise::s3_bucket_remark(text).into_iter().collect(),
        Normaliser::LokiLabels => normalise::loki_labels_remark(text).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn loki_remark(normaliser: &Normaliser, text: &str) -> Option<String> {
    matches!(normaliser, Normaliser::LokiUrl).then(|| normalise::loki_remark(text)).flatten()
}

pub(crate) fn normalised(normaliser: &Normaliser, text: &str, secure: bool) -> Result<Value, Problems> {
    Ok(match normaliser {
        Normaliser::Text => json!(text.trim()),
        Normaliser::GrpcHostport => json!(normalise::grpc_hostport(text, secure)?),
        Normaliser::OtlpHttpUrl => json!(normalise::otlp_http_url(text, None, None)?),
        Normaliser::SignalUrl => json!(normalise::http_url(text, None, None)?),
        Normaliser::LokiUrl => json!(normalise::loki_url(text)?),
        Normaliser::PromRwUrl => json!(normalise::prom_rw_url(text)?),
        Normaliser::ClickhouseUrl => json!(normalise::clickhouse_url(text)?),
        Normaliser::TempoHostport => json!(normalise::tempo_hostport(text)?),
        Normaliser::AbsolutePath => json!(normalise::absolute_path(text)?),
        Normaliser::Integer => json!(normalise::integer(text)?),
        // Zero means "no limit", which exporters spell by leaving the key out.
        Normaliser::PositiveInteger => match normalise::integer(text)? {
            0 => Value::Null,
            number if number > 0 => json!(number),
            number => return Err(format!("{number} is below zero").into()),
        },
        Normaliser::Boolean => json!(normalise::boolean(text)?),
        Normaliser::Duration => json!(normalise::duration(text)?),
        Normaliser::DurationAtLeast(least) => json!(normalise::duration_at_least(text, least)?),
        Normaliser::StringList => json!(normalise::string_list(text)?),
        Normaliser::JoinedList | Normaliser::LokiLabels => json!(normalise::string_list(text)?.join(", ")),
        Normaliser::CommaList => json!(normalise::comma_list(text)),
        Normaliser::KeyValues => json!(normalise::key_values(text)?),
        Normaliser::Pem => json!(normalise::pem(text)?),
        Normaliser::Float => json!(normalise::float(text)?),
        Normaliser::HttpUrl { port, path } => json!(normalise::otlp_http_url(text, *port, path.as_deref())?),
        Normaliser::HostWithPort => json!(normalise::host_with_port(text)?),
        Normaliser::GrafanaLokiUrl => json!(normalise::grafana_loki_url(text)?),
        Normaliser::GrafanaTempoHostport => json!(normalise::grafana_tempo_hostport(text)?),
        Normaliser::GrafanaPrometheusUrl => json!(normalise::grafana_prometheus_url(text)?),
        Normaliser::ElasticsearchUrl => json!(normalise::elasticsearch_url(text)?),
        Normaliser::ElasticApmHostport => json!(normalise::elastic_apm_hostport(text)?),
        Normaliser::CauselyHostport => json!(normalise::causely_hostport(text)?),
        Normaliser::SignozHostport => json!(normalise::signoz_hostport(text)?),
        Normaliser::DynatraceUrl => json!(normalise::dynatrace_url(text)?),
        Normaliser::OracleUrl => json!(normalise::oracle_url(text)?),
        Normaliser::ChronosphereCompany => json!(normalise::chronosphere_company(text)?),
        Normaliser::UrlScheme => json!(normalise::url_scheme(text)?),
        Normaliser::UrlRest => json!(normalise::url_rest(text)?),
        Normaliser::UrlDomain => json!(normalise::url_domain(text)?),
        Normaliser::UrlUser => json!(normalise::url_user(text)?),
        Normaliser::TextMap => json!(normalise::text_map(text)?),
        Normaliser::YamlMap => normalise::yaml_map(text)?,
        Normaliser::Choice(values) if values.iter().any(|value| value == text.trim()) => json!(text.trim()),
        Normaliser::Choice(values) => return Err(format!("it must be one of {}", values.join(", ")).into()),
        Normaliser::Numbers(numbers) => match normalise::integer(text)? {
            number if numbers.contains(&number) => json!(number),
            number => {
                let known: Vec<String> = numbers.iter().map(i64::to_string).collect();
                return Err(format!("{number} is not one of {}", known.join(", ")).into());
            }
        },
        Normaliser::Table(table) => match table.get(text.trim()) {
            Some(value) => json!(value),
            None => {
                return Err(
                    format!("it must be one of {}", table.keys().cloned().collect::<Vec<_>>().join(", ")).into()
                );
            }
        },
        Normaliser::HostAndPort(port) => json!(normalise::host_and_default_port(text, *port)?),
        Normaliser::Url => json!(normalise::complete_url(text)?),
        Normaliser::Headers => json!(header::headers(text, Transport::Http)?),
        Normaliser::GrpcHeaders => json!(header::headers(text, Transport::Grpc)?),
        Normaliser::Brokers => json!(normalise::brokers(text)?),
        Normaliser::Version => json!(normalise::version(text)?),
        Normaliser::KafkaVersion => json!(normalise::kafka_version(text)?),
        Normaliser::Between(least, most) => match normalise::integer(text)? {
            0 => Value::Null,
            number if (*least..=*most).contains(&number) => json!(number),
            number => return Err(format!("{number} is neither 0 nor between {least} and {most}").into()),
        },
        Normaliser::Label => json!(normalise::label(text)?),
        Normaliser::Domain => json!(normalise::domain(text)?),
        Normaliser::DatadogSite => json!(normalise::datadog_site(text)?),
        Normaliser::Bucket => json!(normalise::bucket(text)?),
        Normaliser::AwsRegion => json!(normalise::aws_region(text)?),
        Normaliser::GcpProject => json!(normalise::gcp_project(text)?),
        Normaliser::AzureAccount => json!(normalise::azure_account(text)?),
        Normaliser::AzureContainer => json!(normalise::azure_container(text)?),
        Normaliser::Identifier => json!(normalise::identifier(text)?),
        Normaliser::Tags => json!(normalise::tags(text)?),
        Normaliser::LogName => json!(normalise::log_name(text)?),
        Normaliser::Labels => json!(normalise::labels(text)?),
        Normaliser::AzureConnectionString => json!(normalise::azure_connection_string(text)?),
        Normaliser::AzureInstrumentationKey => json!(normalise::azure_instrumentation_key(text)?),
        Normaliser::BasicUser => json!(normalise::basic_user(text)?),
        Normaliser::KafkaTopic => json!(normalise::kafka_topic(text)?),
        Normaliser::ElasticsearchIndex => json!(normalise::elasticsearch_index(text)?),
        Normaliser::PartitionFormat => json!(normalise::partition_format(text)?),
        Normaliser::UptraceDsn => json!(normalise::uptrace_dsn(text)?),
        Normaliser::AwsEndpoint => json!(normalise::aws_endpoint(text)?),
        Normaliser::AwsRoleArn => json!(normalise::aws_role_arn(text)?),
        Normaliser::AwsArn => json!(text.trim()),
        Normaliser::LogGroups => json!(normalise::string_list(text)?),
        Normaliser::GcsBucket => json!(normalise::gcs_bucket(text)?),
    })
}
