//! Credentials among settings that everyone may read: a user, password or key in an address, a header with a token.
//!
//! Owns how they are recognised, by their form and by the names of headers, and what to write instead: `${KEY}`, a key of the
//! destination's own Secret, which the renderer turns into a reference. Settings that a type declares to be secret are not looked at
//! here. A value is never part of a message.

use crate::destination::DestinationType;
use crate::normalise::{key_values, yaml_map};
use crate::schema::ComponentType;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Longest part of a header's name in a message, in characters.
const MAX_SHOWN: usize = 60;

/// A credential in plain text.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainCredential {
    /// The setting, e.g. `OTLP_HTTP_HEADERS`.
    pub setting: String,
    header: Option<String>,
    value: String,
}

impl fmt::Debug for PlainCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainCredential").field("setting", &self.setting).field("header", &self.header).finish()
    }
}

impl PlainCredential {
    /// What it is, and what to do, for people.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.header {
            Some(name) => {
                let name: String = name.chars().take(MAX_SHOWN).collect();
                format!(
                    "the header {name} holds a credential, which everyone who may read Destinations can read: put it into the Secret that spec.secretRef names, and write ${{KEY}} here for its key"
                )
            }
            None => "the address holds a user, password or key, which everyone who may read Destinations can read: put it into a Secret (spec.secretRef) by the type's own settings, or write ${KEY} for a key of the Secret where the address is sent as a header; settings of the type dynamic take ${KEY} anywhere".into(),
        }
    }

    /// Whether [`move_headers`] can move it into a Secret.
    #[must_use]
    pub const fn is_movable(&self) -> bool {
        self.header.is_some()
    }
}

/// Every credential in plain text among the settings of a type; of an unknown type only addresses are looked at.
#[must_use]
pub fn found(definition: Option<&DestinationType>, data: &BTreeMap<String, String>) -> Vec<PlainCredential> {
    let mut found = Vec::new();
    for (setting, text) in data {
        let field = definition.and_then(|definition| definition.field(setting));
        if field.is_some_and(|field| field.secret) {
            continue;
        }
        let credential = |header: Option<&str>, value: &str| PlainCredential {
            setting: setting.clone(),
            header: header.map(str::to_owned),
            value: value.to_owned(),
        };
        found.extend(userinfo(text).into_iter().map(|value| credential(None, value)));
        found.extend(in_query(text).into_iter().map(|value| credential(None, value)));
        let mut headers: Vec<(String, String)> = Vec::new();
        match field.map(|field| field.component_type) {
            Some(ComponentType::KeyValuePairs) if holds_headers(setting) => {
                headers.extend(key_values(text).unwrap_or_default());
            }
            // The settings of an exporter as a whole.
            Some(ComponentType::Textarea) => nested_headers(&yaml_map(text).unwrap_or_default(), &mut headers),
            _ => {}
        }
        let plain = headers.iter().filter(|(name, value)| is_credential(name, value));
        found.extend(plain.map(|(name, value)| credential(Some(name), value)));
    }
    found
}

/// Whether a setting is sent as a header itself.
fn is_header(setting: &str) -> bool {
    setting == "UPTRACE_DSN"
}

/// The keys of the destination's Secret that headers refer to, each with its setting.
#[must_use]
pub fn references(data: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    let headers = data.iter().filter(|(setting, _)| holds_headers(setting) || is_header(setting));
    headers.flat_map(|(setting, text)| placeholders(text).into_iter().map(|key| (setting.as_str(), key))).collect()
}

