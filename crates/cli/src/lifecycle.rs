//! Install, upgrade, uninstall: the life of the product in a cluster (`spec/ui-and-cli.md` 9.2, 11).
//!
//! Owns the order of steps, what is recorded about an installation, and what is verified at the end. Every step reads the
//! cluster and does what is still missing, so an interrupted command is finished by running it again. Never renders: what
//! is installed comes from the embedded chart, exactly as Helm would render it.

mod api_services;
mod carry_over;
mod cluster;
mod found;
pub(crate) mod install;
mod nodes;
mod permissions;
mod planned;
mod preflight;
mod ready;
mod record;
mod remove;
mod report;
mod restart;
mod restored;
mod traces;
pub(crate) mod uninstall;
mod uninstrument;
pub(crate) mod upgrade;
mod user;
mod verify;

use crate::{Failure, output};

/// Field manager of everything that the command line tool writes.
pub(crate) const MANAGER: &str = "odigos-cli";
/// Name of the release, as Helm would know it.
const RELEASE: &str = "odigos";
/// Annotation of a namespace that the installer made, and may therefore remove.
const MADE_NAMESPACE: &str = "odigos.io/created-by-installer";
/// Annotation of a Source that uninstalling has disabled; its value is what `disableInstrumentation` was before.
const DISABLED_BY_UNINSTALL: &str = "odigos.io/disabled-by-uninstall";
/// Prefix of every label, annotation, taint and finalizer of the product.
const PREFIX: &str = "odigos.io/";

/// Exit codes (`spec/ui-and-cli.md` 9.2).
mod code {
    /// Something failed.
    pub(super) const FAILED: u8 = 1;
    /// Arguments that make no sense.
    pub(super) const USAGE: u8 = 2;
    /// Not installed, or installed elsewhere.
    pub(super) const ELSEWHERE: u8 = 3;
    /// Not permitted.
    pub(super) const FORBIDDEN: u8 = 4;
    /// Done in part.
    pub(super) const PARTLY: u8 = 5;
    /// Not within the time.
    pub(super) const TIMEOUT: u8 = 6;
    /// Changes are pending.
    pub(super) const PENDING: u8 = 10;
}

/// A failure with its exit code.
fn failure(code: u8, message: impl std::fmt::Display) -> Failure {
    Failure::Exit(code, anyhow::anyhow!("{message}"))
}

/// An error of the API server: not permitted, or failed. What the server said is printed once, without its wrapping.
#[allow(clippy::needless_pass_by_value, reason = "taken by map_err")]
fn classified(error: anyhow::Error) -> Failure {
    let mut told = Vec::new();
    let mut code = code::FAILED;
    for cause in error.chain() {
        if let Some(kube::Error::Api(status)) = cause.downcast_ref::<kube::Error>() {
            if [401, 403].contains(&status.code) {
                code = code::FORBIDDEN;
            }
            told.push(status.message.clone());
            break;
        }
        told.push(cause.to_string());
    }
    failure(code, told.join(": "))
}

/// Lines about what happens, on standard error.
#[derive(Clone, Copy, Debug)]
struct Progress {
    quiet: bool,
}

impl Progress {
    fn say(self, line: &str) {
        if !self.quiet {
            output::error(line);
        }
    }
}
