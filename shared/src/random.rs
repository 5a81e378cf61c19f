//! Randomness from the machine, for ids and secrets.

use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the machine has no randomness")]
pub struct NoRandomness;

/// # Errors
/// [`NoRandomness`], on a machine that is about to fail altogether.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A random (version 4) id, which nobody can guess.
///
/// # Errors
/// As [`bytes`].
pub fn id() -> Result<Uuid, NoRandomness> {
    Ok(uuid::Builder::from_random_bytes(bytes()?).into_uuid())
}
