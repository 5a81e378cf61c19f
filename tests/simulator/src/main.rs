//! The program `simulator`: the same simulator on a TCP port, with a clock that runs.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use jiff::Timestamp;
use simulator::{Simulator, WorldFile};
use tokio::net::TcpListener;

/// Entra's token side and Defender's alerts API, for tests and for trying things out.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen. It is a toy with published keys: leave it on loopback.
    #[arg(long, default_value = "127.0.0.1:8086")]
    listen: SocketAddr,
    /// The same seed gives the same ids and the same orders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A JSON file that describes applications, tenants and alerts; see example-world.json.
    #[arg(long)]
    world: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let simulator = Simulator::new(arguments.seed, Timestamp::now());
    simulator.follow_real_clock();
    if let Some(path) = &arguments.world {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: WorldFile = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        simulator.world(|world| file.add_to(world))?;
    }
    let listener = TcpListener::bind(arguments.listen).await?;
    eprintln!("simulator listening on http://{}", listener.local_addr()?);
    tokio::select! {
        () = simulator::serve::serve(simulator, listener) => Ok(()),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}
