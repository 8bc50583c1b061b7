//! All stored secrets under the current key, so that an old one can be given up.

use anyhow::Result;
use bulkhead::queue::{Broker, Sealed, SecretId};
use bulkhead::secrets::{KeyRing, inspect, open, seal};
use serde::Serialize;

use super::worded;
use crate::cli::exit::Exit;
use crate::cli::figures;
use crate::cli::output::note;
use crate::cli::session::{BATCH, Session};

/// What came of it, in JSON.
#[derive(Serialize, Default)]
struct Resealed {
    /// Sealed anew.
    resealed: usize,
    /// Sealed with the current key before.
    current: usize,
    /// Could not be opened.
    failed: usize,
}

/// How often one secret is tried again that somebody else puts meanwhile.
const TRIES: usize = 5;

pub(super) async fn all(session: &Session) -> Result<Exit> {
    let keys = session.config.secrets_keys()?;
    let broker = session.broker().await?;
    let mut done = Resealed::default();
    for ids in broker.secret_ids().await?.chunks(BATCH) {
        let sealed = broker.secrets(ids).await?;
        for (id, sealed) in ids.iter().zip(sealed) {
            match one(session, broker.as_ref(), &keys, id, sealed).await? {
                Ok(true) => done.resealed += 1,
                Ok(false) => done.current += 1,
                Err(reason) => {
                    done.failed += 1;
                    note(&format!("{}: {reason}", worded(id)));
                }
            }
        }
    }
    let Resealed { resealed, current, failed } = done;
    if session.out.is_json() {
        session.out.document(&done)?;
    } else {
        session.out.text(&format!(
            "{resealed} sealed anew with the key {}, {current} were sealed with it before, \
             {failed} could not be opened\n",
            keys.current().id()
        ))?;
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

/// Whether a secret was sealed anew, or why it cannot be. What somebody else stores meanwhile
/// stays.
async fn one(
    session: &Session,
    broker: &dyn Broker,
    keys: &KeyRing,
    id: &SecretId,
    mut found: Option<Sealed>,
) -> Result<Result<bool, String>> {
    let namespace = &session.config.namespace;
    for _ in 0..TRIES {
        let Some(sealed) = found else { return Ok(Ok(false)) };
        if inspect(&sealed).is_ok_and(|seal| seal.key == keys.current().id()) {
            return Ok(Ok(false));
        }
        let value = match open(keys, namespace, id, &sealed) {
            Ok(value) => value,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let anew = match seal(keys.current(), namespace, id, &value, figures::now()) {
            Ok(anew) => anew,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if broker.put_secret(id, &anew, Some(&sealed)).await? {
            return Ok(Ok(true));
        }
        found = broker.secrets(std::slice::from_ref(id)).await?.into_iter().next().flatten();
    }
    Ok(Err(format!("it was put anew {TRIES} times meanwhile; try again")))
}
