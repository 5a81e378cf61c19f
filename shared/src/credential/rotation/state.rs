//! What one run of a rotation knows: what it has read, tried and made so far, and what each answer adds to that.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::step::{Answer, Step, Which};
use crate::{
    credential::{
        entry::{Entry, NewCredential},
        ownership::Holding,
    },
    microsoft::graph::{Listing, NewPassword, Registered},
};

/// After a refused token.
const RETRY: SignedDuration = SignedDuration::from_secs(3);

/// What was read and what was tried, as far as this run has got.
#[derive(Debug, Clone)]
pub struct State {
    pub holding: Holding,
    pub listed: Listed,
    pub elsewhere: Elsewhere,
    /// Removed by this run, or given up on.
    pub settled: BTreeSet<String>,
    /// What should be gone and would not go.
    pub stubborn: Vec<String>,
    /// Which credentials Entra took, and which not.
    pub taken: BTreeSet<Which>,
    pub refused: Vec<(Which, String)>,
    pub proofs: Proofs,
    /// What this run has made and not stored yet.
    pub made: Option<MadeEntry>,
    /// This run has seen the pending certificate registered, or registered it.
    pub registered: bool,
    /// Certificates whose proof Graph did not take.
    pub doubted: Vec<(Which, String)>,
    /// The certificates that earlier looks of this run have shown, and when.
    pub looks: Vec<(Timestamp, BTreeSet<String>)>,
    pub promotion: Promotion,
}

/// The vault's other entries.
#[derive(Debug, Clone)]
pub enum Elsewhere {
    NotAsked,
    /// One of them is damaged.
    Unknown,
    Read(Vec<Entry>),
}

impl Elsewhere {
    pub fn known(&self) -> Option<&[Entry]> {
        match self {
            Self::Read(entries) => Some(entries),
            Self::NotAsked | Self::Unknown => None,
        }
    }
}

/// An entry with a new credential, on its way into the vault.
#[derive(Debug, Clone)]
pub struct MadeEntry {
    pub entry: Entry,
    pub fate: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    ToStore,
    /// Another run's is stored.
    Beaten,
    /// Another run's is stored, and the vault does not show it yet.
    Unseen,
    Refused(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promotion {
    NotTried,
    Done,
    /// Somebody else has moved the labels.
    Refused(String),
    /// As before, and the labels were read since.
    RefusedFor(String),
}

/// The application's credentials, as one replica of Graph's knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    NotAsked,
    /// Asked in vain. Nothing follows from that.
    NoAnswer,
    Read(Listing),
}

/// The tokens that a credential under test has earned.
#[derive(Debug, Clone)]
pub struct Proofs {
    pub in_a_row: u32,
    pub next_at: Timestamp,
    pub last_refusal: String,
    pub began: Timestamp,
    pub deadline: Timestamp,
    pub spacing: SignedDuration,
}

impl State {
    /// Nothing is known yet but what the vault holds.
    pub fn new(holding: Holding, now: Timestamp, left: SignedDuration, spacing: SignedDuration) -> Self {
        let deadline = now.saturating_add(left).unwrap_or(Timestamp::MAX);
        let last_refusal = String::new();
        Self {
            holding,
            listed: Listed::NotAsked,
            elsewhere: Elsewhere::NotAsked,
            settled: BTreeSet::new(),
            stubborn: Vec::new(),
            taken: BTreeSet::new(),
            refused: Vec::new(),
            proofs: Proofs { in_a_row: 0, next_at: now, last_refusal, began: now, deadline, spacing },
            made: None,
            registered: false,
            doubted: Vec::new(),
            looks: Vec::new(),
            promotion: Promotion::NotTried,
        }
    }

    /// What to put under the version: what this run has made, or of a federated credential what is current.
    pub fn to_store(&self) -> &Entry {
        self.made.as_ref().map_or(&self.holding.current, |made| &made.entry)
    }

    /// What the vault holds under a label, if it is of the same application as what is current.
    pub fn entry(&self, which: Which) -> Option<&Entry> {
        let holding = &self.holding;
        let entry = match which {
            Which::Current => Some(&holding.current),
            Which::Previous => holding.previous.as_ref(),
            Which::Pending => holding.pending.as_ref(),
        };
        entry.filter(|entry| entry.is_same_principal(&holding.current))
    }

