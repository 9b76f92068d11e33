//! Names and addresses in the form that the service behind an exporter documents: topics, indices, connection strings, ARNs, partitions, users.
//!
//! Owns what such a service or its client surely refuses, which is refused here, and what only looks wrong, of which remarks speak. Where a
//! client of the collector decides, the rule was read from its code and tried on the collector.

use super::http_url;
use super::value::shown;

/// The user of HTTP basic authentication (RFC 7617).
///
/// # Errors
/// When it holds a colon, at which every server ends the name, or a control character.
pub fn basic_user(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().find(|c| *c == ':' || c.is_control()) {
        Some(':') => Err(
            "it holds a colon, at which servers end the name of a user: HTTP basic authentication cannot carry it; write the user alone, and the password into the Secret"
                .into(),
        ),
        Some(c) => Err(format!("it holds {c:?}, which HTTP basic authentication cannot carry")),
        None => Ok(text.to_owned()),
    }
}

/// The name of a topic of Kafka (`org.apache.kafka.common.internals.Topic`).
///
/// # Errors
/// When a broker refuses it.
pub fn kafka_topic(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-')) {
        return Err(format!(
            "{} is not the name of a topic: it holds {c:?}; Kafka takes letters, digits, ., _ and -",
            shown(text)
        ));
    }
    match text {
        "" | "." | ".." => Err(format!("{} is not the name of a topic", shown(text))),
        _ if text.len() > 249 => Err(format!("it has {} characters; Kafka takes 249 for a topic", text.len())),
        _ => Ok(text.to_owned()),
    }
}

/// The name of an index, data stream or alias of Elasticsearch.
///
/// # Errors
/// When Elasticsearch refuses to create it and it cannot exist as an alias either.
pub fn elasticsearch_index(text: &str) -> Result<String, String> {
    let text = text.trim();
    // `<logs-{now/d}>` is a name with a date, which Elasticsearch works out.
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).filter(|bare| bare.contains('{'));
    if bare.is_none()
        && let Some(c) = text.chars().find(|c| r#"\/*?"<>| ,#:"#.contains(*c) || c.is_control())
    {
        return Err(format!("{} is not the name of an index: Elasticsearch takes no {c:?} in it", shown(text)));
    }
    if text.starts_with(['-', '_', '+']) || matches!(text, "." | "..") {
        return Err(format!(
            "{} is not the name of an index: it may be neither . nor .. nor begin with -, _ or +",
            shown(text)
        ));
    }
    if text.len() > 255 {
        return Err(format!("it has {} bytes; Elasticsearch takes 255 for the name of an index", text.len()));
    }
    Ok(text.to_owned())
}

/// What is said of the name of an index in which upper case occurs: only an alias can have it.
#[must_use]
pub fn elasticsearch_index_remark(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.starts_with('<') && text.chars().any(char::is_uppercase)).then(|| {
        format!("{} has upper case, which Elasticsearch takes in an alias alone; where none of that name exists, nothing is stored", shown(text))
    })
}

/// Longest connection string that the exporter of Azure Monitor takes.
const CONNECTION_STRING_LENGTH: usize = 4096;

/// A connection string of Azure Monitor: `InstrumentationKey=…;IngestionEndpoint=…`, without a semicolon at its end, with which the exporter would
/// stop the collector.
///
/// # Errors
/// When the exporter cannot read it, or its address is none.
pub fn azure_connection_string(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches([';', ' ']);
    if text.len() > CONNECTION_STRING_LENGTH {
        return Err(format!("it is longer than {CONNECTION_STRING_LENGTH} characters"));
    }
    let mut has_key = false;
    for part in text.split(';') {
        let Some((key, value)) = part.split_once('=') else {
            return Err(format!("{} is no pair of name=value; copy the whole connection string", shown(part)));
        };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "" => return Err("one of its names is empty".into()),
            "InstrumentationKey" => has_key = !value.is_empty(),
            "IngestionEndpoint" if !value.is_empty() => {
                http_url(value, None, None).map_err(|why| format!("its IngestionEndpoint: {why}"))?;
            }
            other
                if other.eq_ignore_ascii_case("InstrumentationKey")
                    || other.eq_ignore_ascii_case("IngestionEndpoint") =>
            {
                let right =
                    if other.len() == "InstrumentationKey".len() { "InstrumentationKey" } else { "IngestionEndpoint" };
                return Err(format!("the exporter reads {right} in this spelling alone, not {other}"));
            }
            _ => {}
        }
    }
    if has_key {
        Ok(text.to_owned())
    } else {
        Err("it has no InstrumentationKey=…; copy the whole connection string".into())
    }
}