/// The settings that change when credentials among headers are moved into a Secret, and what the Secret gets.
#[must_use]
pub fn move_headers(
    definition: &DestinationType,
    data: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut settings, mut secret) = (BTreeMap::new(), BTreeMap::new());
    for (setting, text) in data {
        let is_map = definition.field(setting).is_some_and(|one| one.component_type == ComponentType::KeyValuePairs);
        if !is_map || !holds_headers(setting) {
            continue;
        }
        let pairs = key_values(text).unwrap_or_default();
        if !pairs.iter().any(|(name, value)| is_credential(name, value)) {
            continue;
        }
        let mut list = Vec::new();
        for (name, value) in pairs {
            if !is_credential(&name, &value) {
                list.push(json!({"key": name, "value": value}));
                continue;
            }
            let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            let key = format!("{setting}_{}", name.trim().chars().map(letter).collect::<String>());
            list.push(json!({"key": name, "value": format!("${{{key}}}")}));
            secret.insert(key, value);
        }
        settings.insert(setting.clone(), Value::Array(list).to_string());
    }
    (settings, secret)
}

/// Whether a setting is a list of headers: other lists of pairs are labels and dimensions, which nobody keeps secrets in.
fn holds_headers(setting: &str) -> bool {
    setting.ends_with("HEADERS")
}

fn nested_headers(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| nested_headers(item, found)),
        Value::Object(map) => {
            for (key, item) in map {
                match item {
                    Value::Object(headers) if key == "headers" => found.extend(
                        headers.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))),
                    ),
                    Value::Array(headers) if key == "headers" => {
                        let text = |one: &Value, key: &str| Some(one.get(key)?.as_str()?.to_owned());
                        found.extend(headers.iter().filter_map(|one| Some((text(one, "name")?, text(one, "value")?))));
                    }
                    item => nested_headers(item, found),
                }
            }
        }
        _ => {}
    }
}

/// Whether a header or parameter is one that carries a credential, and its value is not a reference to one.
fn is_credential(name: &str, value: &str) -> bool {
    /// Words that name a credential wherever they are in a name.
    const WORDS: [&str; 17] = [
        "auth",
        "authentication",
        "authorization",
        "bearer",
        "cookie",
        "credential",
        "credentials",
        "dsn",
        "jwt",
        "passphrase",
        "passwd",
        "password",
        "pwd",
        "secret",
        "token",
        "userkey",
        "writekey",
    ];
    /// Ends of words that are glued together, such as `ACCESSKEY`.
    const ENDS: [&str; 14] = [
        "accesskey",
        "apikey",
        "appkey",
        "applicationkey",
        "authkey",
        "ingestionkey",
        "ingestkey",
        "licensekey",
        "password",
        "privatekey",
        "secret",
        "secretkey",
        "subscriptionkey",
        "token",
    ];
    /// Keys that are none: they choose a place, or tell requests apart.
    const HARMLESS_KEYS: [&str; 5] = ["cache", "idempotency", "partition", "routing", "sort"];
    /// Keys of backends by other names.
    const NAMES: [&str; 1] = ["x-honeycomb-team"];
    let name = name.trim().to_ascii_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_word = |word: &&str| WORDS.contains(word) || ENDS.iter().any(|end| word.ends_with(end));
    let is_key = match words.as_slice() {
        [.., before, "key"] => !HARMLESS_KEYS.contains(before),
        ["key"] => true,
        _ => false,
    };
    let names_one = NAMES.contains(&name.as_str()) || is_key || words.iter().any(is_word);
    names_one && !value.trim().is_empty() && !is_reference(value)
}

/// Whether a value is made of references, but for what tells how they are used: a scheme in front of them, names with `=`, quotes.
fn is_reference(value: &str) -> bool {
    const HERE: char = '\0';
    let keys = placeholders(value);
    let mut rest = value.replace(HERE, "");
    for key in &keys {
        rest = rest.replace(&format!("${{{key}}}"), &HERE.to_string());
    }
    let is_word = |text: &str, longest: usize| {
        !text.is_empty()
            && text.len() <= longest
            && text.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_'))
    };
    let is_use = |(number, part): (usize, &str)| {
        let around = part.replace([HERE, '"', '\'', ':'], "");
        match part.contains(HERE) {
            true => around.is_empty() || around.strip_suffix('=').is_some_and(|name| is_word(name, 24)),
            false => number == 0 && is_word(part, 12),
        }
    };
    let parts = rest.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';')).filter(|part| !part.is_empty());
    !keys.is_empty() && parts.enumerate().all(is_use)
}

