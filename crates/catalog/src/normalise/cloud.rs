//! Names that services of clouds and databases give: regions, projects, buckets, sites, identifiers.
//!
//! Owns what can never be such a name, which is refused, and what does not look like one, of which [`remark`]s speak: services add
//! regions and sites faster than releases.

use super::value::shown;
use super::{domain, label};

/// The name of a bucket of S3 or Google Cloud Storage.
///
/// # Errors
/// When it is none; a path, `s3://` or `gs://` is not part of it.
pub fn bucket(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    // An access point's ARN stands in for a bucket.
    if text.starts_with("arn:") || ((3..=255).contains(&text.len()) && text.chars().all(is_legal)) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not the name of a bucket; write the name alone, without s3:// or gs:// and path", shown(text)))
}

/// A region of AWS, or of a service that speaks its protocols.
///
/// # Errors
/// When it can be no part of a host's name, which the clients of AWS require.
pub fn aws_region(text: &str) -> Result<String, String> {
    label(text).map_err(|_| {
        format!("{} is not a region: write its code, such as us-east-1, not its title", shown(text.trim()))
    })
}

/// What is said of a region of AWS that is none of the usual form.
#[must_use]
pub fn aws_region_remark(text: &str) -> Option<String> {
    let text = text.trim();
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |part: &&str| part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (last, words) = parts.split_last()?;
    if words.len() >= 2 && words.iter().all(is_word) && is_number(last) {
        return None;
    }
    let zone = last.strip_suffix(|c: char| c.is_ascii_lowercase()).filter(|number| is_number(number));
    if zone.is_some() && words.len() >= 2 && words.iter().all(is_word) {
        return Some(format!("{} is an availability zone; a region has no letter at its end", shown(text)));
    }
    Some(format!("{} does not look like a region of AWS, such as us-east-1; it is used as it is", shown(text)))
}

/// Id or number of a project of Google Cloud.
///
/// # Errors
/// When it holds a character that neither has.
pub fn gcp_project(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    match text.chars().find(|c| !is_legal(*c)) {
        Some(c) => Err(format!(
            "{} is not the id of a project, such as my-project-123: it holds {c:?}; write neither its title nor projects/",
            shown(text)
        )),
        None => Ok(text.to_owned()),
    }
}

/// What is said of a project of Google Cloud whose id is none of the documented form.
#[must_use]
pub fn gcp_project_remark(text: &str) -> Option<String> {
    let text = text.trim();
    // The id may follow the domain of an organisation.
    let id = text.rsplit(':').next().unwrap_or_default();
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let is_id = (6..=30).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.ends_with('-')
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (!is_number && !is_id).then(|| {
        format!(
            "{} does not look like the id of a project: 6 to 30 lower-case letters, digits and hyphens; it is used as it is",
            shown(text)
        )
    })
}

/// The name of a storage account of Azure.
///
/// # Errors
/// When it is none: 3 to 24 letters and digits.
pub fn azure_account(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    if (3..=24).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(text);
    }
    Err(format!(
        "{} is not the name of a storage account: 3 to 24 letters and digits; write the name alone, no URL",
        shown(&text)
    ))
}

/// The name of a container of Azure Blob Storage.
///
/// # Errors
/// When it is none: 3 to 63 lower-case letters, digits and single hyphens.
pub fn azure_container(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (3..=63).contains(&text.len())
        && text.bytes().all(is_legal)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--");
    if is_name || matches!(text, "$root" | "$web" | "$logs") {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not the name of a container: 3 to 63 lower-case letters, digits and single hyphens, without a path",
        shown(text)
    ))
}

/// Sites that Datadog documents.
const DATADOG_SITES: [&str; 8] = [
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "datadoghq.eu",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "ddog-gov.com",
    "us2.ddog-gov.com",
];

/// A site of Datadog: the address of its web application, of an intake or of an organisation stands for the site that it is of.
///
/// # Errors
/// When it is no host.
pub fn datadog_site(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    // Copied from a browser, it has a path.
    let host = match text.split_once("://") {
        Some((_, rest)) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
        None => text.as_str(),
    };
    let host = domain(host.trim_end_matches('/'))?;
    let is_of = |site: &&&str| host == **site || host.ends_with(&format!(".{site}"));
    let site = DATADOG_SITES.iter().filter(is_of).max_by_key(|site| site.len());
    Ok(site.map_or(host.clone(), |site| (*site).to_owned()))
}

/// What is said of a site that is not written as Datadog documents it.
#[must_use]
pub fn datadog_site_remark(text: &str) -> Option<String> {
    let site = datadog_site(text).ok()?;
    if !DATADOG_SITES.contains(&site.as_str()) {
        return Some(format!(
            "{} is not a site that Datadog documents, and it is used as it is; known are {}",
            shown(&site),
            DATADOG_SITES.join(", ")
        ));
    }
    (site != text.trim()).then(|| format!("the site {site} is used: that is what {} is of", shown(text.trim())))
}

