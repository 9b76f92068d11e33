//! The bill of materials of an image: SPDX 2.3 as JSON, the same bytes for the same image.
//!
//! Owns the document's form. What is inside is found by [`crate::packages`].

use crate::packages::{Package, encoded};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where the names of documents begin; nothing is served there.
const NAMESPACE: &str = "https://github.com/odigos-rs/odigos/spdx";
/// What stands for "nothing is claimed".
const NO_ASSERTION: &str = "NOASSERTION";

/// The image that a document describes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// Digest of its manifest, unless somebody else packs it.
    pub(crate) manifest: Option<&'a str>,
    /// Digest of its content.
    pub(crate) content: &'a str,
    /// Time of its files.
    pub(crate) created: &'a str,
    /// Its programs and libraries: path inside and digest.
    pub(crate) programs: &'a [(String, String)],
}

/// The document for an image and what is in it.
pub(crate) fn document(subject: &Subject<'_>, packages: &[Package]) -> Value {
    let mut packages: Vec<&Package> = packages.iter().collect();
    packages.sort_unstable();
    packages.dedup();
    let image = "SPDXRef-Image";
    let mut entries = vec![image_entry(image, subject)];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", image)];
    for (path, digest) in subject.programs {
        let id = identifier("Program", path, digest);
        let checksums = json!([{"algorithm": "SHA256", "checksumValue": digest}]);
        entries.push(entry(&id, path, None, "FILE", &json!({"checksums": checksums})));
        relations.push(relation(image, "CONTAINS", &id));
    }
    for package in packages {
        let id = identifier(package.ecosystem, &package.name, &package.purl);
        let mut more = json!({"externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": package.purl,
        }]});
        if let Some((algorithm, digest)) = &package.checksum {
            more["checksums"] = json!([{"algorithm": algorithm, "checksumValue": digest}]);
        }
        if let Some(license) = package.license.as_deref().filter(|text| is_expression(text)) {
            more["licenseDeclared"] = json!(license);
        }
        if let Some(note) = &package.note {
            more["sourceInfo"] = json!(note);
        }
        entries.push(entry(&id, &package.name, Some(&package.version), "LIBRARY", &more));
        relations.push(relation(image, "CONTAINS", &id));
    }
    json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{}", subject.name, subject.version),
        "documentNamespace": format!("{NAMESPACE}/{}-{}-{}", subject.name, subject.version, subject.content),
        "creationInfo": {
            "created": subject.created,
            "creators": ["Organization: Odigos in Rust", concat!("Tool: cargo-xtask-images-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": entries, "relationships": relations,
    })
}

fn image_entry(id: &str, subject: &Subject<'_>) -> Value {
    let mut more = json!({"licenseDeclared": "Apache-2.0"});
    if let Some(digest) = subject.manifest {
        let purl = format!("pkg:oci/{}@sha256%3A{digest}", encoded(subject.name));
        more["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": digest}]);
        more["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl,
        }]);
    }
    entry(id, subject.name, Some(subject.version), "CONTAINER", &more)
}

fn entry(id: &str, name: &str, version: Option<&str>, purpose: &str, more: &Value) -> Value {
    let mut entry = json!({
        "SPDXID": id, "name": name, "primaryPackagePurpose": purpose,
        "downloadLocation": NO_ASSERTION, "filesAnalyzed": false, "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION, "copyrightText": NO_ASSERTION,
    });
    if let Some(version) = version {
        entry["versionInfo"] = json!(version);
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        entry[key] = value.clone();
    }
    entry
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

/// An id of letters, digits, dots and dashes, which `unique` keeps apart from those of the same letters.
fn identifier(kind: &str, name: &str, unique: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let digest: String = Sha256::digest(unique).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("SPDXRef-{kind}-{name}-{digest}")
}

/// Whether a licence is an expression of SPDX as far as its letters tell; what is none would make the document invalid.
fn is_expression(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-.+() ".contains(letter);
    let joins = ["AND", "OR", "WITH"];
    let words: Vec<&str> = text.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
    // Names alternate with what joins them.
    let alternates = words.iter().enumerate().all(|(at, word)| joins.contains(word) == (at % 2 == 1));
    text.chars().all(is_letter) && words.len() % 2 == 1 && alternates
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use std::collections::BTreeSet;

    fn of(packages: &[Package]) -> Value {
        let programs = [("odigos-x".to_owned(), "ab".repeat(32))];
        let (manifest, content) = ("cd".repeat(32), "ef".repeat(32));
        let subject = Subject {
            name: "odigos-x",
            version: "1.2.3",
            manifest: Some(&manifest),
            content: &content,
            created: "1970-01-01T00:00:00Z",
            programs: &programs,
        };
        document(&subject, packages)
    }

    fn serde() -> Package {
        Package {
            license: Some("MIT OR Apache-2.0".into()),
            checksum: Some(("SHA256", "01".repeat(32))),
            ..Package::new("cargo", "serde", "serde", "1.0.0")
        }
    }

    #[test]
    fn document_names_the_image_its_program_and_each_package_with_digest_and_url() {
        let odd = Package { license: Some("see LICENSE".into()), ..Package::new("npm", "@a/b", "%40a/b", "1") };
        let document = of(&[odd.clone(), serde()]);
        let packages = document["packages"].as_array().unwrap();
        let named = |name: &str| packages.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(named("serde")["externalRefs"][0]["referenceLocator"], "pkg:cargo/serde@1.0.0");
        assert_eq!(named("serde")["checksums"][0]["checksumValue"], "01".repeat(32));
        assert_eq!(named("serde")["licenseDeclared"], "MIT OR Apache-2.0");
        assert_eq!(named("@a/b")["licenseDeclared"], NO_ASSERTION, "what is no expression is not claimed");
        assert_eq!(named("odigos-x")["checksums"][0]["algorithm"], "SHA256");
        let ids: BTreeSet<&str> = packages.iter().map(|one| one["SPDXID"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), packages.len());
        assert!(ids.iter().all(|id| id.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-".contains(letter))));
        for relation in document["relationships"].as_array().unwrap() {
            assert!(ids.contains(relation["relatedSpdxElement"].as_str().unwrap()), "{relation}");
        }
        assert_eq!(document, of(&[serde(), odd.clone(), odd]), "neither order nor repetition changes it");
    }

    #[test]
    fn licences_that_are_no_expression_are_told_apart() {
        for good in ["MIT", "(MIT OR Apache-2.0) AND Unicode-3.0", "Apache-2.0 WITH LLVM-exception OR MIT", "GPL-2.0+"]
        {
            assert!(is_expression(good), "{good}");
        }
        for bad in ["", "MIT, see file", "SEE LICENSE", "MIT OR", "MIT/Apache-2.0"] {
            assert!(!is_expression(bad), "{bad}");
        }
    }
}
