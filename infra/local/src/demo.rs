//! `muster demo`: the whole life of a customer against a simulated Microsoft, with the trouble that real tenants give.
//!
//! One hour passes in a few seconds: simulator and handlers share a clock that the demo moves. Everything between them
//! is real, down to the HTTP on loopback.

pub mod administrator;
mod crash;
mod export;
mod live;
mod story;
mod verdict;
mod world;

use std::sync::Arc;

use embedded::{Machine, Platform};
use jiff::{Timestamp, ToSpan, Unit};
use shared::{
    App,
    audit::Actor,
    clock::Clock,
    config::Config,
    consent::connect,
    http::Client,
    ports::vault::Stage,
    secret::Secret,
    tenant::{Feed, list::list},
};
use simulator::Simulator;
use tokio::net::TcpListener;
use url::Url;

use crate::{Failure, tenants, vault, web};

/// Tells the story; with `once` ends after it, otherwise keeps serving.
///
/// # Errors
/// When a ledger does not balance or the lake does not hold exactly what the tenants have.
pub async fn run(once: bool) -> Result<(), Failure> {
    let began = std::time::Instant::now();
    let start = story_start()?;
    let simulator = Simulator::new(1, start);
    let (listener, microsoft) = listen().await?;
    tokio::spawn(simulator::serve::serve(simulator.clone(), listener));
    let (listener, public_url) = listen().await?;
    world::build(&simulator, start, &public_url);
    let mut exports = export::Exports::begin(&simulator, start);

    let data = std::env::temp_dir().join(format!("muster-demo-{}-{}", start.as_second(), std::process::id()));
    let clock = Clock::manual(start);
    let mut platform = embedded::open(&data, &clock).map_err(Failure::failed)?;
    let dying = crash::DyingLake::over(platform.ports.lake.clone());
    platform.ports.lake = dying.clone();
    let machine = machine(platform, &microsoft, &public_url, clock.clone())?;
    let app = &machine.app;
    let web = tokio::spawn(web::serve(app.clone(), listener));

    eprintln!("A simulated Microsoft answers on {microsoft}; one hour passes in a few seconds.\n");
    connect_tenants(app).await?;
    story::tell(&machine, &simulator, &dying, &mut exports, start).await?;
    web.abort();

    let views = list(app.ports.store.as_ref(), app.clock.now()).await.map_err(Failure::failed)?;
    println!("{}", tenants::table(&views));
    let lake = data.join("lake");
    println!("The lake: {}   ({:.1} s)", lake.display(), began.elapsed().as_secs_f64());
    verdict::check(&views, &lake, &simulator, &exports)?;
    println!("Every ledger balances: the lake holds each version of each alert and each network event exactly once,");
    println!("and whoever replays its events of machines has every tenant's inventory.");
    if once { Ok(()) } else { live::go_on(simulator, exports, &data, &microsoft, &public_url).await }
}

/// A port of loopback's, and its origin.
async fn listen() -> Result<(TcpListener, Url), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Failure::failed)?;
    let address = listener.local_addr().map_err(Failure::failed)?;
    Ok((listener, Url::parse(&format!("http://{address}")).map_err(Failure::failed)?))
}

/// An hour and a bit ago, so that the story ends about now.
fn story_start() -> Result<Timestamp, Failure> {
    let rounded = Timestamp::now().round(Unit::Minute).map_err(Failure::failed)?;
    rounded.checked_sub((i64::from(story::MINUTES + story::AFTERWARDS) + 5).minutes()).map_err(Failure::failed)
}

fn machine(platform: Platform, microsoft: &Url, public_url: &Url, clock: Clock) -> Result<Machine, Failure> {
    let config = Config::from_lookup(|name| match name {
        "MUSTER_LOGIN_URL" | "MUSTER_DEFENDER_URL" | "MUSTER_GRAPH_URL" => Some(microsoft.to_string()),
        "MUSTER_BLOB_URL" => Some(format!("{microsoft}storage/{{account}}/blob")),
        "MUSTER_AZURE_QUEUE_URL" => Some(format!("{microsoft}storage/{{account}}/queue")),
        "MUSTER_PUBLIC_URL" => Some(public_url.to_string()),
        "MUSTER_PROVIDER_NAME" => Some("Example Security".to_owned()),
        "MUSTER_SUPPORT_CONTACT" => Some("help@example.com".to_owned()),
        _ => None,
    })
    .map_err(Failure::failed)?;
    let http = Client::network(config.trusted_origins()).map_err(Failure::failed)?;
    let app = App::new(Arc::new(config), platform.ports, http, clock);
    Ok(Machine { app, deliveries: platform.deliveries, rotations: platform.rotations })
}

async fn connect_tenants(app: &App) -> Result<(), Failure> {
    vault::ensure_signing_key(app).await?;
    let entry = Secret::new(world::application_entry());
    app.ports.vault.put("muster/app", "demo-1", &entry, &[Stage::Current], None).await.map_err(Failure::failed)?;
    for tenant in world::TENANTS {
        let storage = export::storage(&tenant)?;
        let mut feeds = vec![Feed::Alerts, Feed::Machines];
        feeds.extend(storage.is_some().then_some(Feed::Telemetry));
        let new = connect::NewConnection {
            tenant_id: tenant.id.parse().map_err(Failure::Failed)?,
            account: tenant.name.to_owned(),
            feeds,
            region: None,
            storage,
        };
        connect::connect(app, &new, &Actor::CommandLine).await.map_err(Failure::failed)?;
    }
    Ok(())
}
