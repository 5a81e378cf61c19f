//! The console's pages where there are a thousand tenants: what an answer costs, beside its reads of the state, and how
//! large it is.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use harness::{HOME, PUBLIC_URL, SimulatorTransport};
use jiff::SignedDuration;
use shared::{
    App,
    audit::Actor,
    clock::Clock,
    config::Config,
    console,
    http::Client,
    microsoft::tokens::ApplicationName,
    ports::vault::Stage,
    secret::Secret,
    tenant::{
        Condition, Feed, State, TenantId, account,
        bind::{Binding, bind},
        glance, overview,
    },
    web,
};
use simulator::{AppRole, AppRoleAssignment, Choice, Simulator, Tenant, User, UserKind};

use crate::{Failed, measure::Meter};

/// What makes this program measure the console alone.
pub const ARGUMENT: &str = "--console";
const TENANTS: u32 = 1000;
const ANSWERS: u32 = 100;
const CPU_BUDGET: Duration = Duration::from_millis(5);
const SIZE_BUDGET: usize = 50_000;
const OPERATOR: &str = "a0000000-0000-4000-8000-0000000000e1";

/// Measures each page. Tells whether all are within their budgets.
pub async fn measure(data: &Path) -> Result<bool, Failed> {
    let clock = Clock::manual("2026-11-22T12:00:00Z".parse()?);
    let simulator = Simulator::new(1, clock.now());
    let app = app(data, &simulator, &clock)?;
    populate(&app).await?;
    let session = sign_in(&app, &simulator).await?;
    let mut report = Report { pages: Vec::new() };
    let tenant = format!("/tenants/{}", tenant(1)?);
    for path in ["/accounts", "/accounts?q=customer+07", "/overview", "/activity", &tenant] {
        let request = request(path, "", &session);
        let page = answer(&app, &request).await?;
        let meter = Meter::start()?;
        for _ in 0..ANSWERS {
            answer(&app, &request).await?;
        }
        let cpu = meter.stop()?.cpu / ANSWERS;
        let meter = Meter::start()?;
        for _ in 0..ANSWERS {
            read(&app, path).await?;
        }
        let reading = meter.stop()?.cpu / ANSWERS;
        report.pages.push(Page { path: path.to_owned(), bytes: page.body.len(), cpu, reading });
    }
    println!("{report}");
    Ok(report.within_budget())
}

/// What the page of this address reads.
async fn read(app: &App, path: &str) -> Result<(), Failed> {
    let (store, now) = (app.ports.store.as_ref(), app.clock.now());
    if path.starts_with("/accounts") {
        account::list(store).await?;
        glance::glance(store, now).await?;
    } else if path == "/overview" {
        overview::overview(store, now).await?;
    }
    Ok(())
}

struct Page {
    path: String,
    bytes: usize,
    /// For the whole answer.
    cpu: Duration,
    /// For the reads of the state alone, which grow with the tenants; the page does not.
    reading: Duration,
}

impl Page {
    fn rendering(&self) -> Duration {
        self.cpu.saturating_sub(self.reading)
    }

    fn is_within_budget(&self) -> bool {
        self.rendering() <= CPU_BUDGET && self.bytes <= SIZE_BUDGET
    }
}

struct Report {
    pages: Vec<Page>,
}

impl Report {
    fn within_budget(&self) -> bool {
        self.pages.iter().all(Page::is_within_budget)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The console's pages with {TENANTS} tenants")?;
        let milliseconds = |cpu: Duration| cpu.as_secs_f64() * 1000.0;
        for page in &self.pages {
            let over = if page.is_within_budget() { "" } else { "   OVER" };
            let (rendering, all) = (milliseconds(page.rendering()), milliseconds(page.cpu));
            let Page { path, bytes, .. } = page;
            writeln!(f, "  {path:<48} {rendering:>6.2} ms of CPU, {all:>6.2} with its reads; {bytes:>6} bytes{over}")?;
        }
        write!(f, "  budgets: {} ms beside the reads, {SIZE_BUDGET} bytes", CPU_BUDGET.as_millis())
    }
}

