//! Versions of runtimes, and which of them an agent supports (`spec/sources-and-instrumentation.md` 3.3, "Version parsing").
//!
//! Reading is lenient: a leading `v`, one to four numbers, anything behind `-`, `+` or a letter does not count. Compiled into
//! the build script too, so it depends on nothing else of the crate.

use std::cmp::Ordering;
use std::fmt;

/// The numbers of a version, one to four.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u64>);

impl Version {
    /// Reads a version; `None` when it begins with no number, or goes on with something that is no version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        // `1.8.0_292` is no version in this sense; `1.23rc1` and `17.0.12+7` are.
        if !rest.is_empty()
            && !rest.starts_with(|one: char| one == '-' || one == '+' || one == '~' || one.is_ascii_alphabetic())
        {
            return None;
        }
        let numbers: Option<Vec<u64>> = numbers.split('.').map(|one| one.parse().ok()).collect();
        numbers.filter(|numbers| numbers.len() <= 4).map(Self)
    }

    /// The first two numbers, `8.3`; `None` when there is only one.
    #[must_use]
    pub fn major_minor(&self) -> Option<String> {
        match self.0.as_slice() {
            [major, minor, ..] => Some(format!("{major}.{minor}")),
            _ => None,
        }
    }

    /// Compares as far as this version goes: of `18` it is not known whether it is before `18.19`, so they are equal.
    fn compare(&self, bound: &Self) -> Ordering {
        let known = self.0.len();
        let of = |version: &Self, index: usize| version.0.get(index).copied().unwrap_or_default();
        let length = known.max(if known < bound.0.len() { known } else { bound.0.len() });
        (0..length)
            .map(|index| of(self, index).cmp(&of(bound, index)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn is_shorter(&self, bound: &Self) -> bool {
        self.0.len() < bound.0.len()
    }
}

/// `>=3.1, <3.5`; alternatives are separated by `||`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    text: String,
    alternatives: Vec<Vec<(Comparison, Version)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    Below,
}

impl Constraint {
    /// Reads a constraint.
    ///
    /// # Errors
    /// With the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let part = part.trim();
            let (comparison, version) = if let Some(rest) = part.strip_prefix(">=") {
                (Comparison::AtLeast, rest)
            } else if let Some(rest) = part.strip_prefix('<') {
                (Comparison::Below, rest)
            } else {
                return Err(format!("{part:?} is neither >=VERSION nor <VERSION"));
            };
            let version = Version::parse(version).ok_or_else(|| format!("{part:?} names no version"))?;
            Ok((comparison, version))
        };
        let alternatives = text.split("||").map(|one| one.split(',').map(part).collect()).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// Whether a version is supported. Where it is known too roughly to tell, it is.
    #[must_use]
    pub fn allows(&self, version: &Version) -> bool {
        let holds = |(comparison, bound): &(Comparison, Version)| {
            let order = version.compare(bound);
            match comparison {
                Comparison::AtLeast => order.is_ge(),
                Comparison::Below => order.is_lt() || (order.is_eq() && version.is_shorter(bound)),
            }
        };
        self.alternatives.iter().any(|parts| parts.iter().all(holds))
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently() {
        for (text, expected) in [
            ("17.0.12+7", Some(vec![17, 0, 12])),
            ("v20.1.0", Some(vec![20, 1, 0])),
            ("3.11", Some(vec![3, 11])),
            ("8", Some(vec![8])),
            ("1.2.3.4", Some(vec![1, 2, 3, 4])),
            ("3.13.0-rc1", Some(vec![3, 13, 0])),
            ("1.23rc1", Some(vec![1, 23])),
            ("1.8.0_292", None),
            ("1.2.3.4.5", None),
            ("", None),
            ("latest", None),
            ("1..2", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(Version::parse(text), expected.map(Version), "{text}");
        }
        assert_eq!(Version::parse("8.3.11").and_then(|one| one.major_minor()).as_deref(), Some("8.3"));
        assert_eq!(Version::parse("8").and_then(|one| one.major_minor()), None);
    }

    #[test]
    fn constraints_allow() {
        for (constraint, version, expected) in [
            (">=8", "8", true),
            (">=8", "17.0.12+7", true),
            (">=8", "7.0.1", false),
            (">=3.9", "3.10.15", true),
            (">=3.9", "3.8.20", false),
            (">=8.1, <8.5", "8.4.20", true),
            (">=8.1, <8.5", "8.5", false),
            (">=8.1, <8.5", "8.5.0", false),
            (">=8.1, <8.5", "8", true),
            (">=18.19, <19 || >=20.6", "18.19.0", true),
            (">=18.19, <19 || >=20.6", "18.18.2", false),
            (">=18.19, <19 || >=20.6", "19.9.0", false),
            (">=18.19, <19 || >=20.6", "22.1.0", true),
            (">=18.19, <19 || >=20.6", "18", true),
            (">=1.19", "1.23rc1", true),
        ] {
            let allowed = Constraint::parse(constraint).unwrap().allows(&Version::parse(version).unwrap());
            assert_eq!(allowed, expected, "{constraint} {version}");
        }
        for bad in ["", "8", ">8", ">=x", ">=1 ||"] {
            assert!(Constraint::parse(bad).is_err(), "{bad:?}");
        }
    }
}
