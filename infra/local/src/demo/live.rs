//! The demo in real time: alerts now and then, pulled every few seconds, and a tenant left for whoever watches.

use std::{
    future::pending,
    io::IsTerminal,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use shared::{
    clock::Clock,
    tenant::{Feed, list::list},
};
use simulator::Simulator;
use tokio::{net::TcpListener, time::sleep};
use url::Url;

use super::{export::Exports, machine, story, world};
use crate::{Failure, serve, tenants, web};

/// Seconds between ticks.
const TICK: u32 = 10;
/// How long the demo stays where nobody can press Ctrl-C: long enough to try the addresses it has printed.
const UNWATCHED: Duration = Duration::from_secs(120);

/// Goes on until interrupted; without a terminal, for two minutes.
///
/// # Errors
/// When the folder or the port is gone.
pub async fn go_on(
    simulator: Simulator,
    mut exports: Exports,
    data: &Path,
    microsoft: &Url,
    public_url: &Url,
) -> Result<(), Failure> {
    simulator.follow_real_clock();
    let platform = embedded::open(data, &Clock::System).map_err(Failure::failed)?;
    let machine = machine(platform, microsoft, public_url, Clock::System)?;
    let live = &machine.app;
    let address = (public_url.host_str().unwrap_or_default(), public_url.port().unwrap_or_default());
    let listener = TcpListener::bind(address).await.map_err(Failure::failed)?;
    tokio::spawn(web::serve(live.clone(), listener));
    let stopping = Arc::new(AtomicBool::new(false));
    let tasks = serve::start(&machine, TICK, &stopping);

    let link = story::invitation(live, &world::WOODGROVE).await?;
    println!("\nThe tenants go on in real time, pulled every {TICK} s.\n");
    println!(
        "Open the console, and sign in to the simulated Microsoft as {} (or as {}, who may only look):\n",
        world::OPERATOR,
        world::READER
    );
    println!("  {public_url}\n");
    println!(
        "Let a tenant in yourself. Open this invitation for Woodgrove in a browser, continue to the simulated Microsoft,"
    );
    println!("and choose Ada Admin of Woodgrove (or decline, or try Ulf User, who may not):\n\n  {link}\n");
    println!("Look around:");
    println!("  the tenants             muster tenants --data {}", data.display());
    println!("  alerts as they arrive   ls -ltr {}/lake/alerts/*/*", data.display());
    println!("  network events          ls -ltr {}/lake/telemetry/*/*", data.display());
    println!(
        "  one event               find {}/lake/alerts -name '*.gz' | tail -1 | xargs zcat | head -1",
        data.display()
    );
    println!("  what Microsoft was asked  curl {microsoft}_simulator/log");
    let watched = std::io::stdout().is_terminal();
    let end = if watched { "Stop with Ctrl-C." } else { "Nobody watches, so it ends by itself in two minutes." };
    println!("{end}");
    let mut beat = tokio::time::interval(Duration::from_secs(u64::from(TICK)));
    let alone = async { if watched { pending().await } else { sleep(UNWATCHED).await } };
    tokio::pin!(alone);
    let mut number = 0;
    let mut woodgrove = None;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                number += 1;
                world::trickle(&simulator, number, Timestamp::now());
                exports.go_on(&simulator, Timestamp::now());
                let views = list(live.ports.store.as_ref(), Timestamp::now()).await.map_err(Failure::failed)?;
                let view = views.iter().find(|view| view.tenant_id.to_string() == world::WOODGROVE.id);
                let state = view.map(|view| view.state);
                if state != woodgrove {
                    woodgrove = state;
                    eprintln!("Woodgrove is {}", state.as_ref().map_or_else(String::new, tenants::word));
                }
                let delivered = |feed| -> u64 {
                    views.iter().filter_map(|view| view.feeds.get(&feed)).map(|view| view.ledger.delivered).sum()
                };
                let [alerts, machines, events] = Feed::ALL.map(delivered);
                eprintln!(
                    "{alerts} alerts, {machines} changes of machines and {events} network events of {} tenants delivered so far",
                    views.len()
                );
            }
            _ = tokio::signal::ctrl_c() => break,
            () = &mut alone => break,
        }
    }
    stopping.store(true, Ordering::SeqCst);
    drop(tasks);
    Ok(())
}