    /// Whose proof Graph may take: a certificate that is valid, registered, and not the one that goes.
    pub fn signer(&self, now: Timestamp, goes: Option<&Registered>) -> Option<Which> {
        let Listed::Read(listing) = &self.listed else { return None };
        let may_sign = |which: &Which| {
            let Some(entry) = self.entry(*which) else { return false };
            let registered = self.holding.at_entra(entry, &listing.credentials);
            let is_valid = entry.certificate().is_some_and(|(certificate, _)| certificate.is_valid(now));
            let doubted = self.doubted.iter().any(|(doubted, _)| doubted == which);
            let is_another = goes.is_none_or(|goes| self.holding.can_do_without(entry, goes, &listing.credentials));
            is_valid && is_another && !doubted && registered.is_some_and(Registered::is_certificate)
        };
        [Which::Current, Which::Previous, Which::Pending].into_iter().find(may_sign)
    }

    /// Takes in what came of a step.
    pub fn absorb(&mut self, step: &Step, answer: Answer, now: Timestamp) {
        match answer {
            Answer::Token(answer) => {
                let which = match step {
                    Step::Try(which) => *which,
                    _ => return,
                };
                self.absorb_token(which, answer, now);
            }
            Answer::Listed(listing) => {
                let keys = listing.credentials.iter().filter(|registered| registered.is_certificate());
                self.looks.push((now, keys.map(|key| key.key_id.clone()).collect()));
                self.listed = Listed::Read(listing);
            }
            Answer::NotListed => self.listed = Listed::NoAnswer,
            Answer::Elsewhere(found) => self.elsewhere = found.map_or(Elsewhere::Unknown, Elsewhere::Read),
            Answer::Pending(Some(pending)) => {
                self.made = None;
                self.holding.pending = Some(pending);
            }
            Answer::Pending(None) => self.meet(Fate::Unseen),
            Answer::Described(description) => {
                self.holding.description = description;
                if let Promotion::Refused(why) = &self.promotion {
                    self.promotion = Promotion::RefusedFor(why.clone());
                }
            }
            Answer::Password(NewPassword { value, key_id, end }) => {
                let Step::AddPassword { expires_at, .. } = step else { return };
                let expires_at = end.unwrap_or(*expires_at);
                self.absorb_made(NewCredential::Secret { value: &value, key_id: &key_id, expires_at });
            }
            Answer::Certificate(made) => self.absorb_made(NewCredential::Certificate(&made)),
            Answer::Stored => {
                self.holding.pending = Some(self.to_store().clone());
                self.made = None;
            }
            Answer::StoredByAnother => self.meet(Fate::Beaten),
            Answer::NotStored(why) => self.meet(Fate::Refused(why)),
            Answer::Registered => self.registered = true,
            // What was seen before somebody else wrote is worth nothing.
            Answer::Concurrent => self.looks.clear(),
            Answer::ProofRefused(why) => {
                if let Step::AddKey { signer, .. } = step {
                    self.doubted.push((*signer, why));
                }
            }
            Answer::Removed => self.settle(step),
            Answer::NotRemoved => {
                self.settle(step);
                if let Step::Remove { key_id, .. } = step {
                    self.stubborn.push(key_id.clone());
                }
            }
            Answer::Promoted => self.promotion = Promotion::Done,
            Answer::NotPromoted(why) => self.promotion = Promotion::Refused(why),
            Answer::Waited => {}
        }
    }

    fn settle(&mut self, step: &Step) {
        if let Step::Remove { key_id, .. } = step {
            self.settled.insert(key_id.clone());
        }
    }

    /// Of a federated credential nothing was made, and there is nothing to take back.
    fn meet(&mut self, fate: Fate) {
        let entry = self.to_store().clone();
        self.made = Some(MadeEntry { entry, fate });
    }

    fn absorb_made(&mut self, new: NewCredential<'_>) {
        // What is listed from here on is what `sweep` looks for, so it has to be asked for anew.
        let adopted = match std::mem::replace(&mut self.listed, Listed::NotAsked) {
            Listed::Read(listing) => self.holding.adopted(&listing.credentials),
            Listed::NotAsked | Listed::NoAnswer => self.holding.current.retired_key_ids.clone(),
        };
        let entry = self.holding.current.with(new, adopted);
        self.made = Some(MadeEntry { entry, fate: Fate::ToStore });
    }

    fn absorb_token(&mut self, which: Which, answer: Result<(), (String, Option<SignedDuration>)>, now: Timestamp) {
        let proofs = &mut self.proofs;
        match answer {
            Ok(()) => {
                self.taken.insert(which);
                proofs.in_a_row += 1;
                proofs.next_at = now + proofs.spacing;
            }
            Err((why, retry_after)) => {
                proofs.in_a_row = 0;
                proofs.next_at = now + retry_after.unwrap_or(RETRY).max(RETRY);
                proofs.last_refusal.clone_from(&why);
                self.refused.push((which, why));
            }
        }
    }
}
