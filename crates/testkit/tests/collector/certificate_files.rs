//! Certificates of both sides as files, as a kubelet mounts them. Shared by test binaries.

use jiff::Timestamp;
use odigos_kit::certificates::{Authority, Mounted, Usage};
use odigos_plan::mutual_tls::Side;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Writes what both sides mount, in the folders `gateway` and `node`; `signer` certifies, `trusted` is what both believe.
pub(crate) fn write(directory: &Path, signer: &Authority, trusted: &Authority, now: Timestamp) {
    static VERSION: AtomicUsize = AtomicUsize::new(0);
    for (side, folder, usage) in [(Side::Gateway, "gateway", Usage::Server), (Side::Node, "node", Usage::Both)] {
        let mut mounted = Mounted::next(None, signer, true, &[side.name().to_owned()], usage, now).unwrap();
        mounted.trusted = trusted.bundle();
        // All files of a Secret change at once: the folder is a link to the newest.
        let data = directory.join(format!("{folder}-{}", VERSION.fetch_add(1, Ordering::SeqCst)));
        std::fs::create_dir_all(&data).unwrap();
        for (name, text) in mounted.data() {
            std::fs::write(data.join(name), text).unwrap();
        }
        let link = directory.join(format!("{folder}.new"));
        std::os::unix::fs::symlink(&data, &link).unwrap();
        std::fs::rename(&link, directory.join(folder)).unwrap();
    }
}
