//! The vault in Secrets Manager. Every read names a staging label, and the version where it is known.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_secretsmanager::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::describe_secret::DescribeSecretOutput,
    primitives::DateTime,
    types::{Filter, FilterNameStringType},
};
use jiff::Timestamp;
use shared::{
    ports::{
        Unavailable,
        vault::{Description, RECOVERY, Schedule, Stage, Stages, Vault, VaultError, Version},
    },
    secret::Secret,
};

use crate::error::unavailable;

const PORT: &str = "vault";

#[derive(Debug)]
pub struct SecretsManagerVault {
    client: Client,
}

impl SecretsManagerVault {
    pub fn new(sdk: &SdkConfig) -> Self {
        Self { client: Client::new(sdk) }
    }

    async fn put_version(
        &self,
        name: &str,
        version: &str,
        value: &Secret<String>,
        stages: &[Stage],
        rotation_token: Option<&str>,
    ) -> Result<(), VaultError> {
        let labels = stages.iter().map(|stage| stage.label().to_owned()).collect();
        let put = self.client.put_secret_value().secret_id(name).client_request_token(version);
        let put = put.secret_string(value.expose()).set_version_stages(Some(labels));
        let put = put.set_rotation_token(rotation_token.map(str::to_owned)).send().await;
        put.map(|_| ()).map_err(|error| failed("PutSecretValue", name, version, &error))
    }

    /// Makes the secret with its first version, which is its current one.
    async fn create(&self, name: &str, version: &str, value: &Secret<String>) -> Result<(), VaultError> {
        let create = self.client.create_secret().name(name).client_request_token(version).secret_string(value.expose());
        create.send().await.map(|_| ()).map_err(|error| failed("CreateSecret", name, version, &error))
    }

    /// Until when a removed secret can be restored; `None` for one that is not removed.
    async fn removal(&self, name: &str) -> Result<Option<Timestamp>, VaultError> {
        let described = self.client.describe_secret().secret_id(name).send().await;
        let described = described.map_err(|error| failed("DescribeSecret", name, "", &error))?;
        Ok(described.deleted_date().and_then(timestamp))
    }

    /// When each version was made. Secrets Manager lists them apart from their labels.
    async fn made(&self, name: &str) -> Result<BTreeMap<String, Timestamp>, VaultError> {
        let mut pages =
            self.client.list_secret_version_ids().secret_id(name).include_deprecated(false).into_paginator().send();
        let mut made = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("ListSecretVersionIds", name, "", &error))?;
            for version in page.versions.unwrap_or_default() {
                let at = version.created_date.as_ref().and_then(timestamp);
                made.extend(version.version_id.zip(at));
            }
        }
        Ok(made)
    }

    /// Takes `AWSPENDING` off a version that something newer has replaced, or the next rotation would be refused as one
    /// that is still in progress.
    async fn end_finished_rotation(&self, name: &str) -> Result<(), VaultError> {
        let described = self.client.describe_secret().secret_id(name).send().await;
        let described = described.map_err(|error| failed("DescribeSecret", name, "", &error))?;
        let stages = stages(described.version_ids_to_stages());
        let finished = |labels: &&Vec<Stage>| labels.contains(&Stage::Pending) && labels.contains(&Stage::Previous);
        let Some((version, _)) = stages.iter().find(|(_, labels)| finished(labels)) else { return Ok(()) };
        let update = self.client.update_secret_version_stage().secret_id(name).version_stage(Stage::Pending.label());
        let update = update.remove_from_version_id(version).send().await;
        update.map(|_| ()).map_err(|error| failed("UpdateSecretVersionStage", name, version, &error))
    }
}

#[async_trait]
impl Vault for SecretsManagerVault {
    async fn read(&self, name: &str, stage: Stage, version: Option<&str>) -> Result<Version, VaultError> {
        let get = self.client.get_secret_value().secret_id(name).version_stage(stage.label());
        let got = get.set_version_id(version.map(str::to_owned)).send().await;
        let got = got.map_err(|error| match failed("GetSecretValue", name, stage.label(), &error) {
            // Removed, and not yet gone.
            VaultError::InvalidRequest(told) if told.contains("deletion") => {
                VaultError::NotFound(format!("{name} {}", stage.label()))
            }
            // A version that exists without this label.
            VaultError::InvalidRequest(told) if version.is_some() && told.contains("VersionStage") => {
                VaultError::NotFound(format!("{name} {}", stage.label()))
            }
            other => other,
        })?;
        match (got.version_id, got.secret_string) {
            (Some(id), Some(value)) => Ok(Version { id, value: Secret::new(value) }),
            _ => Err(VaultError::InvalidRequest(format!("{name} {} holds no text", stage.label()))),
        }
    }

    async fn put(
        &self,
        name: &str,
        version: &str,
        value: &Secret<String>,
        stages: &[Stage],
        rotation_token: Option<&str>,
    ) -> Result<(), VaultError> {
        if stages.is_empty() {
            return Err(VaultError::InvalidRequest("a version without a label is forgotten at once".to_owned()));
        }
        match self.put_version(name, version, value, stages, rotation_token).await {
            Ok(()) if stages.contains(&Stage::Current) => self.end_finished_rotation(name).await,
            Err(VaultError::NotFound(_)) if stages == [Stage::Current] => self.create(name, version, value).await,
            Err(VaultError::NotFound(_)) => Err(VaultError::InvalidRequest(format!(
                "there is no secret {name}, and its first version is its current one"
            ))),
            other => other,
        }
    }

