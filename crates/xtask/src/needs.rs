//! What each task needs on the machine, and how it is installed.

use odigos_tools::Version;
use std::fmt;

/// A task that somebody starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Run,
    Test,
    E2e,
    Images,
    Bench,
}

impl Task {
    pub(crate) const ALL: [Self; 5] = [Self::Run, Self::Test, Self::E2e, Self::Images, Self::Bench];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.to_string() == name)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Run => "run",
            Self::Test => "test",
            Self::E2e => "e2e",
            Self::Images => "images",
            Self::Bench => "bench",
        })
    }
}

/// How it is found out whether something is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// Starts a program with arguments; it must succeed and print at least this version.
    Program(&'static str, &'static [&'static str], Version),
    /// The same, with a version before the last one.
    Within(&'static str, &'static [&'static str], Version, Version),
    /// One of these files exists.
    File(&'static [&'static str]),
    /// A Go that is new enough, or fetches one that is.
    Go,
    /// This machine runs Debian 12.
    Debian12,
    /// This machine runs Linux.
    Linux,
    /// Whoever starts the task is root.
    Root,
}

/// Where packages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Debian,
    Fedora,
    MacOs,
    Other,
}

/// One thing that tasks need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) name: &'static str,
    pub(crate) check: Check,
    pub(crate) tasks: &'static [Task],
    /// Packages of Debian, Fedora and Homebrew; an empty one means that no package brings it there.
    pub(crate) packages: [&'static str; 3],
    /// What to do where no package brings it.
    pub(crate) otherwise: &'static str,
}

impl Need {
    /// The package that brings it.
    pub(crate) fn package(&self, system: System) -> Option<&'static str> {
        let package = match system {
            System::Debian => self.packages[0],
            System::Fedora => self.packages[1],
            System::MacOs => self.packages[2],
            System::Other => "",
        };
        (!package.is_empty()).then_some(package)
    }
}

const ANY: Version = Version(0, 0, 0);
use Check::{Debian12, File, Go, Linux, Program, Root, Within};
use Task::{Bench, E2e, Images, Test};
const ALL: &[Task] = &Task::ALL;
const CLUSTER: &str =
    "clusters of real nodes are only created on Debian 12; `cargo xtask e2e --kubeconfig FILE` uses another cluster";

