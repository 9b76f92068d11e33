//! `cargo xtask run`: placeholder while the demonstration is written in the next module.

pub(crate) fn run(_keep: bool) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