    async fn promote(&self, name: &str, to: &str, from: &str) -> Result<(), VaultError> {
        let update = self.client.update_secret_version_stage().secret_id(name).version_stage(Stage::Current.label());
        let update = update.move_to_version_id(to).remove_from_version_id(from).send().await;
        update.map(|_| ()).map_err(|error| failed("UpdateSecretVersionStage", name, to, &error))
    }

    async fn describe(&self, name: &str) -> Result<Description, VaultError> {
        let described = self.client.describe_secret().secret_id(name).send().await;
        let described = described.map_err(|error| failed("DescribeSecret", name, "", &error))?;
        if described.deleted_date().is_some() {
            return Err(VaultError::NotFound(name.to_owned()));
        }
        let mut stages = stages(described.version_ids_to_stages());
        stages.retain(|_, labels| !labels.is_empty());
        let made = self.made(name).await?;
        // A version that still awaits its value may be missing from the list: then the secret changed last when it began.
        let changed = described.last_changed_date().and_then(timestamp);
        let mut created = BTreeMap::new();
        for version in stages.keys() {
            let unknown =
                || Unavailable::new(PORT, format!("Secrets Manager says of {name} {version} not when it was made"));
            created.insert(version.clone(), made.get(version).copied().or(changed).ok_or_else(unknown)?);
        }
        let schedule = schedule(&described);
        Ok(Description { identity: described.arn.unwrap_or_else(|| name.to_owned()), stages, created, schedule })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, VaultError> {
        let mut call = self.client.list_secrets();
        if !prefix.is_empty() {
            call = call.filters(Filter::builder().key(FilterNameStringType::Name).values(prefix).build());
        }
        let mut pages = call.into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("ListSecrets", prefix, "", &error))?;
            names.extend(page.secret_list.into_iter().flatten().filter_map(|secret| secret.name));
        }
        // The filter is Secrets Manager's; what a prefix is, is ours.
        names.retain(|name| name.starts_with(prefix));
        names.sort();
        Ok(names)
    }

    async fn remove(&self, name: &str) -> Result<Option<Timestamp>, VaultError> {
        let days = RECOVERY.as_hours() / 24;
        let removed = self.client.delete_secret().secret_id(name).recovery_window_in_days(days).send().await;
        match removed.map_err(|error| failed("DeleteSecret", name, "", &error)) {
            Ok(removed) => {
                let until = removed.deletion_date().and_then(timestamp);
                let undated = || Unavailable::new(PORT, format!("Secrets Manager says not until when {name} is kept"));
                until.map(Some).ok_or_else(|| undated().into())
            }
            Err(VaultError::NotFound(_)) => Ok(None),
            // It is removed already, and keeps its date.
            Err(VaultError::InvalidRequest(told)) => match self.removal(name).await? {
                Some(until) => Ok(Some(until)),
                None => Err(VaultError::InvalidRequest(told)),
            },
            Err(other) => Err(other),
        }
    }

    async fn restore(&self, name: &str) -> Result<bool, VaultError> {
        match self.removal(name).await {
            Ok(Some(_)) => {}
            Ok(None) | Err(VaultError::NotFound(_)) => return Ok(false),
            Err(other) => return Err(other),
        }
        let restored = self.client.restore_secret().secret_id(name).send().await;
        restored.map(|_| true).map_err(|error| failed("RestoreSecret", name, "", &error))
    }
}

/// Our labels of each version; others may carry labels of their own.
fn stages(of_versions: Option<&HashMap<String, Vec<String>>>) -> Stages {
    let ours = |labels: &Vec<String>| {
        let all = [Stage::Current, Stage::Pending, Stage::Previous];
        all.into_iter().filter(|stage| labels.iter().any(|label| label == stage.label())).collect()
    };
    of_versions.into_iter().flatten().map(|(version, labels)| (version.clone(), ours(labels))).collect()
}

fn schedule(described: &DescribeSecretOutput) -> Schedule {
    match described.rotation_enabled() {
        Some(true) => Schedule::Platform { next: described.next_rotation_date().and_then(timestamp) },
        // Somebody has scheduled it once and cancelled that since: a person's word.
        Some(false) if described.rotation_lambda_arn().is_some() => Schedule::Platform { next: None },
        _ => Schedule::Nobody,
    }
}

fn timestamp(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_nanosecond(at.as_nanos()).ok()
}

fn failed<E>(call: &str, name: &str, which: &str, error: &SdkError<E, HttpResponse>) -> VaultError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let told = || error.message().unwrap_or_default().to_owned();
    match error.code() {
        Some("ResourceNotFoundException") => VaultError::NotFound(format!("{name} {which}").trim_end().to_owned()),
        Some("ResourceExistsException") => VaultError::VersionExists(which.to_owned()),
        Some("InvalidRequestException" | "InvalidParameterException") => VaultError::InvalidRequest(told()),
        _ => unavailable(PORT, call, error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_somebody_has_cancelled_is_not_made_again() {
        let next = "2026-12-01T00:00:00Z".parse().unwrap();
        let enabled = Schedule::Platform { next: Some(next) };
        for (is_enabled, function, expected) in [
            (Some(true), Some("arn:aws:lambda:eu-central-1:000000000000:function:rotation"), enabled),
            (
                Some(false),
                Some("arn:aws:lambda:eu-central-1:000000000000:function:rotation"),
                Schedule::Platform { next: None },
            ),
            (Some(false), None, Schedule::Nobody),
            (None, None, Schedule::Nobody),
        ] {
            let described = DescribeSecretOutput::builder().set_rotation_enabled(is_enabled);
            let described = described.set_rotation_lambda_arn(function.map(str::to_owned));
            let described = described.next_rotation_date(DateTime::from_secs(next.as_second())).build();
            assert_eq!(schedule(&described), expected, "{is_enabled:?} {function:?}");
        }
    }
}
