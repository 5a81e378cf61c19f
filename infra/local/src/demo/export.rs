//! What Defender streams into two tenants' storage accounts while the demo runs.

use jiff::{SignedDuration, Timestamp};
use shared::storage::Storage;
use simulator::{Exporter, Habits, Ledger, Simulator, Step, StorageAccount, StorageRole};

use super::world::{self, Cast};
use crate::Failure;

const QUEUE: &str = "muster-hints";

/// One tenant's export.
#[derive(Debug)]
pub struct Export {
    pub tenant: &'static Cast,
    account: &'static str,
    exporter: Exporter,
}

#[derive(Debug)]
pub struct Exports(pub Vec<Export>);

/// Who streams, to which account, and with which habits.
fn cast() -> [(&'static Cast, &'static str, Habits); 2] {
    let habits = || Habits { lines_per_minute: 10..=60, ..Habits::default() };
    [
        (&world::CONTOSO, "contosotelemetry", Habits { expired_hints: 0, ..habits() }),
        // Whatever its queue announces is gone before anybody looks.
        (&world::LITWARE, "litwaretelemetry", Habits { expired_hints: 1000, ..habits() }),
    ]
}

/// Where this tenant's telemetry lies, if it streams any.
///
/// # Errors
/// Never but for a defect.
pub fn storage(tenant: &Cast) -> Result<Option<Storage>, Failure> {
    let account = cast().into_iter().find(|(cast, _, _)| cast.id == tenant.id).map(|(_, account, _)| account);
    account.map(|account| format!("{account}/{QUEUE}").parse()).transpose().map_err(Failure::Failed)
}

impl Exports {
    /// The accounts as the setup makes them, and the export of the last hour in them.
    pub fn begin(simulator: &Simulator, start: Timestamp) -> Self {
        let exports = cast().into_iter().enumerate().map(|(n, (tenant, account, habits))| {
            simulator.world(|world| {
                world.add_storage(
                    StorageAccount::new(account, tenant.id)
                        .with_container(Exporter::CONTAINER)
                        .with_queue(QUEUE)
                        .with_role(world::CLIENT, StorageRole::BlobDataReader)
                        .with_role(world::CLIENT, StorageRole::QueueDataMessageProcessor),
                );
            });
            let since = start - SignedDuration::from_hours(1);
            let exporter = Exporter::new(n as u64 + 1, tenant.id, account, since).with_habits(habits);
            Export { tenant, account, exporter }
        });
        let mut exports = Self(exports.collect());
        exports.go_on(simulator, start);
        exports
    }

    /// Streams what is due by now. Tells of new blobs.
    pub fn go_on(&mut self, simulator: &Simulator, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        for export in &mut self.0 {
            let steps = export.exporter.advance(now);
            if steps.iter().any(|step| matches!(step, Step::CreateBlob { .. })) {
                let fate = if export.exporter.habits.expired_hints > 0 {
                    "its announcement is lost, and the hourly listing finds it"
                } else {
                    "announced once, it then grows for an hour without a word"
                };
                lines.push(format!("{}: a blob for the new hour; {fate}", export.tenant.name));
            }
            export.write(simulator, steps);
        }
        lines
    }

    /// Completes the lines that are cut.
    pub fn finish(&mut self, simulator: &Simulator) {
        for export in &mut self.0 {
            let steps = export.exporter.finish();
            export.write(simulator, steps);
        }
    }
}

impl Export {
    /// All that it has written.
    pub fn ledger(&self) -> &Ledger {
        self.exporter.ledger()
    }

    fn write(&self, simulator: &Simulator, steps: Vec<Step>) {
        simulator.world(|world| {
            if let Some(storage) = world.storage(self.account) {
                steps.into_iter().for_each(|step| storage.export(QUEUE, step));
            }
        });
    }
}
