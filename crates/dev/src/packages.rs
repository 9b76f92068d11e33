//! What is inside an image, package by package, for its bill of materials.
//!
//! Owns one package and the ways to find those of each ecosystem. Never writes a document ([`crate::spdx`]).

pub(crate) mod agents;
pub(crate) mod crates;
pub(crate) mod debian;
pub(crate) mod go;

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    /// Ecosystem as in a package URL: `cargo`, `golang`, `npm`, `pypi`, `maven`, `deb`.
    pub(crate) ecosystem: &'static str,
    /// Its name there.
    pub(crate) name: String,
    pub(crate) version: String,
    /// Package URL, which scanners look up.
    pub(crate) purl: String,
    /// Licence expression as the package states it.
    pub(crate) license: Option<String>,
    /// Algorithm as SPDX names it, and the digest in hexadecimal, of the archive that the lock file pins.
    pub(crate) checksum: Option<(&'static str, String)>,
    /// What people should know of where it comes from.
    pub(crate) note: Option<String>,
}

impl Package {
    /// A package whose URL is `pkg:ECOSYSTEM/PATH@VERSION`; `path` is encoded already.
    pub(crate) fn new(ecosystem: &'static str, name: &str, path: &str, version: &str) -> Self {
        Self {
            ecosystem,
            name: name.to_owned(),
            version: version.to_owned(),
            purl: format!("pkg:{ecosystem}/{path}@{}", encoded(version)),
            license: None,
            checksum: None,
            note: None,
        }
    }
}

/// A part of a package URL: what is neither a letter, a digit nor one of `.-_~:` is written as its bytes.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        let is_plain = byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte);
        if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_url_has_no_character_with_a_meaning() {
        let package = Package::new("deb", "libc6", "debian/libc6", "1:2.36+deb~1");
        assert_eq!(package.purl, "pkg:deb/debian/libc6@1:2.36%2Bdeb~1");
        assert_eq!(encoded("@scope"), "%40scope");
    }
}