/// What is said of a connection string whose key is none of those that Azure gives.
#[must_use]
pub fn azure_connection_string_remark(text: &str) -> Option<String> {
    let mut pairs = text.split(';').filter_map(|part| part.split_once('='));
    let key = pairs.rfind(|(key, _)| key.trim() == "InstrumentationKey")?.1;
    azure_instrumentation_key_remark(key)
}

/// What is said of an instrumentation key that is no GUID.
#[must_use]
pub fn azure_instrumentation_key_remark(text: &str) -> Option<String> {
    let parts: Vec<usize> = text.trim().split('-').map(str::len).collect();
    let is_guid = parts == [8, 4, 4, 4, 12] && text.trim().chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    (!is_guid).then(|| "the instrumentation key is no GUID such as 00000000-0000-0000-0000-000000000000, as those of Azure are; it is used as it is".into())
}

/// The instrumentation key of Azure Monitor.
///
/// # Errors
/// When it is a connection string or holds a character that no key has.
pub fn azure_instrumentation_key(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.contains(['=', ';']) {
        return Err("it is a connection string, which has a setting of its own; write the key alone".into());
    }
    match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Some(c) => Err(format!("it holds {c:?}, which no key has")),
        None => Ok(text.to_owned()),
    }
}

/// Path of objects in a bucket, with conversions of strftime.
///
/// # Errors
/// When it holds a control character or is longer than the key of an object can be.
pub fn partition_format(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return Err(format!("it holds {c:?}"));
    }
    if text.len() > 900 {
        return Err("it is longer than the key of an object can be".into());
    }
    Ok(text.to_owned())
}

/// What is said of a path in which a conversion is unknown, or none is.
#[must_use]
pub fn partition_format_remark(text: &str) -> Option<String> {
    /// Conversions that the exporter's library knows.
    const KNOWN: &str = "YyCgGmBbhAawuVUWedjkHlIPpMSsfZztn%c+vrFDxTXR";
    let text = text.trim();
    if !text.contains('%') {
        return Some("it has no conversion such as %Y/%m/%d, so all objects get one path".into());
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        // Flags and a width, and the colons of `%:z`.
        let bare = after.trim_start_matches(|c: char| "-_^#0:".contains(c) || c.is_ascii_digit());
        let Some(conversion) = bare.chars().next() else {
            return Some("it ends with a %, which is kept as it is".into());
        };
        if !KNOWN.contains(conversion) {
            return Some(format!(
                "%{conversion} is no conversion of strftime that the exporter knows, and is kept as it is"
            ));
        }
        rest = bare.get(conversion.len_utf8()..).unwrap_or_default();
    }
    None
}

/// The DSN of a project of Uptrace: `https://<token>@<host>?grpc=4317`.
///
/// # Errors
/// When it is no URL, or holds no token, without which nothing is taken.
pub fn uptrace_dsn(text: &str) -> Result<String, String> {
    let text = text.trim();
    http_url(text, None, None)?;
    let after = text.split_once("://").map_or(text, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((token, _)) if !token.is_empty() => Ok(text.to_owned()),
        _ => Err("it holds no token; copy the whole DSN, such as https://${TOKEN}@api.uptrace.dev?grpc=4317 with the token in the key TOKEN of the Secret".into()),
    }
}

/// Address of an API of AWS, with `https://` unless given: the client takes a URL alone.
///
/// # Errors
/// When it is none.
pub fn aws_endpoint(text: &str) -> Result<String, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    http_url(&with_scheme, None, None)
}

/// The parts of `arn:partition:service:region:account:resource`.
fn arn_parts(text: &str) -> Option<[&str; 5]> {
    let mut parts = text.strip_prefix("arn:")?.splitn(5, ':');
    let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let [partition, service, _, account, resource] = parts;
    let is_account = account == "aws" || account.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = partition.starts_with("aws") && !service.is_empty() && !resource.is_empty() && is_account;
    (is_whole && !text.contains(char::is_whitespace)).then_some(parts)
}

/// The ARN of a role that is assumed.
///
/// # Errors
/// When it is the ARN of no role: the token service refuses it.
pub fn aws_role_arn(text: &str) -> Result<String, String> {
    let text = text.trim();
    match arn_parts(text) {
        Some([_, "iam", "", account, resource])
            if !account.is_empty() && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("{} is not the ARN of a role, such as arn:aws:iam::123456789012:role/telemetry", shown(text))),
    }
}

/// What is said of a text that is no ARN where one is expected, or whose account is none.
#[must_use]
pub fn aws_arn_remark(text: &str) -> Option<String> {
    let text = text.trim();
    match arn_parts(text) {
        Some([_, _, _, account, _]) if matches!(account.len(), 0 | 12) || account == "aws" => None,
        Some([_, _, _, account, _]) => Some(format!(
            "the account {} of the ARN does not have the 12 digits that accounts of AWS have",
            shown(account)
        )),
        None => Some(format!(
            "{} is not an ARN, such as arn:aws:ec2:us-east-1:123456789012:instance/i-0abc; it is sent as it is",
            shown(text)
        )),
    }
}

