//! One hour, minute by minute: what happens in the tenants, and one tick of ours.

use std::time::Duration;

use embedded::Machine;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use shared::{
    App,
    consent::invitation::{LIFETIME, NewInvitation, invite},
    credential::rotation::{Disposition, Pace},
    tenant::{Feed, State, list::list},
};
use simulator::Simulator;
use tokio::{task::JoinHandle, time::sleep};
use url::Url;

use super::{
    administrator::Administrator,
    crash::DyingLake,
    world::{self, Cast},
};
use crate::{Failure, rotate, serve, worker::Worker};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// One tick each.
pub const MINUTES: u32 = 60;

/// # Errors
/// When something in the story does not go as it must.
pub async fn tell(
    machine: &Machine,
    simulator: &Simulator,
    dying: &DyingLake,
    start: Timestamp,
) -> Result<(), Failure> {
    let app = &machine.app;
    let bar = ProgressBar::new(u64::from(MINUTES));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} min  {msg}").map_err(Failure::failed)?;
    bar.set_style(style);
    let worker = Worker::new(machine.clone(), Feed::Alerts);
    let mut rotation = None;
    for minute in 0..MINUTES {
        let now = start + MINUTE * i32::try_from(minute + 1).unwrap_or(i32::MAX);
        simulator.set_now(now);
        app.clock.advance(MINUTE);
        let mut lines = world::happen(simulator, minute, now);
        lines.extend(act(machine, simulator, &mut rotation, minute).await?);
        for line in lines {
            bar.suspend(|| eprintln!("{minute:>4} min  {line}"));
        }
        if minute == world::CRASH_MINUTE {
            dying.arm();
        }
        serve::fire(app, Feed::Alerts, now, 60).await;
        while drain(&worker, dying).await? > 0 {}
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
    if rotation.is_some() {
        return Err(Failure::failed("the application's secret was not renewed in time"));
    }
    let refusals = simulator.refusals();
    if refusals.is_empty() { Ok(()) } else { Err(Failure::failed(format!("the simulator did not know: {refusals:?}"))) }
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
        feeds: vec![Feed::Alerts],
        expected_tenant: None,
        lifetime: LIFETIME,
    };
    Ok(invite(app, &new).await.map_err(Failure::failed)?.link)
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