/// The name of a database or table.
///
/// # Errors
/// When it holds a character that ends a quoted name, or a control character.
pub fn identifier(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().find(|c| c.is_control() || matches!(c, '"' | '`' | '\'' | '\\' | ';' | '/' | '?' | '#')) {
        Some(c) => Err(format!("{} is not the name of a database or table: it holds {c:?}", shown(text))),
        None => Ok(text.to_owned()),
    }
}

/// What is said of the name of a database or table that must be quoted wherever it is written.
#[must_use]
pub fn identifier_remark(text: &str) -> Option<String> {
    let text = text.trim();
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain {
        return None;
    }
    Some(match text.contains('.') {
        true => format!("{} is one name with a dot in it, not a database and a table", shown(text)),
        false => format!("{} must be quoted wherever it is written; letters, digits and _ need not be", shown(text)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn datadog_sites_are_found_in_what_browsers_show() {
        for (text, site, is_said) in [
            ("datadoghq.eu", "datadoghq.eu", false),
            ("ap2.datadoghq.com", "ap2.datadoghq.com", false),
            ("us2.ddog-gov.com", "us2.ddog-gov.com", false),
            ("app.datadoghq.eu", "datadoghq.eu", true),
            ("https://app.datadoghq.com/apm/home?env=prod", "datadoghq.com", true),
            ("https://us5.datadoghq.com/", "us5.datadoghq.com", true),
            ("US3.datadoghq.com", "us3.datadoghq.com", true),
            ("acme.datadoghq.com", "datadoghq.com", true),
            ("api.ap1.datadoghq.com", "ap1.datadoghq.com", true),
            ("http-intake.logs.us5.datadoghq.com", "us5.datadoghq.com", true),
            ("datadog.example.com", "datadog.example.com", true),
            ("notdatadoghq.com", "notdatadoghq.com", true),
        ] {
            assert_eq!(datadog_site(text).as_deref(), Ok(site), "{text}");
            assert_eq!(datadog_site_remark(text).is_some(), is_said, "{text}");
        }
        for text in ["", "https://", "us 1", "us1:443", "datadoghq.com/x"] {
            assert!(datadog_site(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_clouds_are_refused_where_they_can_never_be_and_remarked_where_they_look_wrong() {
        type Rule = fn(&str) -> Result<String, String>;
        type Remark = fn(&str) -> Option<String>;
        let none: Remark = |_| None;
        // Name, whether it is taken, whether something is said.
        let cases: &[(Rule, Remark, &str, bool, bool)] = &[
            (aws_region, aws_region_remark, "us-east-1", true, false),
            (aws_region, aws_region_remark, " us-gov-west-1 ", true, false),
            (aws_region, aws_region_remark, "us-iso-east-1", true, false),
            (aws_region, aws_region_remark, "cn-north-1", true, false),
            (aws_region, aws_region_remark, "eusc-de-east-1", true, false),
            (aws_region, aws_region_remark, "us-east-1a", true, true),
            (aws_region, aws_region_remark, "US-EAST-1", true, true),
            (aws_region, aws_region_remark, "useast1", true, true),
            (aws_region, aws_region_remark, "auto", true, true),
            (aws_region, aws_region_remark, "US East (N. Virginia)", false, true),
            (aws_region, aws_region_remark, "s3.us-east-1.amazonaws.com", false, true),
            (gcp_project, gcp_project_remark, "my-project-123", true, false),
            (gcp_project, gcp_project_remark, "example.com:my-project", true, false),
            (gcp_project, gcp_project_remark, "123456789012", true, false),
            (gcp_project, gcp_project_remark, "My-Project", true, true),
            (gcp_project, gcp_project_remark, "My Project", false, true),
            (gcp_project, gcp_project_remark, "projects/my-project", false, true),
            (azure_account, none, "stShop01", true, false),
            (azure_account, none, "st-shop", false, false),
            (azure_account, none, "https://stshop.blob.core.windows.net", false, false),
            (azure_container, none, "traces", true, false),
            (azure_container, none, "$logs", true, false),
            (azure_container, none, "Traces", false, false),
            (azure_container, none, "traces/2026", false, false),
            (azure_container, none, "a--b", false, false),
            (bucket, none, "telemetry-shop", true, false),
            (bucket, none, "gs://telemetry-shop/path", false, false),
            (bucket, none, "s3://telemetry-shop", false, false),
            (bucket, none, "telemetry-shop/path", false, false),
            (identifier, identifier_remark, "otel_traces", true, false),
            (identifier, identifier_remark, "otel-traces", true, true),
            (identifier, identifier_remark, "otel.traces", true, true),
            (identifier, identifier_remark, "1otel", true, true),
            (identifier, identifier_remark, "otel\"; DROP", false, true),
            (identifier, identifier_remark, "`otel`", false, true),
            (identifier, identifier_remark, "o\ntel", false, true),
        ];
        for (rule, remark, text, is_taken, is_said) in cases {
            assert_eq!(rule(text).is_ok(), *is_taken, "{text:?}: {:?}", rule(text));
            assert_eq!(remark(text).is_some(), *is_said, "{text:?}: {:?}", remark(text));
        }
        assert!(aws_region_remark("us-east-1a").unwrap().contains("availability zone"));
    }
}
