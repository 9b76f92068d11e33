//! Versions as programs print them: three numbers somewhere in a line.

use std::fmt;

/// Major, minor and patch number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The first version in a text: two or three numbers joined by dots, e.g. `etcd Version: 3.6.6` or `go1.26`. A missing patch number
    /// counts as 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_part = |letter: char| letter.is_ascii_digit() || letter == '.';
        text.split(|letter: char| !is_part(letter)).find_map(|word| {
            let mut numbers = word.trim_matches('.').split('.').map(|part| part.parse().ok());
            let (major, minor) = (numbers.next()??, numbers.next()??);
            Some(Self(major, minor, numbers.next().flatten().unwrap_or_default()))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn version_is_found_in_what_programs_print() {
        for (text, expected) in [
            ("etcd Version: 3.6.6\nGit SHA: Not provided", Some(Version(3, 6, 6))),
            ("Kubernetes v1.34.4", Some(Version(1, 34, 4))),
            ("go version go1.26.8 linux/amd64", Some(Version(1, 26, 8))),
            ("go version go1.25 linux/amd64", Some(Version(1, 25, 0))),
            ("prometheus, version 2.42.0+ds (branch: debian/sid)", Some(Version(2, 42, 0))),
            ("openjdk version \"17.0.15\" 2025-04-15", Some(Version(17, 0, 15))),
            ("v20.20.2", Some(Version(20, 20, 2))),
            ("no number", None),
            ("build 7", None),
        ] {
            assert_eq!(Version::parse(text), expected, "{text}");
        }
    }
}