/// Everything, in the order in which it is shown.
pub(crate) const NEEDS: [Need; 31] = [
    Need {
        name: "rust",
        check: Program("rustc", &["--version"], Version(1, 89, 0)),
        tasks: ALL,
        packages: ["", "", ""],
        otherwise: "install rustup from https://rustup.rs; it reads rust-toolchain.toml",
    },
    Need {
        name: "go",
        check: Go,
        tasks: ALL,
        packages: ["", "", "go"],
        otherwise: "install Go from https://go.dev/dl (Debian 12 has 1.19, and Fedora's fetches no newer one by itself)",
    },
    Need {
        name: "cc",
        check: Program("cc", &["--version"], ANY),
        tasks: ALL,
        packages: ["gcc libc6-dev", "gcc", ""],
        otherwise: "xcode-select --install",
    },
    Need {
        name: "rustfmt",
        check: Program("cargo", &["fmt", "--version"], ANY),
        tasks: &[Test],
        packages: ["", "", ""],
        otherwise: "rustup component add rustfmt",
    },
    Need {
        name: "clippy",
        check: Program("cargo", &["clippy", "--version"], ANY),
        tasks: &[Test],
        packages: ["", "", ""],
        otherwise: "rustup component add clippy",
    },
    Need {
        name: "linux",
        check: Linux,
        tasks: ALL,
        packages: ["", "", ""],
        otherwise: "the agent of nodes is written for Linux; use a Linux machine or a virtual one",
    },
    Need {
        name: "python",
        check: Program("python3", &["--version"], Version(3, 9, 0)),
        tasks: &[Test, E2e, Images, Bench],
        packages: ["python3", "python3", "python"],
        otherwise: "install Python 3.9 or later",
    },
    Need {
        name: "pip",
        check: Program("python3", &["-m", "pip", "--version"], Version(22, 1, 0)),
        tasks: &[Test, E2e, Images, Bench],
        packages: ["python3-pip", "python3-pip", "python"],
        otherwise: "python3 -m ensurepip --upgrade",
    },
    Need {
        name: "git",
        check: Program("git", &["--version"], ANY),
        tasks: &[E2e],
        packages: ["git", "git", "git"],
        otherwise: "install git",
    },
    Need {
        name: "node",
        check: Program("node", &["--version"], Version(14, 0, 0)),
        tasks: &[Bench],
        packages: ["nodejs", "nodejs", "node"],
        otherwise: "install Node.js",
    },
    Need {
        name: "npm",
        check: Program("npm", &["--version"], Version(8, 0, 0)),
        tasks: &[E2e, Images],
        packages: ["npm", "nodejs-npm", "node"],
        otherwise: "install Node.js with npm",
    },
    Need {
        name: "maven",
        check: Program("mvn", &["--version"], Version(3, 0, 0)),
        tasks: &[E2e, Images],
        packages: ["maven", "maven", "maven"],
        otherwise: "install Apache Maven",
    },
    Need {
        name: "clang",
        check: Program("clang", &["--version"], Version(14, 0, 0)),
        tasks: &[E2e, Images],
        packages: ["clang", "clang", ""],
        otherwise: "install clang",
    },
    Need {
        name: "llvm-strip",
        check: Program("llvm-strip", &["--version"], ANY),
        tasks: &[E2e, Images],
        packages: ["llvm", "llvm", ""],
        otherwise: "install llvm",
    },
    Need {
        name: "patch",
        check: Program("patch", &["--version"], ANY),
        tasks: &[Test, E2e, Images],
        packages: ["patch", "patch", ""],
        otherwise: "install patch",
    },
    Need {
        name: "objcopy and strip",
        check: Program("objcopy", &["--version"], ANY),
        tasks: &[E2e, Images],
        packages: ["binutils", "binutils", ""],
        otherwise: "install binutils",
    },
    Need { name: "debian 12", check: Debian12, tasks: &[E2e], packages: ["", "", ""], otherwise: CLUSTER },
    Need { name: "root", check: Root, tasks: &[E2e, Bench], packages: ["", "", ""], otherwise: "run it as root" },
    Need {
        name: "jdk 17",
        check: Within("jlink", &["--version"], Version(17, 0, 0), Version(18, 0, 0)),
        tasks: &[E2e],
        packages: ["openjdk-17-jdk-headless", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "ruby 3.1",
        check: File(&["/usr/bin/ruby3.1"]),
        tasks: &[E2e],
        packages: ["ruby3.1", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "python 3.11",
        check: Program("python3.11", &["--version"], Version(3, 11, 0)),
        tasks: &[E2e],
        packages: ["python3.11", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "busybox",
        check: File(&["/bin/busybox"]),
        tasks: &[E2e],
        packages: ["busybox-static", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "containerd",
        check: Program("containerd", &["--version"], Version(1, 6, 0)),
        tasks: &[E2e],
        packages: ["containerd", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "runc",
        check: Program("runc", &["--version"], Version(1, 0, 0)),
        tasks: &[E2e],
        packages: ["runc", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "cni plugins",
        check: File(&["/usr/lib/cni/bridge"]),
        tasks: &[E2e],
        packages: ["containernetworking-plugins", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "iptables",
        check: Program("iptables", &["--version"], ANY),
        tasks: &[E2e],
        packages: ["iptables", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "iproute2",
        check: Program("ip", &["-V"], ANY),
        tasks: &[E2e],
        packages: ["iproute2", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "conntrack",
        check: Program("conntrack", &["--version"], ANY),
        tasks: &[E2e],
        packages: ["conntrack", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "openssl",
        check: Program("openssl", &["version"], Version(1, 1, 0)),
        tasks: &[Test, E2e],
        packages: ["openssl", "openssl", "openssl"],
        otherwise: "install openssl",
    },
    Need {
        name: "nsenter",
        check: Program("nsenter", &["--version"], ANY),
        tasks: &[E2e],
        packages: ["util-linux", "", ""],
        otherwise: CLUSTER,
    },
    Need {
        name: "sysctl",
        check: Program("sysctl", &["--version"], ANY),
        tasks: &[E2e],
        packages: ["procps", "", ""],
        otherwise: CLUSTER,
    },
];
