//! Processes that are never the application: shells, init shims, supervisors, tools of health probes (4.3, 3.9).

use crate::process::{Process, base_name};

/// Names of executables. Some are written in Go or C++ and would otherwise count against the application.
const HELPERS: [&str; 44] = [
    "ash",
    "bash",
    "busybox",
    "cat",
    "catatonit",
    "containerd-shim",
    "cron",
    "crond",
    "curl",
    "dash",
    "docker-init",
    "dockerize",
    "dumb-init",
    "env",
    "envconsul",
    "fish",
    "gosu",
    "grpc-health-probe",
    "grpc_health_probe",
    "ksh",
    "nc",
    "pause",
    "pid1",
    "runsv",
    "runsvdir",
    "s6-supervise",
    "s6-svscan",
    "setpriv",
    "sh",
    "sleep",
    "su",
    "su-exec",
    "sudo",
    "supercronic",
    "supervisord",
    "tail",
    "tee",
    "timeout",
    "tini",
    "tini-static",
    "toybox",
    "wait-for-it.sh",
    "wget",
    "zsh",
];
/// Interpreted helpers: the script's name behind the interpreter.
const HELPER_SCRIPTS: [&str; 5] = ["supervisord", "circusd", "honcho", "wait-for-it", "foreman"];

/// The name of the helper that the process is.
pub(crate) fn helper(process: &Process) -> Option<&str> {
    let (program, _) = process.program();
    if HELPERS.contains(&program) {
        return Some(program);
    }
    // An interpreter that runs a helper: its first argument that is no option.
    let script = process.command_line.iter().skip(1).find(|argument| !argument.starts_with('-'));
    script.map(|script| base_name(script)).filter(|script| HELPER_SCRIPTS.contains(script))
}
