//! The words for languages, servers and C libraries (`spec/sources-and-instrumentation.md` 1.2, 4.4).

use std::fmt;

/// What a process is written in, or which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// A Java virtual machine, whatever language it was compiled from.
    Java,
    /// Python.
    Python,
    /// Go.
    Go,
    /// .NET with a runtime (not compiled ahead of time).
    Dotnet,
    /// Node.js.
    Javascript,
    /// PHP, as a program or inside a web server.
    Php,
    /// Ruby.
    Ruby,
    /// Rust.
    Rust,
    /// C++, or another language that uses its library.
    Cplusplus,
    /// MySQL or MariaDB.
    Mysql,
    /// nginx.
    Nginx,
    /// Redis.
    Redis,
    /// PostgreSQL.
    Postgres,
    /// None of these, or several at once.
    Unknown,
}

impl Language {
    /// Every language, in the order of the API's documentation.
    pub const ALL: [Self; 14] = [
        Self::Java,
        Self::Python,
        Self::Go,
        Self::Dotnet,
        Self::Javascript,
        Self::Php,
        Self::Ruby,
        Self::Rust,
        Self::Cplusplus,
        Self::Mysql,
        Self::Nginx,
        Self::Redis,
        Self::Postgres,
        Self::Unknown,
    ];

    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::Python => "python",
            Self::Go => "go",
            Self::Dotnet => "dotnet",
            Self::Javascript => "javascript",
            Self::Php => "php",
            Self::Ruby => "ruby",
            Self::Rust => "rust",
            Self::Cplusplus => "cplusplus",
            Self::Mysql => "mysql",
            Self::Nginx => "nginx",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Unknown => "unknown",
        }
    }

    /// The language of a word of the API; a word that is not in the list is [`Language::Unknown`].
    #[must_use]
    pub fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|one| one.as_str() == word).unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The C library of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Libc {
    /// The GNU C library.
    Glibc,
    /// musl, as in Alpine images.
    Musl,
}

impl Libc {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
        }
    }
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
