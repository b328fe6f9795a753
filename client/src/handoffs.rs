//! How trust passes from the founding members to those of later epochs: fetched from a node once, checked by each
//! verification from genesis on, and kept, so that what was verified online can be verified offline as well.

use std::path::PathBuf;

use mingzhang_genesis::Genesis;
use mingzhang_ledger::proof::Passage;
use serde_json::Value;

use crate::context::{home, standing_home};
use crate::node_api::NodeApi;
use crate::output::{Failure, exit};
use crate::verify::authorities_of;

/// Largest file of kept hand-offs that is read.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

fn file(genesis: &Genesis) -> Result<PathBuf, Failure> {
    Ok(home()?.join("handoffs").join(format!("{}.json", hex::encode(genesis.hash))))
}

/// The hand-offs kept for a network, as far as they lead on from its genesis. What does not is left out: a file that was
/// tampered with can only make verification inconclusive.
pub fn kept(genesis: &Genesis) -> Vec<Passage> {
    let Ok(path) = file(genesis) else { return Vec::new() };
    let small = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MAX_FILE_BYTES);
    let text = if small { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    let mut handoffs: Vec<Passage> = serde_json::from_str(&text).unwrap_or_default();
    let mut authorities = authorities_of(genesis);
    let good = handoffs.iter().take_while(|handoff| authorities.follow(handoff).is_ok()).count();
    handoffs.truncate(good);
    handoffs
}

/// All hand-offs up to the node's epoch: those that are kept, and the later ones from the node, which are checked and
/// kept. One that is not sealed yet ends the list.
pub fn fetch(genesis: &Genesis, api: &NodeApi) -> Result<Vec<Passage>, Failure> {
    let epoch = api.get_json("/status")?.get("epoch").and_then(Value::as_u64).unwrap_or(0);
    let mut handoffs = kept(genesis);
    let before = handoffs.len();
    let mut authorities = authorities_of(genesis);
    for handoff in &handoffs {
        authorities.follow(handoff).map_err(|problem| Failure::coded(problem.code, problem.detail))?;
    }
    for number in (1..=epoch).skip(before) {
        let value = match api.get_json(&format!("/handoffs/{number}")) {
            Ok(value) => value,
            Err(failure) if failure.exit == exit::NOT_FOUND => break,
            Err(failure) => return Err(failure),
        };
        let handoff: Passage = serde_json::from_value(value)
            .map_err(|error| Failure::unreachable(format!("the node's hand-off: {error}")))?;
        authorities.follow(&handoff).map_err(|problem| Failure::coded(problem.code, problem.detail))?;
        handoffs.push(handoff);
    }
    if handoffs.len() > before {
        // They are proven all the same.
        if let Err(failure) = keep(genesis, &handoffs) {
            let words = api.printer().language.pick("换届凭证未能留存", "the hand-offs could not be kept");
            api.printer().note(&format!("{words}: {}", api.printer().language.detail(&failure.detail)));
        }
    }
    Ok(handoffs)
}

fn keep(genesis: &Genesis, handoffs: &[Passage]) -> Result<(), Failure> {
    // Without a home nothing is kept.
    if standing_home().is_none() {
        return Ok(());
    }
    let path = file(genesis)?;
    let broken = |error| Failure::not_written(&path, error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(broken)?;
    }
    std::fs::write(&path, text_of(handoffs)?).map_err(broken)
}

/// The list as `verify --handoffs` reads it.
pub fn text_of(handoffs: &[Passage]) -> Result<String, Failure> {
    serde_json::to_string_pretty(handoffs).map_err(|error| Failure::bug(error.to_string()))
}
