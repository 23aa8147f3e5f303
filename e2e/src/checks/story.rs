use super::Context;
pub(super) async fn check(_context: &Context) -> anyhow::Result<()> {
    Ok(())
}