/// The keys in `${KEY}`.
pub(crate) fn placeholders(text: &str) -> Vec<&str> {
    let parts = text.split("${").skip(1).filter_map(|part| part.split_once('}'));
    let is_key =
        |key: &&str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    parts.map(|(key, _)| key).filter(is_key).collect()
}

/// Users and passwords in front of hosts, unless the password, or a user without one, is a reference.
fn userinfo(text: &str) -> Vec<&str> {
    let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | ',' | ';') || c.is_whitespace();
    let authorities = text.split("://").skip(1).map(|after| after.split(ends).next().unwrap_or_default());
    let users = authorities.filter_map(|authority| Some(authority.rsplit_once('@')?.0));
    let is_plain = |user: &&str| {
        // A reference may hold a colon only behind its end.
        let password = user.rsplit_once(':').map_or(*user, |(_, password)| password);
        let is_reference = password.starts_with("${") && password.ends_with('}') && placeholders(password).len() == 1;
        !user.is_empty() && !is_reference
    };
    users.filter(is_plain).collect()
}

/// Values of parameters of addresses that carry a credential, by their names.
fn in_query(text: &str) -> Vec<&str> {
    let ends = |c: char| matches!(c, '#' | '"' | '\'' | ',') || c.is_whitespace();
    let addresses = text.split("://").skip(1).map(|after| after.split(ends).next().unwrap_or_default());
    let parameters =
        addresses.filter_map(|address| Some(address.split_once('?')?.1)).flat_map(|query| query.split(['&', ';']));
    let pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let is_signature = |name: &str| {
        let last = name.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        ["sig", "signature"].iter().any(|word| last.eq_ignore_ascii_case(word))
    };
    let is_plain = |(name, value): &(&str, &str)| {
        is_credential(name, value) || is_signature(name) && is_credential("token", value)
    };
    pairs.filter(is_plain).map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn header(name: &str, value: &str) -> BTreeMap<String, String> {
        data(&[("OTLP_HTTP_HEADERS", &json!([{"key": name, "value": value}]).to_string())])
    }

    #[test]
    fn userinfo_is_found_in_any_address() {
        let cases = [
            ("https://user:pass@host/path", true),
            ("https://token@host", true),
            ("http://user:p%40ss@host:4318", true),
            ("a://one,https://u:p@two", true),
            ("endpoint: https://u:p@host\nother: 1", true),
            ("https://host/path@x", false),
            ("https://host?user=a@b", false),
            ("https://host", false),
            ("someone@example.com", false),
            ("https://${TOKEN}@host", false),
            ("https://user:${PASSWORD}@host", false),
            ("https://user:pa${X}@host", true),
            ("https://host/write?api_key=abc", true),
            ("https://host/write?db=a&apikey=abc#x", true),
            ("https://host?Access-Token=abc", true),
            ("https://a.blob.example/c?sv=2024&sig=abc%3D", true),
            ("clickhouse://host:9440/otel?username=u&password=p", true),
            ("endpoint: https://host/?token=abc\nother: 1", true),
            ("https://host?api_key=${KEY}", false),
            ("https://host?api_key=", false),
            ("https://host/write?db=a&extra_label=token", false),
            ("https://host/write?api-version=2023-04-24", false),
            ("https://host/path;password=p", false),
            ("https://host#token=abc", false),
        ];
        for (text, expected) in cases {
            let found = found(None, &data(&[("URL", text)]));
            assert_eq!(!found.is_empty(), expected, "{text}");
        }
    }

    #[test]
    fn headers_that_carry_credentials_are_found_by_their_names() {
        let otlp = destination::find("otlphttp");
        for name in [
            "Authorization",
            "authorization",
            "Proxy-Authorization",
            "X-Api-Key",
            "api-key",
            "apikey",
            "x-auth-token",
            "X-SF-Token",
            "lightstep-access-token",
            "Cookie",
            "uptrace-dsn",
            "x-seq-apikey",
            "signoz-ingestion-key",
            "x-honeycomb-team",
            "x_secret",
            "key",
            "X-AuthToken",
            "DD-ACCESSKEY",
            "dd-application-key",
            "X-License-Key",
            "licensekey",
            "Ocp-Apim-SubscriptionKey",
            "X-Passphrase",
        ] {
            assert_eq!(found(otlp, &header(name, "hunter2")).len(), 1, "{name}");
            assert_eq!(found(otlp, &header(name, "Bearer ${TOKEN}")).len(), 0, "{name}");
            assert_eq!(found(otlp, &header(name, "")).len(), 0, "{name}");
        }
        for name in
            ["X-Scope-OrgID", "tenant", "x-partition-key", "Idempotency-Key", "Content-Type", "x-monkey", "author"]
        {
            assert_eq!(found(otlp, &header(name, "hunter2")).len(), 0, "{name}");
        }
        // Labels are no headers.
        let labels = json!([{"key": "token", "value": "a"}]).to_string();
        let grafana = destination::find("grafanacloudprometheus");
        assert_eq!(found(grafana, &data(&[("PROMETHEUS_RESOURCE_EXTERNAL_LABELS", &labels)])).len(), 0);
        // Whole settings of an exporter.
        let dynamic = destination::find("dynamic");
        let settings = "endpoint: h\nnested:\n  headers:\n    X-Token: hunter2\n    b: ${TOKEN}\n";
        assert_eq!(found(dynamic, &data(&[("DYNAMIC_CONFIGURATION_DATA", settings)])).len(), 1);
    }

    #[test]
    fn a_reference_beside_a_credential_is_no_reference() {
        let otlp = destination::find("otlphttp");
        for value in [
            "Bearer x ${ANY}",
            "hunter2${ANY}",
            "${ANY} hunter2",
            "Bearer hunter2hunter2 ${ANY}",
            "token=hunter2 ${ANY}",
            "a=${K}; hunter2",
        ] {
            assert_eq!(found(otlp, &header("Authorization", value)).len(), 1, "{value}");
        }
        for value in [
            "${K}",
            "Bearer ${K}",
            "Token token=\"${K}\"",
            "session=${A}; csrf=${B}",
            "Basic ${USER}:${PASSWORD}",
            "${A}${B}",
        ] {
            assert_eq!(found(otlp, &header("Authorization", value)).len(), 0, "{value}");
        }
    }

    #[test]
    fn message_never_holds_the_value() {
        let mut all = header("Authorization", "hunter2");
        all.insert("OTLP_HTTP_ENDPOINT".into(), "https://user:hunter3@host".into());
        let found = found(destination::find("otlphttp"), &all);
        assert_eq!(found.len(), 2);
        let text = format!("{found:?} {}", found.iter().map(PlainCredential::message).collect::<String>());
        assert!(!text.contains("hunter") && text.contains("Authorization"), "{text}");
    }

    #[test]
    fn moved_headers_refer_to_the_secret() {
        let list = json!([{"key": "X-Api-Key", "value": "hunter2"}, {"key": "tenant", "value": "a"}]).to_string();
        let before = data(&[("OTLP_HTTP_HEADERS", &list), ("OTLP_HTTP_ENDPOINT", "https://h")]);
        let otlp = destination::find("otlphttp").unwrap();
        let (settings, secret) = move_headers(otlp, &before);
        assert_eq!(secret, data(&[("OTLP_HTTP_HEADERS_X_API_KEY", "hunter2")]));
        let mut after = before;
        after.extend(settings);
        assert_eq!(found(Some(otlp), &after), []);
        assert_eq!(references(&after), [("OTLP_HTTP_HEADERS", "OTLP_HTTP_HEADERS_X_API_KEY")]);
        assert_eq!(move_headers(otlp, &after), (BTreeMap::new(), BTreeMap::new()), "twice");
    }
}
