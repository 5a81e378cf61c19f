//! The identity of one machine: a token in a file, which whatever the machine runs under keeps fresh.
//!
//! That is how Kubernetes projects a service account's token, how Azure workload identity reads it, and how SPIFFE's helper
//! writes one.

use std::{env, fs, io::Read, path::PathBuf};

use async_trait::async_trait;
use shared::{
    ports::identity::{Identity, IdentityError},
    secret::Secret,
};

const SETTING: &str = "MUSTER_FEDERATED_TOKEN_FILE";
/// No token is as long; a mistyped name may be of a file of any length.
const LONGEST: u64 = 64 << 10;

/// A file with a token in it, or the knowledge that there is none.
#[derive(Debug)]
pub struct TokenFile(Option<PathBuf>);

impl TokenFile {
    /// The file that the environment names.
    pub fn from_environment() -> Self {
        Self(env::var_os(SETTING).filter(|path| !path.is_empty()).map(PathBuf::from))
    }

    pub fn at(path: PathBuf) -> Self {
        Self(Some(path))
    }

    pub fn none() -> Self {
        Self(None)
    }
}

#[async_trait]
impl Identity for TokenFile {
    /// What lies in the file now: it is replaced without a word. Its audience is whoever writes it's to choose, and is
    /// compared by Entra.
    async fn token(&self, _: &str) -> Result<Secret<String>, IdentityError> {
        let path = self.0.as_ref().ok_or(IdentityError::NotConfigured(
            "MUSTER_FEDERATED_TOKEN_FILE names no file with a token, such as Kubernetes and SPIFFE keep fresh; name one, or \
             give the vault's entry a client secret or a certificate",
        ))?;
        let place = format!("{} ({SETTING})", path.display());
        let mut text = String::new();
        let read = fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
        let text = Secret::new(text);
        match read {
            Ok(_) if is_token(text.expose().trim()) => Ok(Secret::new(text.expose().trim().to_owned())),
            Ok(0) => Err(IdentityError::NoToken { place, cause: "it is empty".to_owned() }),
            Ok(_) => Err(IdentityError::NoToken { place, cause: "its text is no JWT".to_owned() }),
            // Perhaps nobody has written it yet. It is looked for again whenever a token is asked for.
            Err(cause) => Err(IdentityError::NoToken { place, cause: cause.to_string() }),
        }
    }
}

/// Three parts of base64url: nothing that could break out of a form, and nothing that is some other file.
fn is_token(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() as u64 <= LONGEST && text.split('.').count() == 3 && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn token(file: &TokenFile) -> Result<String, IdentityError> {
        block_on(file.token("api://AzureADTokenExchange")).map(|token| token.expose().clone())
    }

    #[test]
    fn the_file_is_read_afresh_at_each_call() {
        let folder = std::env::temp_dir().join(format!("muster-token-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("token");
        let file = TokenFile::at(path.clone());
        assert!(matches!(token(&file), Err(IdentityError::NoToken { .. })), "it is not there yet");
        fs::write(&path, "e30.e30.first\n").unwrap();
        assert_eq!(token(&file).unwrap(), "e30.e30.first");
        fs::write(&path, "e30.e30.second").unwrap();
        assert_eq!(token(&file).unwrap(), "e30.e30.second");
        for (text, expected) in
            [("", "it is empty"), ("secret of somebody else", "no JWT"), ("a.b.c&client_secret=x", "no JWT")]
        {
            fs::write(&path, text).unwrap();
            let error = token(&file).unwrap_err();
            let words = error.to_string();
            assert!(matches!(error, IdentityError::NoToken { .. }) && words.contains(expected), "{words}");
            assert!(text.is_empty() || !words.contains(text), "the content is nobody's business");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn without_a_file_the_words_name_the_setting() {
        let words = token(&TokenFile::none()).unwrap_err().to_string();
        assert!(words.contains("MUSTER_FEDERATED_TOKEN_FILE"), "{words}");
    }
}
