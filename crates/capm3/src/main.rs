//! The Cluster API infrastructure provider.

use anyhow::Result;
use metal3_capm3::{Cli, Command, check, run};
use metal3_kit::{shutdown, telemetry};

fn main() -> Result<()> {
    // Fails only if another provider was installed, which nobody does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Cli { command, args } = Cli::read();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            if let Some(Command::Check(args)) = command {
                return check(&args).await;
            }
            let _telemetry = telemetry::init("metal3-capm3", env!("CARGO_PKG_VERSION"), &args.telemetry())?;
            run(args, shutdown::on_signal()?).await
        })
}
