//! The stage itself: a story that lets a secret slip ends badly, whoever said it and however quietly.

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::{ADMIN, SECRET, Stage};

/// How a story ends in which this happens.
fn ending(slip: impl FnOnce(&Stage)) -> Result<(), String> {
    let told = catch_unwind(AssertUnwindSafe(|| {
        let stage = Stage::unapproved();
        slip(&stage);
    }));
    told.map_err(|panic| panic.downcast_ref::<String>().unwrap().clone())
}

#[test]
fn a_secret_a_token_or_a_name_that_is_logged_ends_the_story_badly() {
    assert_eq!(ending(|_| tracing::trace!(target: "hyper::client", "nothing of note")), Ok(()));
    let name = Stage::admin(ADMIN).name;
    for secret in [SECRET, "eyJhbGciOiJub25lIn0", name.as_str()] {
        let ended = ending(|_| tracing::trace!(target: "hyper::client", header = secret, "a request"));
        assert!(ended.as_ref().is_err_and(|why| why.contains("a log is no place")), "{secret}: {ended:?}");
    }
}

#[test]
fn an_invitation_that_is_logged_ends_the_story_badly() {
    let ended = ending(|stage| {
        let link = stage.invite("Contoso");
        tracing::debug!(path = link, "a visit");
    });
    assert!(ended.as_ref().is_err_and(|why| why.contains("a log is no place")), "{ended:?}");
}