fn app(data: &Path, simulator: &Simulator, clock: &Clock) -> Result<App, Failed> {
    let config = Config::from_lookup(|name| (name == "MUSTER_PUBLIC_URL").then(|| PUBLIC_URL.to_owned()))?;
    let platform = embedded::open(&data.join("console"), clock)?;
    let transport = SimulatorTransport { simulator: simulator.clone(), clock: clock.clone(), origins: Arc::default() };
    let http = Client::in_process(Arc::new(transport), config.trusted_origins());
    Ok(App::new(Arc::new(config), platform.ports, http, clock.clone()))
}

fn tenant(number: u32) -> Result<TenantId, Failed> {
    Ok(format!("c0000000-0000-4000-8000-{number:08x}{:04x}", number % 16).parse()?)
}

/// Most work; of every ten one is throttled and one lacks a role.
async fn populate(app: &App) -> Result<(), Failed> {
    local::vault::ensure_signing_key(app).await?;
    let credential = serde_json::json!({"kind": "client_secret", "value": harness::SECRET});
    let entry = serde_json::json!({"client_id": harness::CLIENT, "home_tenant_id": HOME, "credential": credential});
    app.ports.vault.put("muster/app", "v1", &Secret::new(entry.to_string()), &[Stage::Current], None).await?;
    for number in 1..=TENANTS {
        let condition = match number % 10 {
            0 => Condition::throttled(SignedDuration::from_mins(1)),
            1 => Condition::role_missing(Feed::Alerts),
            _ => Condition::ok(),
        };
        let account = format!("Customer {number:04} & Sons");
        app.clock.advance(SignedDuration::from_secs(1));
        account::create(app.ports.store.as_ref(), &account, app.clock.now(), &Actor::CommandLine).await?;
        let binding = Binding {
            tenant_id: tenant(number)?,
            account,
            application: ApplicationName::App,
            region: None,
            storage: None,
            feeds: [Feed::Alerts, Feed::Machines].map(|feed| (feed, condition.clone())).into(),
            state: State::Active,
            proven: true,
            consent: None,
        };
        bind(app, None, &binding, Vec::new()).await?;
    }
    Ok(())
}

async fn sign_in(app: &App, simulator: &Simulator) -> Result<String, Failed> {
    simulator.world(|world| {
        world.add_application(harness::application());
        let registration = world.registration(harness::CLIENT);
        registration.redirect_uris = vec![format!("{PUBLIC_URL}/login/callback")];
        registration.delegated_permissions = vec!["openid".to_owned(), "profile".to_owned()];
        registration.app_roles = vec![AppRole::new("Muster.Operator")];
        let (oid, name) = (OPERATOR.to_owned(), "Olga Operator".to_owned());
        let user = User { oid, name, upn: "olga@example.com".to_owned(), kind: UserKind::Member, roles: Vec::new() };
        world.add_tenant(Tenant::new(HOME, "Example Security").with_user(user));
        world.assign(HOME, AppRoleAssignment::to_user(harness::CLIENT, OPERATOR, "Muster.Operator"))
    })?;
    let begun = answer(app, &request("/login", "", "")).await?;
    let to = begun.header("location").ok_or("no way to sign in")?;
    let back = simulator.choose(to, Choice::Approve, Some(OPERATOR));
    let back = back.header("location").ok_or("nobody signed in")?.to_owned();
    let query = back.split_once('?').map_or("", |(_, query)| query);
    let arrived = answer(app, &request("/login/callback", query, &begun.cookies[0])).await?;
    Ok(arrived.cookies.first().ok_or_else(|| format!("no session: {}", arrived.body))?.clone())
}

fn request(path: &str, query: &str, cookie: &str) -> web::Request {
    let (path, own_query) = path.split_once('?').unwrap_or((path, query));
    let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
    web::Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        query: own_query.to_owned(),
        cookies: pair.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
        ..web::Request::default()
    }
}

async fn answer(app: &App, request: &web::Request) -> Result<web::Response, Failed> {
    let response = console::answer(app, request, SignedDuration::from_secs(60)).await;
    if response.status >= 400 {
        return Err(format!("{} answers {}", request.path, response.status).into());
    }
    Ok(response)
}
