//! The program `muster`: one machine, one data folder, the same handlers as on AWS.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use embedded::Machine;
use jiff::SignedDuration;
use local::Failure;
use shared::{
    App,
    clock::Clock,
    config::{Config, EXIT_USAGE},
    consent::invitation::NewInvitation,
    tenant::Feed,
};

/// Gathers Microsoft Defender for Endpoint alerts, machines and network telemetry from every customer tenant into one lake.
#[derive(Parser)]
#[command(name = "muster", version)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Shows everything at work against a simulated Microsoft: several tenants, trouble included.
    Demo {
        /// End after the story; exit status 0 only if every ledger balances.
        #[arg(long)]
        once: bool,
    },
    /// Serves, fires the schedules and runs the pullers until stopped.
    Serve {
        /// The data folder; the lake is in its `lake/`.
        #[arg(long)]
        data: PathBuf,
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Seconds between two pulls of a tenant; of its machines, 60 times as many.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
        tick: u32,
    },
    /// Keeps the applications' credentials.
    Vault {
        #[command(subcommand)]
        verb: VaultVerb,
    },
    /// Prints a link with which a customer's administrator lets us in.
    Invite {
        /// The customer; made if new.
        account: String,
        #[command(flatten)]
        place: Place,
        /// Which feeds to ask for, separated by commas: alerts, machines.
        #[arg(long, default_value = "alerts", value_delimiter = ',')]
        feeds: Vec<String>,
        /// The only tenant that may answer: its id, or one of its domains.
        #[arg(long)]
        expect: Option<String>,
        /// How long the link is good for.
        #[arg(long, default_value_t = 168, value_parser = clap::value_parser!(u16).range(1..=1440))]
        hours: u16,
    },
    /// Renews a client secret or a certificate now; resumes a rotation that was cut short.
    Rotate {
        /// The entry of the vault: `app`, or `tenants/{id}`.
        name: String,
        #[arg(long)]
        data: PathBuf,
    },
    /// Takes in a tenant that has approved the application already, or adds feeds to one that is in.
    Connect {
        /// The Entra tenant's id, a GUID.
        tenant_id: String,
        /// The customer it belongs to; made if new.
        #[arg(long)]
        account: String,
        #[command(flatten)]
        place: Place,
        /// Which feeds to prove and pull, separated by commas: alerts, machines, telemetry. Those it has already stay.
        #[arg(long, default_value = "alerts", value_delimiter = ',')]
        feeds: Vec<String>,
        /// Where the tenant's Defender data lives: us, eu, uk, au, swa or ina.
        #[arg(long)]
        region: Option<String>,
        /// Where the telemetry feed lies: the tenant's storage account, and the queue that announces its blobs.
        #[arg(long, value_name = "ACCOUNT/QUEUE")]
        storage: Option<String>,
    },
    /// Accepts that machines are gone which have vanished in a crowd, and are held back therefore.
    Accept {
        /// The Entra tenant's id, a GUID.
        tenant_id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Looks whether everything is set up right, and says what to do where it is not. Changes nothing.
    Doctor {
        #[command(flatten)]
        place: Place,
        /// A JSON array instead of words.
        #[arg(long)]
        json: bool,
    },
    /// Lists the tenants: state, and what each feed can do, how fresh it is and what it has delivered.
    Tenants {
        #[command(flatten)]
        place: Place,
        /// A JSON array instead of a table.
        #[arg(long)]
        json: bool,
    },
}

/// Whose state a verb works on.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// The data folder of this machine.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The stack on AWS that the environment names: MUSTER_TABLE and so on, as its functions have them.
    #[arg(long)]
    aws: bool,
}

#[derive(Subcommand)]
enum VaultVerb {
    /// Stores a credential, read as JSON from standard input: `app`, or `tenants/{id}`.
    Put {
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Lists names, stages and expiry; never values.
    List {
        #[command(flatten)]
        place: Place,
    },
}

fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            // Help and version are answers, not mistakes.
            let asked_for = error.exit_code() == 0;
            let _the_terminal_may_be_gone = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) };
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("muster: {cause}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(command.verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("muster: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { EXIT_USAGE } else { 1 })
        }
    }
}

async fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Demo { once } => {
            shared::log::init("error");
            local::demo::run(once).await
        }
        Verb::Serve { data, listen, tick } => {
            shared::log::init("info");
            local::serve::run(machine(&data)?, &data, listen, tick).await
        }
        Verb::Vault { verb: VaultVerb::Put { name, place } } => {
            shared::log::init("warn");
            let entry = local::vault::read_entry(&name, std::io::stdin())?;
            let app = place.app().await?;
            local::vault::put(&app, &name, &entry).await?;
            place.ensure_signing_key(&app).await
        }
        Verb::Vault { verb: VaultVerb::List { place } } => {
            shared::log::init("warn");
            match place.existing_app().await? {
                Some(app) => local::vault::list(&app).await,
                None => Ok(()),
            }
        }
        Verb::Invite { account, place, feeds, expect, hours } => {
            shared::log::init("warn");
            let new = NewInvitation {
                account,
                feeds: parse_feeds(&feeds)?,
                expected_tenant: expect,
                lifetime: SignedDuration::from_hours(hours.into()),
                once: None,
            };
            place.check_settings()?;
            local::invite::check(&configuration()?, &new)?;
            let app = place.app().await?;
            place.ensure_signing_key(&app).await?;
            local::invite::run(&app, &new).await
        }
        Verb::Rotate { name, data } => {
            shared::log::init("warn");
            local::rotate::check(&configuration()?, &name)?;
            let machine = existing(&data)?.ok_or_else(|| Failure::failed(format!("there is no {name} to rotate")))?;
            local::rotate::run(&machine, &name).await
        }
        Verb::Connect { tenant_id, account, place, feeds, region, storage } => {
            shared::log::init("warn");
            let usage = Failure::Usage;
            let new = shared::consent::connect::NewConnection {
                tenant_id: tenant_id.parse().map_err(usage)?,
                account,
                feeds: parse_feeds(&feeds)?,
                region: region.map(|region| region.parse()).transpose().map_err(usage)?,
                storage: storage.map(|storage| storage.parse()).transpose().map_err(usage)?,
            };
            local::connect::check(&new)?;
            local::connect::run(&place.app().await?, &new).await
        }
        Verb::Accept { tenant_id, place } => {
            shared::log::init("warn");
            let tenant = tenant_id.parse().map_err(Failure::Usage)?;
            match place.existing_app().await? {
                Some(app) => local::accept::run(&app, tenant).await,
                None => Err(Failure::failed(format!("{tenant} is not connected"))),
            }
        }
        Verb::Doctor { place, json } => {
            shared::log::init("error");
            match place.existing_app().await? {
                Some(app) => local::doctor::run(&app, json).await,
                None => Err(Failure::failed("there is nothing to look at")),
            }
        }
        Verb::Tenants { place, json } => {
            shared::log::init("warn");
            local::tenants::run(place.existing_app().await?.as_ref(), json).await
        }
    }
}

impl Place {
    /// What the verb works with; a data folder is made if it is new.
    async fn app(&self) -> Result<App, Failure> {
        match &self.data {
            Some(data) => Ok(machine(data)?.app),
            None => aws::app_for_a_person().await.map_err(Failure::Usage),
        }
    }

    /// On one machine whoever comes first makes it. A stack has made its own; one that is missing there is a wrong prefix.
    async fn ensure_signing_key(&self, app: &App) -> Result<(), Failure> {
        match self.data {
            Some(_) => local::vault::ensure_signing_key(app).await,
            None => Ok(()),
        }
    }

    /// Every mistake in what the verb is to work with, before it looks at its own words.
    fn check_settings(&self) -> Result<(), Failure> {
        match &self.data {
            Some(_) => configuration().map(|_| ()),
            None => {
                aws::settings_from_environment().map(|_| ()).map_err(|mistakes| Failure::Usage(mistakes.to_string()))
            }
        }
    }

    /// As [`Place::app`], for verbs that only look: nothing is made for a mistyped name.
    async fn existing_app(&self) -> Result<Option<App>, Failure> {
        match &self.data {
            Some(data) => Ok(existing(data)?.map(|machine| machine.app)),
            None => self.app().await.map(Some),
        }
    }
}

fn parse_feeds(feeds: &[String]) -> Result<Vec<Feed>, Failure> {
    let feeds: BTreeSet<Feed> =
        feeds.iter().map(|feed| feed.trim().parse()).collect::<Result<_, _>>().map_err(Failure::Usage)?;
    Ok(feeds.into_iter().collect())
}

/// For verbs that only look: nothing is made for a mistyped name, and nothing is what there is in it.
fn existing(data: &Path) -> Result<Option<Machine>, Failure> {
    let config = configuration()?;
    if !embedded::exists(data) {
        eprintln!("{} is no data folder of muster yet; `muster vault put` or `muster serve` makes it", data.display());
        return Ok(None);
    }
    embedded::machine(data, config, Clock::System).map(Some).map_err(Failure::failed)
}

fn configuration() -> Result<Config, Failure> {
    Config::from_environment().map_err(|mistakes| Failure::Usage(mistakes.to_string()))
}

fn machine(data: &Path) -> Result<Machine, Failure> {
    embedded::machine(data, configuration()?, Clock::System).map_err(Failure::failed)
}