/// What is said of names of log groups that CloudWatch cannot have.
#[must_use]
pub fn log_groups_remark(text: &str) -> Option<String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "_/.#-".contains(c);
    let groups = super::string_list(text).ok()?;
    let wrong = groups
        .iter()
        .find(|group| group.len() > 512 || (!group.starts_with("arn:") && !group.chars().all(is_legal)))?;
    Some(format!("{} is not the name of a log group of CloudWatch, so no trace leads to it", shown(wrong)))
}

/// The name of a bucket of Google Cloud Storage.
///
/// # Errors
/// When it is none: the exporter creates it, and the collector stops where that fails.
pub fn gcs_bucket(text: &str) -> Result<String, String> {
    let text = super::bucket(text)?;
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_name = is_edge(text.chars().next())
        && is_edge(text.chars().last())
        && !text.chars().any(|c| c.is_ascii_uppercase())
        && text.len() <= 222
        && text.split('.').all(|part| !part.is_empty() && part.len() <= 63);
    if is_name {
        return Ok(text);
    }
    Err(format!(
        "{} is not the name of a bucket: lower-case letters, digits, -, _ and ., a letter or digit at both ends, 63 characters between dots",
        shown(&text)
    ))
}

/// What is said of the name of a bucket that S3 gives to nobody any more.
#[must_use]
pub fn s3_bucket_remark(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with("arn:") {
        return None;
    }
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_name = text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
        && is_edge(text.chars().next())
        && is_edge(text.chars().last())
        && !text.contains("..");
    (!is_name).then(|| {
        format!(
            "{} is not a name that S3 gives to buckets (3 to 63 lower-case letters, digits, - and .), though old ones may have it; it is used as it is",
            shown(text)
        )
    })
}

