//! A value that must not be printed: client secrets, private keys, bearer tokens, signing keys.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroize;

/// Wraps a secret so that it cannot reach a log by accident: no `Display`, no `Serialize`, a `Debug` that prints the
/// type alone, memory wiped on drop. Every place that reads one says `expose()`, which one can grep.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The secret itself. Look twice at where it goes.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{}>", std::any::type_name::<T>())
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_names_the_type_and_never_the_value() {
        let secret = Secret::new("canary-7f3a".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret<alloc::string::String>");
        assert_eq!(secret.expose(), "canary-7f3a");
    }
}
