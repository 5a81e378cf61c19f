//! One hour, minute by minute: what happens in the tenants, and one tick of ours.

use std::time::Duration;

use embedded::Machine;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use shared::{
    App,
    audit::Actor,
    consent::invitation::{LIFETIME, NewInvitation, invite},
    credential::rotation::{Disposition, Pace},
    machine::accept::{Accepted, accept},
    tenant::{Feed, State, list::list},
};
use simulator::Simulator;
use tokio::{task::JoinHandle, time::sleep};
use url::Url;

use super::{
    administrator::Administrator,
    crash::DyingLake,
    export::Exports,
    world::{self, Cast},
};
use crate::{Failure, rotate, serve, worker::Worker};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// One tick each.
pub const MINUTES: u32 = 60;
/// Minutes after the story, in which what was appended last is read and the hourly listing comes.
pub const AFTERWARDS: u32 = 10;
/// Minutes between two ticks of telemetry, and of machines: faster than in earnest, for an hour is short.
const TELEMETRY: u32 = 5;
const MACHINES: u32 = 10;

/// # Errors
/// When something in the story does not go as it must.
pub async fn tell(
    machine: &Machine,
    simulator: &Simulator,
    dying: &DyingLake,
    exports: &mut Exports,
    start: Timestamp,
) -> Result<(), Failure> {
    let app = &machine.app;
    let bar = ProgressBar::new(u64::from(MINUTES));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} min  {msg}").map_err(Failure::failed)?;
    bar.set_style(style);
    let workers = Feed::ALL.map(|feed| Worker::new(machine.clone(), feed));
    let mut rotation = None;
    for minute in 0..MINUTES {
        let now = start + MINUTE * i32::try_from(minute + 1).unwrap_or(i32::MAX);
        simulator.set_now(now);
        app.clock.advance(MINUTE);
        let mut lines = world::happen(simulator, minute, now);
        lines.extend(exports.go_on(simulator, now));
        lines.extend(act(machine, simulator, &mut rotation, minute).await?);
        for line in lines {
            bar.suspend(|| eprintln!("{minute:>4} min  {line}"));
        }
        if minute == world::CRASH_MINUTE {
            dying.arm();
        }
        tick(app, minute, now).await;
        drain_all(&workers, dying).await?;
        nobody_suffers_for_us(app).await?;
        if rotation.is_some() {
            // Its time is ours; its work wants some of the machine's.
            sleep(Duration::from_millis(20)).await;
        }
        if let Some(renewed) = rotation.take_if(|rotation| rotation.is_finished()) {
            renewed.await.map_err(Failure::failed)??;
            bar.suspend(|| {
                eprintln!("{minute:>4} min  The new secret has earned its tokens and is current; no tenant has felt it")
            });
        }
        bar.set_message(format!("{} requests to Microsoft", simulator.log().len()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    exports.finish(simulator);
    for minute in MINUTES..=MINUTES + AFTERWARDS {
        simulator.set_now(start + MINUTE * i32::try_from(minute + 1).unwrap_or(i32::MAX));
        app.clock.advance(MINUTE);
        tick(app, minute, app.clock.now()).await;
        drain_all(&workers, dying).await?;
    }
    if rotation.is_some() {
        return Err(Failure::failed("the application's secret was not renewed in time"));
    }
    let refusals = simulator.refusals();
    if refusals.is_empty() { Ok(()) } else { Err(Failure::failed(format!("the simulator did not know: {refusals:?}"))) }
}

/// The feeds whose turn it is.
async fn tick(app: &App, minute: u32, now: Timestamp) {
    for (feed, every) in [(Feed::Alerts, 1), (Feed::Machines, MACHINES), (Feed::Telemetry, TELEMETRY)] {
        if minute.is_multiple_of(every) {
            serve::fire(app, feed, now, every * 60).await;
        }
    }
}

async fn drain_all(workers: &[Worker], dying: &DyingLake) -> Result<(), Failure> {
    for worker in workers {
        while drain(worker, dying).await? > 0 {}
    }
    Ok(())
}

/// What the provider and its customers' administrators do in this minute.
async fn act(
    machine: &Machine,
    simulator: &Simulator,
    rotation: &mut Option<JoinHandle<Result<(), Failure>>>,
    minute: u32,
) -> Result<Option<String>, Failure> {
    let (app, proseware) = (&machine.app, &world::PROSEWARE);
    match minute {
        world::INVITE_MINUTE => {
            let page = come_in(app, simulator, proseware, world::PROSEWARES_ADMINISTRATOR).await?;
            Ok(Some(format!("Proseware is invited; its administrator opens the link and approves: \"{page}\"")))
        }
        world::ROTATE_MINUTE => {
            rotation.replace(tokio::spawn({
                let machine = machine.clone();
                async move { renew(&machine).await }
            }));
            Ok(Some("The application's secret is being renewed, while everybody is pulled".to_owned()))
        }
        world::INVITE_AGAIN_MINUTE => {
            let state = state(app, proseware).await?;
            if state != Some(State::NeedsConsent) {
                return Err(Failure::failed(format!("Proseware has withdrawn its consent and is {state:?}")));
            }
            let page = come_in(app, simulator, proseware, world::PROSEWARES_ADMINISTRATOR).await?;
            Ok(Some(format!("Proseware was found to need consent; invited again, approved again: \"{page}\"")))
        }
        world::ACCEPT_MINUTE => {
            let tenant = world::ADATUM.id.parse().map_err(Failure::Failed)?;
            match accept(app, tenant, &Actor::CommandLine).await.map_err(Failure::failed)? {
                Accepted::Machines(machines) if machines == u64::from(world::CROWD) => Ok(Some(format!(
                    "Adatum: the {machines} machines were held back; the operator accepts that they are gone"
                ))),
                other => {
                    Err(Failure::failed(format!("Adatum's machines have vanished, and the operator is told {other:?}")))
                }
            }
        }
        _ => Ok(None),
    }
}

/// As the platform does it: what fails is done again.
async fn renew(machine: &Machine) -> Result<(), Failure> {
    let pace = Pace::new(rotate::UNHURRIED, |_, _| {});
    loop {
        match rotate::rotate(machine, "muster/app", &pace).await {
            Err(error) if error.disposition() == Disposition::Retry => {}
            ended => return ended.map_err(Failure::failed),
        }
    }
}

/// Whatever happens to our credential, no tenant may feel it.
async fn nobody_suffers_for_us(app: &App) -> Result<(), Failure> {
    let views = list(app.ports.store.as_ref(), app.clock.now()).await.map_err(Failure::failed)?;
    match views.iter().find(|view| view.state == State::CredentialFault) {
        Some(view) => Err(Failure::failed(format!("{} was refused for a fault of ours", view.account))),
        None => Ok(()),
    }
}

/// An invitation, and an administrator who follows it. What the last page says.
async fn come_in(app: &App, simulator: &Simulator, cast: &Cast, oid: &str) -> Result<String, Failure> {
    let link = invitation(app, cast).await?;
    Administrator::new(simulator, oid, app.clock.clone())?.approve(&link).await
}

/// A link for the tenant's account.
pub async fn invitation(app: &App, cast: &Cast) -> Result<Url, Failure> {
    let new = NewInvitation {
        account: cast.name.to_owned(),
        feeds: vec![Feed::Alerts, Feed::Machines],
        expected_tenant: None,
        lifetime: LIFETIME,
        once: None,
    };
    Ok(invite(app, &new, &Actor::CommandLine).await.map_err(Failure::failed)?.link)
}

async fn state(app: &App, cast: &Cast) -> Result<Option<State>, Failure> {
    let views = list(app.ports.store.as_ref(), app.clock.now()).await.map_err(Failure::failed)?;
    Ok(views.into_iter().find(|view| view.tenant_id.to_string() == cast.id).map(|view| view.state))
}

/// Drains the queue; a worker that dies on the way is dropped where it stands.
async fn drain(worker: &Worker, dying: &DyingLake) -> Result<usize, Failure> {
    tokio::select! {
        drained = worker.drain(10) => drained.map_err(Failure::failed),
        () = dying.death() => {
            eprintln!("          a worker died between putting an object and committing it");
            Ok(1)
        }
    }
}