/// What is said of attributes that are to become labels of Loki.
#[must_use]
pub fn loki_labels_remark(text: &str) -> Option<String> {
    let labels = super::string_list(text).ok()?;
    let wrong =
        labels.iter().find(|label| label.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()))?;
    Some(format!("{} is not the name of one attribute; write a list with one name an item", shown(wrong)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    type Rule = fn(&str) -> Result<String, String>;
    type Remark = fn(&str) -> Option<String>;

    const NONE: Remark = |_| None;
    const ANY: Rule = |text| Ok(text.to_owned());
    const GUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    /// Rule, remark, text, whether it is taken, whether something is said.
    #[test]
    fn names_of_services_are_refused_where_they_can_never_work_and_remarked_where_they_look_wrong() {
        let cases: &[(Rule, Remark, &str, bool, bool)] = &[
            (basic_user, NONE, "shop", true, false),
            (basic_user, NONE, " 123456 ", true, false),
            (basic_user, NONE, "shop@example.com", true, false),
            (basic_user, NONE, "shop:password", false, false),
            (basic_user, NONE, "sh\top", false, false),
            (kafka_topic, NONE, "otlp_spans", true, false),
            (kafka_topic, NONE, "team.shop-1", true, false),
            (kafka_topic, NONE, "team/shop", false, false),
            (kafka_topic, NONE, "team shop", false, false),
            (kafka_topic, NONE, "..", false, false),
            (kafka_topic, NONE, "{service}", false, false),
            (elasticsearch_index, elasticsearch_index_remark, "traces-odigos", true, false),
            (elasticsearch_index, elasticsearch_index_remark, ".traces", true, false),
            (elasticsearch_index, elasticsearch_index_remark, "<traces-{now/d}>", true, false),
            (elasticsearch_index, elasticsearch_index_remark, "Traces", true, true),
            (elasticsearch_index, elasticsearch_index_remark, "traces-*", false, false),
            (elasticsearch_index, elasticsearch_index_remark, "_traces", false, false),
            (elasticsearch_index, elasticsearch_index_remark, "traces 1", false, false),
            (elasticsearch_index, elasticsearch_index_remark, "a:b", false, false),
            (elasticsearch_index, elasticsearch_index_remark, "..", false, false),
            (partition_format, partition_format_remark, "year=%Y/month=%m/day=%d", true, false),
            (partition_format, partition_format_remark, "%-d/%03j/%:z/100%%", true, false),
            (partition_format, partition_format_remark, "yyyy/MM/dd", true, true),
            (partition_format, partition_format_remark, "%Y/%Q", true, true),
            (partition_format, partition_format_remark, "%Y/%", true, true),
            (partition_format, partition_format_remark, "%Y\n%m", false, false),
            (uptrace_dsn, NONE, "https://tok@api.uptrace.dev?grpc=4317", true, false),
            (uptrace_dsn, NONE, "http://tok@localhost:14317/2", true, false),
            (uptrace_dsn, NONE, "https://api.uptrace.dev", false, false),
            (uptrace_dsn, NONE, "https://@api.uptrace.dev", false, false),
            (uptrace_dsn, NONE, "tok", false, false),
            (aws_role_arn, NONE, "arn:aws:iam::123456789012:role/path/telemetry", true, false),
            (aws_role_arn, NONE, "arn:aws-us-gov:iam::123456789012:role/r", true, false),
            (aws_role_arn, NONE, "arn:aws:iam::123456789012:user/telemetry", false, false),
            (aws_role_arn, aws_arn_remark, "arn:aws:iam::1234:role/telemetry", true, true),
            (aws_role_arn, NONE, "arn:aws:iam::shop:role/telemetry", false, false),
            (aws_role_arn, NONE, "arn:aws:iam::123456789012:role/", false, false),
            (aws_role_arn, NONE, "telemetry", false, false),
            (ANY, aws_arn_remark, "arn:aws:ec2:us-east-1:123456789012:instance/i-0abc", true, false),
            (ANY, aws_arn_remark, "arn:aws:s3:::bucket", true, false),
            (ANY, aws_arn_remark, "i-0abc", true, true),
            (ANY, log_groups_remark, "[\"/aws/eks/shop\", \"g1\"]", true, false),
            (ANY, log_groups_remark, "[\"shop logs\"]", true, true),
            (aws_endpoint, NONE, "logs.eu-west-1.amazonaws.com", true, false),
            (aws_endpoint, NONE, "http://localhost:4566", true, false),
            (aws_endpoint, NONE, "ftp://x", false, false),
            (aws_endpoint, NONE, "eu west", false, false),
            (gcs_bucket, NONE, "telemetry_shop.example-1", true, false),
            (gcs_bucket, NONE, "Telemetry", false, false),
            (gcs_bucket, NONE, "-telemetry", false, false),
            (gcs_bucket, NONE, "a..b", false, false),
            (super::super::bucket, s3_bucket_remark, "telemetry-shop", true, false),
            (super::super::bucket, s3_bucket_remark, "Telemetry_Shop", true, true),
            (ANY, loki_labels_remark, "[\"k8s.pod.name\"]", true, false),
            (ANY, loki_labels_remark, "[\"k8s.pod.name, k8s.namespace.name\"]", true, true),
            (azure_instrumentation_key, azure_instrumentation_key_remark, GUID, true, false),
            (azure_instrumentation_key, azure_instrumentation_key_remark, "key", true, true),
            (azure_instrumentation_key, azure_instrumentation_key_remark, "InstrumentationKey=0", false, true),
        ];
        for (rule, remark, text, is_taken, is_said) in cases {
            assert_eq!(rule(text).is_ok(), *is_taken, "{text:?}: {:?}", rule(text));
            if *is_taken {
                assert_eq!(remark(text).is_some(), *is_said, "{text:?}: {:?}", remark(text));
            }
        }
        assert!(kafka_topic(&"t".repeat(249)).is_ok() && kafka_topic(&"t".repeat(250)).is_err());
        assert_eq!(aws_endpoint("logs.eu-west-1.amazonaws.com").unwrap(), "https://logs.eu-west-1.amazonaws.com");
        assert!(basic_user("shop:password").unwrap_err().contains("colon"));
    }

    #[test]
    fn connection_strings_are_read_as_the_exporter_of_azure_monitor_reads_them() {
        let whole = format!(
            "InstrumentationKey={GUID};IngestionEndpoint=https://x.in.applicationinsights.azure.com/;LiveEndpoint=https://l"
        );
        assert_eq!(azure_connection_string(&whole).as_deref(), Ok(whole.as_str()));
        assert_eq!(azure_connection_string_remark(&whole), None);
        assert_eq!(azure_connection_string(&format!("{whole};")).as_deref(), Ok(whole.as_str()), "the end goes");
        assert!(azure_connection_string_remark("InstrumentationKey=0").is_some());
        for (text, why) in [
            ("nonsense", "no pair"),
            ("InstrumentationKey=", "no InstrumentationKey"),
            ("IngestionEndpoint=https://x", "no InstrumentationKey"),
            ("instrumentationkey=0", "spelling"),
            ("InstrumentationKey=0;;IngestionEndpoint=https://x", "no pair"),
            ("InstrumentationKey=0;=x", "empty"),
            ("InstrumentationKey=0;IngestionEndpoint=x.example.com", "http"),
        ] {
            let error = azure_connection_string(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
